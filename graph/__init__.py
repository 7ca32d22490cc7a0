"""YAML to a typed, checked, immutable graph, and to the plan that is interpreted. Pure: no clock, no I/O but reading files."""
