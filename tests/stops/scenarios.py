"""What a worker is in the middle of when it is asked to stop, and what is wrong around it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

Trouble = Literal["none", "server silent", "server gone", "Redis gone", "Redis frozen"]
GRACE = timedelta(seconds=1)
"""What a worker leaves its activities here."""
LATEST = 4.0
"""Seconds within which a worker is asked to stop."""


def _alone(node: dict[str, Any]) -> dict[str, Any]:
    return {"nodes": {"only": node}}


def _python(handler: str, **fields: Any) -> dict[str, Any]:
    return {"type": "python", "handler": handler, **fields}


def _loop(body: dict[str, Any]) -> dict[str, Any]:
    count = {"type": "rule", "rules": [{"then": {"n": "{{ n + 1 }}"}}]}
    nodes = {"step": body, "count": count}
    turns = {
        "type": "while",
        "while": "n < 100000",
        "body": {"nodes": nodes, "edges": [{"from": "step", "to": "count"}]},
    }
    return {"nodes": {"loop": turns}}


_NAP = _python("nap", args={"seconds": 0.05})
_GUARDED = {**_NAP, "effect": False, "cache": {"ttl": "1h", "key": "{{ n }}"}, "circuit_breaker": {"failures": 5}}
WORK: dict[str, dict[str, Any]] = {
    "idle": _alone({"type": "wait", "for": "1h"}),
    "continuing as new": _loop({"type": "wait", "for": "10ms"}),
    "activities": _loop(_NAP),
    "local activities": _loop({**_NAP, "local": True}),
    "many at once": {"nodes": {f"n{index}": _python("nap", args={"seconds": 0.5}) for index in range(200)}},
    "a thread that does not end": _alone(_python("keep_a_thread")),
    "a handler that ignores its cancellation": _alone(_python("ignore_cancellation")),
    "a handler that blocks the event loop": _alone(_python("block_the_loop")),
    "guarded nodes": _loop(_GUARDED),
}


@dataclass(frozen=True, slots=True)
class Stop:
    """One try: a worker on `work` amid `trouble` is asked to stop, so long after its process started or it works."""

    work: str
    trouble: Trouble
    after: float
    once_working: bool

    def __str__(self) -> str:
        since = "work" if self.once_working else "start"
        return f"{self.work}, {self.trouble}, {self.after:.2f} s after its {since}"


_PAIRS: tuple[tuple[str, Trouble], ...] = (
    *((work, "none") for work in WORK),
    *((work, "server gone") for work in ("idle", "activities", "a thread that does not end", "continuing as new")),
    ("idle", "server silent"),
    ("guarded nodes", "Redis gone"),
    ("guarded nodes", "Redis frozen"),
)


def stops(count: int, seed: int) -> Iterator[Stop]:
    """As many tries, each work and trouble as often as any other, at moments that the seed determines."""
    draw = random.Random(seed)
    for index in range(count):
        work, trouble = _PAIRS[index % len(_PAIRS)]
        # One in five is still about to start.
        once_working = trouble != "server silent" and index % 5 != 0
        yield Stop(work, trouble, draw.uniform(0, LATEST), once_working)
