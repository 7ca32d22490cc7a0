"""YAML graphs on Temporal, with one versioned context that branches and rejoins by three-way merge."""
