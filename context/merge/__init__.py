"""Merging: lines of descent, the writes that are concurrent where they meet, and how conflicts are settled."""
