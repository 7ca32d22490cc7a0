"""The merge of many branches that wrote many keys, in this process."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.lineage import Line
from anabranch.context.merge.resolution import Policies
from anabranch.context.merge.union import merge_heads
from benchmarks.scale.growth import Cost


def lines_of(branches: int, keys: int, *, shared: bool = False) -> list[Line]:
    """Branches of one root, each with keys of its own, or all with the same ones and other values."""
    root = Line.start({"count": 1})
    return [_branch(root, branch, "" if shared else f"b{branch}-", keys) for branch in range(branches)]


def _branch(root: Line, branch: int, prefix: str, keys: int) -> Line:
    written = ChangeSet(root.version, {(f"{prefix}{key}",): branch for key in range(keys)}, (), f"b{branch}", branch)
    return root.advance(written, writer=branch, by=written.by, at=written.at)[0]


def merge(lines: list[Line]) -> Line:
    """The line where all of them meet; the last write wins where they conflict."""
    line = merge_heads(lines, Policies(), writer=len(lines), by="join", at=len(lines)).line
    assert line is not None
    return line


def by_branches(keys: int, *, shared: bool = False) -> Callable[[int], Awaitable[Cost]]:
    """Merges so many branches of `keys` keys; its unit is a branch."""
    return lambda branches: _merged(branches, keys, shared=shared)


def by_keys(branches: int) -> Callable[[int], Awaitable[Cost]]:
    """Merges `branches` branches of so many keys; its unit is a key of each."""
    return lambda keys: _merged(branches, keys, shared=False)


async def _merged(branches: int, keys: int, *, shared: bool) -> Cost:
    lines = lines_of(branches, keys, shared=shared)
    began, cpu = time.perf_counter(), time.process_time()
    line = merge(lines)
    cost = Cost(time.perf_counter() - began, time.process_time() - cpu)
    assert len(line.data) == 1 + keys * (1 if shared else branches)
    return cost
