"""Graphs with what they are given, to be played and run: the examples, the cases, the documentation, recorded plays."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, given, settings

from anabranch.context.changes import Usage
from anabranch.context.values import Json
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.load import LoadedGraph, load_graph, load_text
from anabranch.graph.model import Graph
from anabranch.testkit import file as files
from anabranch.testkit.assume import example_of
from anabranch.testkit.given import GivenOutcome
from anabranch.testkit.play import Script
from anabranch.workflows.interpreter.commands import Failure, RunNode
from anabranch.workflows.interpreter.simulation import Answer, Done, Failed
from tests.docs.test_yaml import GRAPHS, written
from tests.fixtures.dialect.cases import CASES
from tests.integration.rehearsed import Outcome, Trial
from tests.replay.plays import PLAYS
from tests.unit import test_machine_properties as properties
from tests.unit.varied import LAST, TRANSIENT, with_more_around, with_more_undone

ROOT = Path(__file__).parents[2]
LANGUAGE = ROOT / "tests" / "fixtures" / "language"
DIALECT = ROOT / "tests" / "fixtures" / "dialect"


def examples() -> Iterator[tuple[str, Trial]]:
    """The tests of the examples."""
    for path in files.test_files([ROOT / "examples" / "tests"]):
        file = files.read_test_file(path)
        for index, case in enumerate(file.cases.tests):
            script = Script.of(case, file.data[index], file.cases.outcomes, assume=file.cases.assume)
            yield f"{path.name.partition('.')[0]}-{index}", Trial(file.loaded, script)


@dataclass(frozen=True)
class Case:
    """What a run must come to: `data` is all of it; `error` a text that the refusal holds."""

    contains: Mapping[str, Json] = field(default_factory=dict)
    absent: Sequence[str] = ()
    data: Mapping[str, Json] | None = None
    error: str | None = None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Case:
        """The fields that say so, of a case's file."""
        return cls(**{each.name: told[each.name] for each in fields(cls) if each.name in told})

    def missed(self, end: Outcome) -> list[str]:
        """In what an end is another one."""
        if self.error is not None:
            return [] if self.error in json.dumps(end.error) else [f"no error tells of {self.error}"]
        found: dict[str, Json] = {} if end.result is None else end.result["data"]
        wrong = [key for key, value in self.contains.items() if found.get(key) != value]
        wrong += [f"{key} is there" for key in self.absent if key in found]
        return wrong if self.data is None or found == self.data else [*wrong, "data"]


@cache
def cases() -> dict[str, tuple[Trial, Case]]:
    """The cases of the language and of the dialect, with what they must come to."""
    files = {path.stem: json.loads(path.read_text()) for path in sorted(LANGUAGE.glob("*.json"))}
    found = {name: (LANGUAGE / f"{case.get('graph', name)}.yaml", case) for name, case in files.items()}
    found |= {f"{Path(name).stem}-{index}": (DIALECT / name, case) for index, (name, case) in enumerate(CASES)}
    return {name: (Trial(load_graph(path), _script(case)), Case.of(case)) for name, (path, case) in found.items()}


def _script(case: Mapping[str, Any]) -> Script:
    outcomes = {key: GivenOutcome.model_validate(each) for key, each in case.get("outcomes", {}).items()}
    return Script(case["input"], outcomes, assume=True)


def documented(folder: Path) -> Iterator[tuple[str, Trial]]:
    """The graphs of the documentation, with example values for what they are to be given."""
    for block in GRAPHS:
        if "invalid" in block.words:
            continue
        beside = folder / f"{block.page}-{block.line}"
        beside.mkdir(parents=True)
        loaded = load_graph(written(block, beside))
        yield f"{block.page}-{block.line}".replace("/", "."), Trial(loaded, Script(_input(loaded), assume=True))


def _input(loaded: LoadedGraph) -> dict[str, Json]:
    schema: dict[str, Any] = dict(loaded.graph.context.schema_ or {})
    declared: dict[str, Any] = {**schema.get("properties", {}), **(loaded.graph.inputs or {})}
    return {
        key: example_of(declared[key]) if key in declared else 1 for key in graph_inputs(loaded.graph, loaded.graphs)
    }


def generated(count: int) -> Iterator[tuple[str, Trial]]:
    """Graphs by chance, of which nodes fail and conflict and are undone; those apart that time out."""
    for name, case in _drawn(count):
        yield name, _trial(case, partial(_end, case))


def varied(count: int, seed: int) -> Iterator[tuple[str, Trial]]:
    """The same with more in them, and with more that happens around them: see `tests.unit.varied`."""
    for name, case in _drawn(count):
        chance = random.Random(f"{seed} {name}")
        around = with_more_around(with_more_undone(case.graph, chance), chance)
        trial = _trial(replace(case, graph=around.graph), partial(_varied_end, case))
        yield name, replace(trial, script=replace(trial.script, outcomes=around.outcomes), sent=around.sent)


