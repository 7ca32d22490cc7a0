"""How a command ends within a bound after its signal, even if something does not stop."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import math
import signal
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog

from anabranch.cli import EVERY

BEYOND_GRACE = 9.0
"""Seconds after a worker's grace within which its process ends, whatever happens."""
ENDING = 40.0
"""Seconds within which a command ends that also stops servers, each within ten."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STDERR = 2
_CANCELLING = 1.0
_LAST = 1

T = TypeVar("T")
log = structlog.get_logger("anabranch.cli")


def collect_as_ever() -> None:
    """Have Python look for garbage as often as it does by itself, but never again through what is there now.

    A command begins without (see `anabranch.cli`): those call this that may run for long.
    """
    gc.freeze()
    gc.set_threshold(*EVERY)


def run_until_over(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` as `asyncio.run` does, which waits for every task and thread at the end; this does not wait for long.

    The loop is left as it is, because the process is about to end.
    """
    collect_as_ever()
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
def interruptible(on_signal: Callable[[int], None], *, within: float | None = None) -> Generator[None]:
    """Have Ctrl-C, SIGTERM and a closed terminal call `on_signal` with the signal's number, in the event loop.

    `within` so many seconds after the first of them the process is gone: if need be it prints where its threads are,
    and leaves.
    """
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
        if within is not None:
            # The loop still gets signals, by its wake-up socket; this handler gets them if the loop is blocked.
            signal.signal(number, _last_resort(within))
            signal.siginterrupt(number, False)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _last_resort(seconds: float) -> Callable[[int, object], None]:
    """Ends the process after so many seconds, even if its loop or its interpreter hangs."""

    def arm(_number: int, _frame: object) -> None:
        for number in _SIGNALS:
            signal.signal(number, _ignore)  # further signals give no more time
        faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
        # If nobody reads the output, printing blocks too.
        signal.alarm(math.ceil(seconds) + _LAST)

    return arm


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing. (With SIG_IGN the loop would not get the signal.)"""
