"""A worker process that is asked to stop: the command `anabranch worker`, with a short grace and hostile handlers."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time

from anabranch.activities import node
from anabranch.cli.leaving import run_until_over
from anabranch.cli.local import work
from anabranch.cli.logs import log_to_stderr
from anabranch.context.distributed import DistributedContext
from anabranch.errors import AnabranchError
from anabranch.settings import settings_from_environment
from tests.stops.scenarios import GRACE


@node("nap")
async def nap(_: DistributedContext, seconds: float) -> None:
    await asyncio.sleep(seconds)


@node("keep_a_thread")
def keep_a_thread(_: DistributedContext) -> None:
    threading.Event().wait()


@node("ignore_cancellation")
async def ignore_cancellation(_: DistributedContext) -> None:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue


@node("block_the_loop")
async def block_the_loop(_: DistributedContext) -> None:
    time.sleep(3600)  # noqa: ASYNC251 - that is what this is for


def main() -> int:
    """Work as the command does; its exit status."""
    log_to_stderr(logging.INFO)
    try:
        run_until_over(work(settings_from_environment(), grace=GRACE))
    except AnabranchError as error:
        sys.stderr.write(f"error[{error.code}]: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    os._exit(main())
