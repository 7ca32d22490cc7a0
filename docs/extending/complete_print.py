"""Complete the node `print` of a run: `python complete_print.py WORKFLOW_ID LABEL`."""

import asyncio
import os
import sys

from temporalio.client import Client


async def main(workflow_id: str, label: str) -> None:
    """Hand in the label."""
    client = await Client.connect(os.environ.get("TEMPORAL_ADDRESS", "localhost:7233"))
    handle = client.get_async_activity_handle(workflow_id=workflow_id, run_id=None, activity_id="print")
    await handle.complete(label)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
