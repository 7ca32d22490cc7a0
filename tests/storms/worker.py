"""Worker processes to be killed: `python -m tests.storms.worker`, configured by the environment as any worker is.

Imports everything once, then forks a worker, and another one whenever it has ended; writes each one's process id to
standard output. All of them end when their standard input does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

from anabranch.activities.sql import handler
from anabranch.settings import settings_from_environment
from anabranch.worker import serve
from tests.faults.worker import be_quiet, end_with_input

assert handler  # imported now, not at the first node
_WAS_STOPPED = 3


def main() -> int:
    """Keep a worker there until the input ends."""
    while True:
        assert threading.active_count() == 1, "forking would leave threads behind"
        if (worker := os.fork()) == 0:
            be_quiet()
            threading.Thread(target=end_with_input, daemon=True).start()
            asyncio.run(_work())
            os._exit(_WAS_STOPPED)
        print(worker, flush=True)
        _, status = os.waitpid(worker, 0)
        if status == 0:  # the input has ended
            return 0


async def _work() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await serve(settings_from_environment(), stop=stop)


if __name__ == "__main__":
    sys.exit(main())
