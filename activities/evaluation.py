"""Where the expressions of a node are evaluated: small ones at once, others beside the worker's event loop.

A thread cannot be stopped, and Python's threads take turns. So each evaluation is bounded by its cost, and few run at a
time: a run that asks for much delays others by milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Final, TypeVar

from anabranch.errors import ExpressionTooCostly
from anabranch.graph.expressions.cost import Cost

AT_ONCE: Final = 20_000
"""Units that are evaluated on the event loop: two milliseconds, where a thread takes a tenth of one to hand over."""
_THREADS = 2
_T = TypeVar("_T")


async def evaluated(compute: Callable[[Cost], _T], *, at_once: bool = True) -> _T:
    """The result of a pure computation, which may raise ExpressionTooCostly.

    One that costs much is begun anew in a thread: what it costs shows only when it is tried. Without `at_once` it is
    not tried before.
    """
    if at_once:
        with suppress(ExpressionTooCostly):
            return compute(Cost.of(AT_ONCE))
    return await asyncio.get_running_loop().run_in_executor(_threads(), compute, Cost())


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="expressions")
