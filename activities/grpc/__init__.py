"""`grpc` nodes."""
