"""`anabranch profile`: where the time of a graph goes, node by node, over many dry runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import fmean

from rich.table import Table
from rich.text import Text

from anabranch.cli.report import out
from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.context.wire import measure
from anabranch.errors import AnabranchError
from anabranch.graph.dataflow.fields import kind_fields
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.load import LoadedGraph
from anabranch.graph.model import RuleNode
from anabranch.graph.plan import plan_graph
from anabranch.settings import Settings
from anabranch.testkit.dry_run import Rehearsal, play_through
from anabranch.testkit.given import GivenOutcome
from anabranch.testkit.rules import rule_evaluator
from anabranch.workflows.interpreter.commands import RunNode, Work


@dataclass(slots=True)
class Stopwatch:
    """Evaluates the rules and the templates of nodes, and notes the seconds that each took, by address."""

    evaluate: Callable[[RunNode], ChangeSet]
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def rules(self, work: RunNode) -> ChangeSet:
        """What the rules of a node write."""
        with self._noting(work):
            return self.evaluate(work)

    def templates(self, work: Work) -> None:
        """Fill in the templates of a node that is only assumed to run."""
        if not isinstance(work, RunNode) or isinstance(work.planned.node, RuleNode):
            return
        with self._noting(work):
            try:
                _fill_in(work)
            except AnabranchError:  # what is assumed need not fit; a dry run does not fail for it either
                return

    def _noting(self, work: RunNode) -> _Noting:
        return _Noting(self.seconds.setdefault(work.address, []))


@dataclass(slots=True)
class _Noting:
    seconds: list[float]
    begun: float = 0.0

    def __enter__(self) -> None:
        self.begun = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds.append(time.perf_counter() - self.begun)


@dataclass(frozen=True, slots=True)
class NodeProfile:
    """One node: how it came to its answer, when it began (seconds of virtual time), its evaluations, what it wrote."""

    address: str
    by: str
    begins: float
    evaluations: int
    mean_ms: float
    slowest_ms: float
    written_bytes: int


def profile_graph(
    loaded: LoadedGraph,
    data: dict[str, Json],
    given: dict[str, GivenOutcome],
    settings: Settings,
    *,
    iterations: int,
    as_json: bool,
) -> int:
    """Play a graph so often and print where the time went; returns the exit code, which is 1 where a run fails."""
    plan = plan_graph(loaded.graph, loaded.graphs)
    runs: list[float] = []
    with rule_evaluator(settings) as evaluate:
        last = play_through(plan, data, given, evaluate)  # compiles what there is, which a worker does once too
        watch = Stopwatch(evaluate)
        for _ in range(iterations):
            begun = time.perf_counter()
            last = play_through(plan, data, given, watch.rules, looking=watch.templates)
            runs.append(time.perf_counter() - begun)
    nodes = list(_nodes(last, watch))
    if as_json:
        out().file.write(json.dumps(_as_json(loaded.graph.name, runs, nodes), indent=2) + "\n")
    else:
        _show(loaded.graph.name, runs, nodes)
    return 0 if last.completed else 1


def _fill_in(work: RunNode) -> None:
    planned, roots = work.planned, work.roots
    data = planned.seen(work.line.data, roots, Cost())
    for each in kind_fields(planned.node):
        if each.is_template:
            compile_template(each.value, planned.roots).render(data, roots)


def _nodes(last: Rehearsal, watch: Stopwatch) -> Iterator[NodeProfile]:
    start = min((step.started for step in last.done.timeline), default=0)
    for step in sorted(last.done.timeline, key=lambda each: each.started):
        address = step.work.address
        seconds = watch.seconds.get(address, [])
        result = getattr(step.answer, "result", None)
        written = sum(map(measure, result.set.values())) if isinstance(result, ChangeSet) else 0
        yield NodeProfile(
            address,
            last.answers.origin(step.work),
            (step.started - start) / 1000,
            len(seconds),
            fmean(seconds) * 1000 if seconds else 0.0,
            max(seconds, default=0.0) * 1000,
            written,
        )


def _totals(runs: list[float]) -> dict[str, float]:
    return {
        "iterations": len(runs),
        "total_ms": sum(runs) * 1000,
        "average_ms": fmean(runs) * 1000,
        "fastest_ms": min(runs) * 1000,
        "slowest_ms": max(runs) * 1000,
        "runs_per_second": len(runs) / sum(runs),
    }


def _as_json(name: str, runs: list[float], nodes: list[NodeProfile]) -> dict[str, object]:
    fields = ("address", "by", "begins", "evaluations", "mean_ms", "slowest_ms", "written_bytes")
    listed = [{each: getattr(node, each) for each in fields} for node in nodes]
    return {"graph": name, **_totals(runs), "nodes": listed}


def _show(name: str, runs: list[float], nodes: list[NodeProfile]) -> None:
    screen, totals = out(), _totals(runs)
    screen.print(Text.assemble((name, "bold"), f"  {len(runs)} dry runs, without a server"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("after", "node", "by", "evaluated", "mean", "slowest", "bytes written"):
        table.add_column(title, overflow="fold", no_wrap=title != "node")
    for node in nodes:
        times = (f"{node.mean_ms:.3f} ms", f"{node.slowest_ms:.3f} ms") if node.evaluations else ("", "")
        counted = f"{node.evaluations}" if node.evaluations else ""
        row = (f"{node.begins:g} s", node.address, node.by, counted, *times, str(node.written_bytes))
        table.add_row(*row)
    screen.print(table, soft_wrap=False)
    screen.print(
        f"a run: {totals['average_ms']:.2f} ms on average, {totals['fastest_ms']:.2f} to {totals['slowest_ms']:.2f} ms;"
        f" {totals['runs_per_second']:.0f} a second"
    )
