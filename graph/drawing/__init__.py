"""Drawings of a graph, for terminals, pages and pictures."""
