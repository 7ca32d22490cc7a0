"""Kafka and NATS: where messages come from and go to. What a message means, others know."""