def _drawn(count: int) -> Iterator[tuple[str, properties.Case]]:
    found: list[properties.Case] = []

    @settings(
        max_examples=count,
        derandomize=True,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(properties.cases(fragile=True))
    def collect(case: properties.Case) -> None:
        found.append(case)

    collect()
    for number, case in enumerate(found):
        ends = (end for end in case.work.values() if isinstance(end, Failure))
        if all(end.outcome == "failure" for end in ends):
            yield str(number), case


def _trial(case: properties.Case, work: Callable[[RunNode], Answer]) -> Trial:
    source = load_text("name: sub\nnodes: {a: {type: rule, rules: [{then: {x: 1}}]}}").source
    graphs = {"sub": Graph.model_validate({"name": "sub", **properties.BODY})}
    graph = Graph.model_validate({"name": "g", **case.graph})
    return Trial(LoadedGraph(graph, source, (), graphs), Script(properties.INPUT, assume=True), work)


def _end(case: properties.Case, work: RunNode) -> Answer:
    end = case.work_at(work.address)
    return Failed(replace(end, node=work.address)) if isinstance(end, Failure) else Done(properties.perform(end, work))


def _varied_end(case: properties.Case, work: RunNode) -> Answer:
    """The same; the second attempt of what is around it succeeds, and what asks a model says what it spent."""
    end: properties.Work = () if work.planned.id == LAST else case.work_at(work.address)
    if isinstance(end, Failure) and "~2" not in work.address:
        return Failed(replace(end, node=work.address, code=TRANSIENT))
    made = properties.perform(() if isinstance(end, Failure) else end, work)
    spent = (Usage("openai:gpt-4", 1, 20, len(work.address)),) if work.planned.node.type == "ai" else ()
    return Done(replace(made, usage=spent))


_NO_STOCK = {"fail": "NO_STOCK", "message": "no stock"}
_ENDLESS = {"after": "1h"}
_ENDS: dict[str, dict[str, Any]] = {
    "failure_edge": {"pay": _NO_STOCK},
    "failing_run": {"pay": _NO_STOCK, "beside": _ENDLESS},
    "saga": {"ship": _NO_STOCK},
    "cancelled": {"slow": _ENDLESS},
    "cancelled_not_undone": {"slow": _ENDLESS, "undo reserve": _NO_STOCK},
    "tried_again": {"each/flight": _NO_STOCK, "each~2/flight": {}},
    "finally_after_failure": {"ship": _NO_STOCK, "finally/lost": _NO_STOCK},
    "finally_after_cancel": {"slow": _ENDLESS},
    "people": {"broken": _NO_STOCK},
    "skipped_by_hand": {"pay": _NO_STOCK},
    "operated": {"never": _NO_STOCK},
    "cancelled_unrecorded": {"slow": _ENDLESS, "wrong": _NO_STOCK},
}
"""How the handlers end that fail, or do not end, in the plays that are recorded."""
_CANCELLED = {
    **dict.fromkeys(("cancelled", "cancelled_not_undone", "finally_after_cancel"), "reserve"),
    "cancelled_at_join": "each[0]/q",
}
_LARGE = {"heavy", "wide", "many_skipped", "asked_while_loading"}
"""Plays that are there for their size."""
_LIMITED = {"limited"}
"""The stage has no Redis, without which nothing that has a limit begins."""


def plays(folder: Path) -> Iterator[tuple[str, Trial]]:
    """The graphs of the runs that `tests/replay` records; nobody steers them here."""
    for name in PLAYS.keys() - _LARGE - _LIMITED:
        captured = _Captured(folder / name)
        with suppress(_Started), patch.dict(os.environ, {"OPENAI_BASE_URL": "none", "REPLAY_SHOP": "none"}):
            asyncio.run(_played(PLAYS[name], captured))
        outcomes = {address: GivenOutcome.model_validate(each) for address, each in _ENDS.get(name, {}).items()}
        script = Script(captured.data, outcomes, assume=True, cancel_after=_CANCELLED.get(name))
        yield name, Trial(load_graph(captured.main), script)


async def _played(play: Any, captured: _Captured) -> None:
    await play(captured)


class _Started(Exception):
    """A play has started its run."""


class _Captured:
    """Takes the place of a worker: keeps what a play would start."""

    task_queue = "captured"

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.main = folder / "g.yaml"
        self.data: dict[str, Json] = {}

    def write(self, name: str, text: str) -> None:
        """Keep a graph that others name."""
        self.main.with_stem(name).write_text(text)

    async def start(self, graph: Mapping[str, Any], data: Mapping[str, Json] | None = None) -> None:
        """Keep the graph that a run brings."""
        self.main.write_text(json.dumps({"name": "g", **graph}))
        self.data = dict(data or {})
        raise _Started

    async def start_type(self, name: str, data: Mapping[str, Json]) -> None:
        """Note which of the graphs is started."""
        self.main, self.data = self.main.with_stem(name), dict(data)
        raise _Started
