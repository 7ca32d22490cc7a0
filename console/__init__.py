"""The console: one ASGI app with the pages of runs, the inbox and the graphs, their API, and the codec server."""
