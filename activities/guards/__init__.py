"""What is around a node's work: a cache of its results, a circuit breaker, limits."""
