"""The functions of expressions: what the checker, the evaluation, the hints and docs/functions.md know of each."""
