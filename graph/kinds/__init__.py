"""The node types: one record for each, and what is particular to it."""
