"""`rule` nodes."""
