"""The graph test kit: YAML test files run against a graph on the machine, in virtual time and without a server."""
