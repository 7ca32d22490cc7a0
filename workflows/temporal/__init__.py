"""The Temporal driver around the interpreter."""
