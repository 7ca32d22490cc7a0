"""A graph file as text: YAML, the language of rust-logic-graph, attached files, and what is wrong with them."""
