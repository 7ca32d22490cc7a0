"""A dry run says what a run on a server says: the data, the error, each version of the context."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from anabranch.dev.devserver import DevServer
from anabranch.graph.dataflow.walk import levels, with_compensations
from anabranch.graph.model import ActivityNode
from anabranch.settings import Settings
from anabranch.testkit.rules import rule_evaluator
from tests.asking import connect_to
from tests.integration import trials
from tests.integration.hurried import hurried
from tests.integration.rehearsed import Outcome, Rehearsed, Trial, rehearse
from tests.integration.stage import stage

Ends = Mapping[str, tuple[Outcome, Outcome]]


@pytest.fixture(scope="module")
def ends(dev_server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ends]:
    """What each dry run of a kind came to, and the run on the server: all of a kind at a time, on one worker."""
    return cache(lambda kind: _ends(kind, dev_server, tmp_path_factory.mktemp(kind)))


def _ends(kind: str, server: DevServer, folder: Path) -> Ends:
    given: dict[str, Callable[[], Iterable[tuple[str, Trial]]]] = {
        "example": trials.examples,
        "case": lambda: ((name, trial) for name, (trial, _) in trials.cases().items()),
        "documented": lambda: trials.documented(folder),
        "recorded": lambda: trials.plays(folder),
        "generated": lambda: trials.generated(60),
    }
    with rule_evaluator(Settings()) as evaluate:
        rehearsed = {name: rehearse(hurried(trial, evaluate), evaluate) for name, trial in given[kind]()}
    # An event that a dry run assumes has no data that one could send: only the cases give events.
    sendable = {name: each for name, each in rehearsed.items() if not each.assumes_events}
    return asyncio.run(_run(server, f"dry-run-and-run-{kind}", sendable))


def called(rehearsed: Rehearsed) -> Iterator[str]:
    """The activities of somebody else that a graph names."""
    loaded = rehearsed.trial.loaded
    for level in chain.from_iterable(levels(graph) for graph in (loaded.graph, *loaded.graphs.values())):
        for path, _, node in level.nodes():
            kept = (each for _, each in with_compensations(path, node) if isinstance(each, ActivityNode))
            yield from (each.activity for each in kept)


async def _run(server: DevServer, task_queue: str, rehearsed: Mapping[str, Rehearsed]) -> Ends:
    client = await connect_to(server)
    async with stage(client, task_queue, {name for each in rehearsed.values() for name in called(each)}) as staged:
        ran = await asyncio.gather(*(staged.run(name, each) for name, each in rehearsed.items()))
    return {name: (each.outcome, end) for (name, each), end in zip(rehearsed.items(), ran, strict=True)}


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("example", 35),
        ("case", 20),
        pytest.param("documented", 40, marks=pytest.mark.slow),
        pytest.param("recorded", 24, marks=pytest.mark.slow),
        ("generated", 20),
    ],
)
def test_each_graph_comes_to_what_its_dry_run_says(kind: str, least: int, ends: Callable[[str], Ends]) -> None:
    of_kind = ends(kind)
    assert len(of_kind) >= least
    assert {name: run for name, (_, run) in of_kind.items()} == {name: dry for name, (dry, _) in of_kind.items()}


@pytest.mark.parametrize("name", trials.cases())
def test_a_case_comes_to_what_its_author_meant(name: str, ends: Callable[[str], Ends]) -> None:
    _, case = trials.cases()[name]
    dry, run = ends("case")[name]
    assert (case.missed(dry), case.missed(run)) == ([], [])
