"""Any run at any moment, from its history alone: replayed, looked at, and kept as values that do not change."""
