"""Where contexts are kept: one protocol, one file for each kind of store."""
