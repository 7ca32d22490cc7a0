"""CEL expressions and templates: compiled once, evaluated on plain JSON."""
