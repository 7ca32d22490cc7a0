"""`emit` nodes: events for brokers and for other runs."""
