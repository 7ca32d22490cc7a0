"""`ai` nodes."""
