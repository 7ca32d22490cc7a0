"""One ASGI app: the codec server for the Temporal Web UI and command line, and the live page of a run."""
