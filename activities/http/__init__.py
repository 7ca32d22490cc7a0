"""`http` nodes."""
