"""`make steady`: half an hour of mixed runs at a steady rate on one worker process. Does anything grow, or get lost?

Every minute the worker's memory, descriptors, threads and children are looked at; in the end the start is compared with
the middle and the end. Exit status 1 where a run was lost or wrong, or something leaks.

Temporal's database is on the disk where temporary files are. A slow disk bounds the rate; TMPDIR names another place.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from rich.console import Console

from tests.steady.play import play
from tests.steady.report import report, show

RATE = 8.0
"""Runs a second that take a worker a third of a core."""
_WIDTH = 200


def main() -> int:
    """Exit status 0 if nothing was wrong."""
    options = argparse.ArgumentParser(prog="python -m tests.steady", description=__doc__)
    options.add_argument("--minutes", type=float, default=30.0)
    options.add_argument("--rate", type=float, default=RATE, help="runs that are started in a second")
    options.add_argument("--seed", type=int, default=1, help="which runs these are")
    options.add_argument("--figures", type=Path, default=Path(".steady.json"), help="where the figures are written")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the servers end with us
    found = report(asyncio.run(play(given.minutes, given.rate, given.seed)))
    given.figures.write_text(json.dumps(found.as_json(), indent=1))
    show(found, Console(width=_WIDTH))
    return int(bool(found.findings))


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # the interpreter may crash at its end where Temporal's client was used
