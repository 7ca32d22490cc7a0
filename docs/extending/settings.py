"""Where the shop's worker finds its server."""

import os

ADDRESS = os.environ.get("TEMPORAL_ADDRESS", "localhost:7233")
TASK_QUEUE = "shop"
