"""Merging: lines of descent, what survives where they meet, and how conflicts are settled."""
