"""The page of one run, live and at any moment before: what it shows, what explains it, and what is told to the run."""
