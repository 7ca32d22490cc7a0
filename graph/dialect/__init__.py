"""The graph files of rust-logic-graph, rewritten into our own language."""
