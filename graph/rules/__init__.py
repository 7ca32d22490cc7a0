"""Rule languages: GRL and decision tables."""
