"""A dry run says what a run on a server says: the data, the error, each version of the context."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from itertools import chain

import pytest

from anabranch.dev.devserver import DevServer
from anabranch.graph.dataflow.walk import levels, with_compensations
from anabranch.graph.model import ActivityNode
from anabranch.settings import Settings
from anabranch.testkit.rules import rule_evaluator
from tests.asking import connect_to
from tests.integration import trials
from tests.integration.hurried import hurried
from tests.integration.rehearsed import Outcome, Rehearsed, rehearse
from tests.integration.stage import stage

Ends = Mapping[str, tuple[Outcome, Outcome]]


@pytest.fixture(scope="module")
def ends(dev_server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Ends:
    """What each dry run came to, and the run on the server: all of them at a time, on one worker."""
    documented, plays = (tmp_path_factory.mktemp(name) for name in ("documented", "plays"))
    given = chain(
        (("example", *each) for each in trials.examples()),
        (("case", name, trial) for name, (trial, _) in trials.cases().items()),
        (("documented", *each) for each in trials.documented(documented)),
        (("recorded", *each) for each in trials.plays(plays)),
        (("generated", *each) for each in trials.generated(60)),
    )
    with rule_evaluator(Settings()) as evaluate:
        rehearsed = {f"{kind} {name}": rehearse(hurried(trial, evaluate), evaluate) for kind, name, trial in given}
    # An event that a dry run assumes has no data that one could send: only the cases give events.
    sendable = {name: each for name, each in rehearsed.items() if not each.assumes_events}
    return asyncio.run(_run(dev_server, sendable))


def called(rehearsed: Rehearsed) -> Iterator[str]:
    """The activities of somebody else that a graph names."""
    loaded = rehearsed.trial.loaded
    for level in chain.from_iterable(levels(graph) for graph in (loaded.graph, *loaded.graphs.values())):
        for path, _, node in level.nodes():
            kept = (each for _, each in with_compensations(path, node) if isinstance(each, ActivityNode))
            yield from (each.activity for each in kept)


async def _run(server: DevServer, rehearsed: Mapping[str, Rehearsed]) -> Ends:
    client = await connect_to(server)
    async with stage(
        client, "dry-run-and-run", {name for each in rehearsed.values() for name in called(each)}
    ) as staged:
        ran = await asyncio.gather(*(staged.run(name, each) for name, each in rehearsed.items()))
    return {name: (each.outcome, end) for (name, each), end in zip(rehearsed.items(), ran, strict=True)}


@pytest.mark.parametrize(
    ("kind", "least"), [("example", 35), ("case", 20), ("documented", 40), ("recorded", 24), ("generated", 20)]
)
def test_each_graph_comes_to_what_its_dry_run_says(kind: str, least: int, ends: Ends) -> None:
    of_kind = {name: pair for name, pair in ends.items() if name.startswith(f"{kind} ")}
    assert len(of_kind) >= least
    assert {name: run for name, (_, run) in of_kind.items()} == {name: dry for name, (dry, _) in of_kind.items()}


@pytest.mark.parametrize("name", trials.cases())
def test_a_case_comes_to_what_its_author_meant(name: str, ends: Ends) -> None:
    _, case = trials.cases()[name]
    dry, run = ends[f"case {name}"]
    assert (case.missed(dry), case.missed(run)) == ([], [])
