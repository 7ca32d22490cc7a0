"""The graphs whose size is measured, and the handlers of their nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from anabranch.activities.python import node
from anabranch.context.distributed import DistributedContext

WIDTH: Final = 10
BATCH: Final = 100
FAILING: Final = 33
"""One item of a batched loop fails of so many."""


@node("scale_nothing")
async def nothing(_: DistributedContext) -> None:
    """A handler that does nothing."""


@node("scale_put")
async def put(_: DistributedContext, key: str) -> dict[str, Any]:
    """Writes a key of its own."""
    return {key: 1}


@node("scale_double")
async def double(_: DistributedContext, item: int) -> dict[str, Any]:
    """An item's work."""
    return {"v": item * 2}


@node("scale_double_all")
async def double_all(_: DistributedContext, items: list[int]) -> list[dict[str, Any]]:
    """The work of a batch; some of its items fail."""
    return [{"error": "no"} if item % FAILING == 0 else {"v": item * 2, "error": None} for item in items]


def fans(count: int, *, local: bool) -> dict[str, Any]:
    """`count` nodes: a head, nine nodes side by side that depend on it, the next head that joins them, …"""
    edges: list[dict[str, Any]] = []
    for index in range(count):
        first = index - index % WIDTH
        sources = [first] if index != first else range(max(0, first - WIDTH + 1), first)
        edges.extend({"from": f"n{source}", "to": f"n{index}"} for source in sources)
    body: dict[str, Any] = {"type": "python", "handler": "scale_nothing", "reads": []}
    body |= {"local": True} if local else {}
    return {"nodes": {f"n{index}": body for index in range(count)}, "edges": edges}


def wide(count: int) -> dict[str, Any]:
    """`count` activities side by side, between a head and a join; each writes a key."""
    ends = {name: {"type": "python", "handler": "scale_nothing", "reads": []} for name in ("head", "join")}
    names = [f"n{index}" for index in range(count)]
    edges = [{"from": "head", "to": name} for name in names] + [{"from": name, "to": "join"} for name in names]
    return {"nodes": {**ends, **{name: _put(name) for name in names}}, "edges": edges}


def changes(count: int) -> dict[str, Any]:
    """`count` local nodes in a chain, each of which writes a key."""
    nodes = {f"n{index}": {**_put(f"n{index}"), "local": True} for index in range(count)}
    edges = [{"from": f"n{index}", "to": f"n{index + 1}"} for index in range(count - 1)]
    return {"nodes": nodes, "edges": edges}


def _put(name: str) -> dict[str, Any]:
    return {"type": "python", "handler": "scale_put", "args": {"key": name}, "reads": []}


def event() -> dict[str, Any]:
    """What an event runs."""
    return {"nodes": {"work": {"type": "python", "handler": "scale_nothing", "reads": []}}}


def loop() -> dict[str, Any]:
    """A `foreach` whose items are activities."""
    work = {"type": "python", "handler": "scale_double", "args": {"item": "{{ item }}"}, "reads": []}
    each = {"type": "foreach", "items": "xs", "body": {"nodes": {"work": work}}}
    return {"nodes": {"each": {**each, "collect": {"into": "out", "value": "v"}}}}


def batches() -> dict[str, Any]:
    """A `foreach` whose batches are activities."""
    work = {"type": "python", "handler": "scale_double_all", "args": {"items": "{{ items }}"}, "reads": []}
    body = {"nodes": {"work": {**work, "output": {"answers": "result"}}}}
    failures = {"on_item_failure": "collect", "tolerate": "5%", "failed": "bad"}
    errors = {"item_errors": "answers.map(each, each.error)"}
    each = {"type": "foreach", "items": "xs", "batch": BATCH, "body": body, **failures, **errors}
    each["collect"] = {"into": "out", "value": "answers.map(each, has(each.v) ? each.v : null)"}
    return {"nodes": {"each": each}}


def write(folder: Path, graphs: Mapping[str, dict[str, Any]]) -> None:
    """Write graphs as files by their names, as short as may be: a file has a limit."""
    for name, graph in graphs.items():
        text = json.dumps({"name": name, **graph}, separators=(",", ":"))
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
