"""How a command ends: after its signal within a bound, whatever does not want to end."""

from __future__ import annotations

import asyncio
import faulthandler
import math
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog

BEYOND_GRACE = 9.0
"""Seconds from the end of a worker's grace on in which its process has ended, whatever happens."""
ENDING = 40.0
"""Seconds in which a command has ended that also stops servers, each within ten."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STDERR = 2
_CANCELLING = 1.0
_LAST = 1

T = TypeVar("T")
log = structlog.get_logger("anabranch.cli")


def run_until_over(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` as `asyncio.run` does, which waits for every task and thread at the end; this does not wait for long.

    The loop is left as it is, because the process is about to end.
    """
    runner = asyncio.Runner()
    try:
        return runner.run(main)
    finally:
        runner.run(_cancel_what_is_left())


async def _cancel_what_is_left() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if not left:
        return
    _, left = await asyncio.wait(left, timeout=_CANCELLING)
    if left:
        log.warning("left behind", tasks=sorted(getattr(task.get_coro(), "__qualname__", "?") for task in left))


@contextmanager
def interruptible(on_signal: Callable[[int], None], *, within: float | None = None) -> Iterator[None]:
    """Have Ctrl-C, SIGTERM and a closed terminal call `on_signal` with the signal's number, in the event loop.

    `within` so many seconds after the first of them the process is gone: if need be it prints where its threads are,
    and leaves.
    """
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
        if within is not None:
            # The loop still hears of signals, by its wake-up socket; this hears of them where the loop is blocked.
            signal.signal(number, _last_resort(within))
            signal.siginterrupt(number, False)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _last_resort(seconds: float) -> Callable[[int, object], None]:
    """What ends the process after so many seconds, though neither its loop nor its interpreter goes on."""

    def arm(_number: int, _frame: object) -> None:
        for number in _SIGNALS:
            signal.signal(number, _ignore)  # a further signal gives no further time
        faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
        # Where nobody reads what is printed, printing does not end either.
        signal.alarm(math.ceil(seconds) + _LAST)

    return arm


def _ignore(_number: int, _frame: object) -> None:
    """Nothing; and not SIG_IGN, with which the loop would no longer hear of the signal."""
