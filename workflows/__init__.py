"""Deterministic code: the interpreter of graphs, and the thin Temporal driver around it."""
