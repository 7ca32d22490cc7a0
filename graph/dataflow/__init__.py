"""What each node reads and writes, and what follows from it."""
