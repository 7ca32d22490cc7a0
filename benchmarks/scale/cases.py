"""What is measured, from the smallest size to the largest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.hand_written import state_of
from benchmarks.scale import graphs
from benchmarks.scale.events import GRAPH, Feed
from benchmarks.scale.graphs import FAILING
from benchmarks.scale.growth import Case, Cost
from benchmarks.scale.merging import by_branches, by_keys
from benchmarks.scale.site import Site

LOOP: Final = "loop"
BATCHES: Final = "batches"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large each case becomes. Tests have smaller ones."""

    nodes: Sequence[int] = (20, 200, 2_000)
    wide: Sequence[int] = (5, 50, 500)
    single: Sequence[int] = (100, 1_000, 10_000)
    batched: Sequence[int] = (1_000, 10_000, 100_000)
    changes: Sequence[int] = (10, 100, 1_000)
    context: int = 1_000_000
    """Bytes of the context that is changed."""
    events: Sequence[int] = (10, 100, 1_000)
    branches: Sequence[int] = (10, 100)
    keys: Sequence[int] = (10, 100, 1_000)


def write_graphs(folder: Path, sizes: Sizes) -> None:
    """Write every graph that the cases run."""
    found: dict[str, dict[str, Any]] = {
        **{_named("remote", count): graphs.fans(count, local=False) for count in sizes.nodes},
        **{_named("local", count): graphs.fans(count, local=True) for count in sizes.nodes},
        **{_named("wide", count): graphs.wide(count) for count in sizes.wide},
        **{_named("changes", count): graphs.changes(count) for count in sizes.changes},
        LOOP: graphs.loop(),
        BATCHES: graphs.batches(),
        GRAPH: graphs.event(),
    }
    graphs.write(folder, found)


def _named(kind: str, count: int) -> str:
    return f"{kind}_{count}"


def cases(site: Site, feed: Feed, sizes: Sizes) -> list[Case]:
    """All of them, the quick ones first."""
    large, most = state_of(sizes.context), max(sizes.branches)
    return [
        Case(
            "merge, own keys",
            "branch",
            "branches",
            sizes.branches,
            by_branches(max(sizes.keys)),
            warm=sizes.branches[:1],
        ),
        Case("merge, own keys, wider", "key", "keys", sizes.keys, by_keys(most), warm=sizes.keys[:1]),
        Case("merge, the same keys", "branch", "branches", sizes.branches, by_branches(max(sizes.keys), shared=True)),
        Case("nodes", "node", "nodes", sizes.nodes, _graph(site, "remote", {}), warm=sizes.nodes),
        Case("local nodes", "node", "nodes", sizes.nodes, _graph(site, "local", {}), warm=sizes.nodes),
        Case("side by side", "branch", "branches", sizes.wide, _graph(site, "wide", {}), warm=sizes.wide),
        Case(
            "changes of a large context",
            "change",
            "changes",
            sizes.changes,
            _graph(site, "changes", large),
            warm=sizes.changes,
        ),
        Case("events to runs", "event", "events", sizes.events, feed.run, rounds=2, warm=sizes.events[:1]),
        Case("items in batches", "item", "items", sizes.batched, _batches(site), rounds=1, warm=sizes.batched[:1]),
        Case("items", "item", "items", sizes.single, _loop(site), rounds=1, warm=sizes.single[:1]),
    ]


Run = Callable[[int], Awaitable[Cost]]


def _graph(site: Site, kind: str, data: Mapping[str, Any]) -> Run:
    async def run(count: int) -> Cost:
        graph = _named(kind, count)
        await site.run(graph, data, count)
        return site.last[graph, count].cost

    return run


def _loop(site: Site) -> Run:
    async def run(count: int) -> Cost:
        result = await site.run(LOOP, {"xs": list(range(count))}, count)
        assert result["data"]["out"] == [2 * item for item in range(count)]
        return site.last[LOOP, count].cost

    return run


def _batches(site: Site) -> Run:
    async def run(count: int) -> Cost:
        data = (await site.run(BATCHES, {"xs": list(range(count))}, count))["data"]
        assert [each["item"] for each in data["bad"]] == list(range(0, count, FAILING))
        assert data["out"] == [2 * item for item in range(count) if item % FAILING]
        return site.last[BATCHES, count].cost

    return run
