"""All runs, the inbox, the graphs and the start of runs: their API."""
