"""The graph interpreter, sans I/O: it imports no Temporal."""
