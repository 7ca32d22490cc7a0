"""`db` nodes."""
