"""What a worker finds out before it serves: graphs that are broken, and what they need that it does not have."""
