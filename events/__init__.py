"""Graphs started by events, and their results published: NATS and Kafka."""
