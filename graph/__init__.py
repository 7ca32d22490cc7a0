"""YAML to a typed, checked, immutable graph, and to its plan. Pure: no clock, no I/O but reading files."""
