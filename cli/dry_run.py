"""`anabranch dry-run`: what a run would do, without a server: rules are evaluated, other outcomes given or assumed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path

from rich.table import Table
from rich.text import Text

from anabranch.cli.failure import show_failure
from anabranch.cli.report import out, show_finding
from anabranch.cli.structure import show_structure
from anabranch.cli.versions import conflict_line, short, warning_line
from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json, Missing, format_path
from anabranch.display import plain, plain_json
from anabranch.graph.load import LoadedGraph
from anabranch.graph.plan import plan_graph
from anabranch.graph.run_id import run_id
from anabranch.settings import Settings
from anabranch.testkit.addresses import of
from anabranch.testkit.dry_run import Rehearsal, play_through
from anabranch.testkit.given import read_outcomes
from anabranch.testkit.rules import rule_evaluator
from anabranch.workflows.interpreter.attributes import BY, at_the_end
from anabranch.workflows.interpreter.node_run import NodeRun
from anabranch.workflows.interpreter.simulation import Chosen, DryRun, Failed, TimelineEntry
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.trail import describe_conflict
from anabranch.workflows.interpreter.views import result

_ORIGINS = {"given": "cyan", "evaluated": "green", "assumed": "yellow", "timer": "dim"}


def rehearse(
    loaded: LoadedGraph, data: dict[str, Json], outcomes: Path | None, settings: Settings, *, shown: Shown
) -> int:
    """Run a graph without a server and print what happened; returns the exit code."""
    plan = plan_graph(loaded.graph, loaded.graphs)
    given = read_outcomes(outcomes, plan) if outcomes else {}
    with rule_evaluator(settings) as evaluate:
        played = play_through(plan, data, given, evaluate)
    made = run_id(loaded.graph, data)
    if shown is not Shown.RESULT:
        _show(played, made, verbose=shown is Shown.ALL)
    return 0 if _end(played.state, played.done, f"{loaded.graph.name}-dry-run") else 1


class Shown(Enum):
    """What is printed: the result alone, the steps too, or also the nodes and edges that there are."""

    RESULT = "result"
    STEPS = "steps"
    ALL = "all"


def _show(played: Rehearsal, made_id: str | None, *, verbose: bool) -> None:
    screen, state, done, answers = out(), played.state, played.done, played.answers
    if verbose:
        show_structure(state.plan.graph)
    screen.print(Text.assemble((state.plan.graph.name, "bold"), "  dry run, without a server"))
    if made_id is not None:
        screen.print(Text(f"id: {plain(made_id)}", "dim"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("after", "node", "outcome", "by", "wrote"):
        table.add_column(title, overflow="fold", no_wrap=title in {"after", "outcome"})
    start = min((step.started for step in done.timeline), default=0)
    fallbacks = _fallbacks(state)
    for step in done.timeline:
        origin = answers.origin(step.work)
        outcome, wrote = _described(step)
        if isinstance(step.answer, Failed) and (written := fallbacks.get(of(step.work))):
            wrote.append("\n").append_text(_assignments(written))
        table.add_row(
            f"{(step.ended - start) / 1000:g} s", of(step.work), outcome, Text(origin, _ORIGINS[origin]), wrote
        )
    screen.print(table, soft_wrap=False)
    _show_attributes(state)
    for status in ("skipped", "cancelled", "timed_out"):
        if names := [name for name, node in _named(state) if node.status == status]:
            screen.print(Text(f"{status.replace('_', ' ')}: {', '.join(names)}", "dim"))
    _show_notes(state)


def _show_notes(state: RunState) -> None:
    """The conflicts that were settled, and what nodes warned of."""
    for version in state.trail.versions:
        for conflict in version.conflicts:
            out().print(conflict_line(describe_conflict(conflict)))
        for warning in version.changes.warnings:
            out().print(Text.assemble((plain(version.by), "bold"), "  "), warning_line(warning))


def _show_attributes(state: RunState) -> None:
    """What the graph's own search attributes say at the end."""
    if said := at_the_end(state):
        told = ", ".join(f"{name} = {short(value)}" for name, value in said.items())
        out().print(Text(plain(f"search attributes: {told}"), "dim"))
    for warning in (text for by, text in state.trail.warnings if by == BY):
        out().print(warning_line(warning))


def _fallbacks(state: RunState) -> dict[str, dict[str, Json]]:
    """What the run went on with where nodes failed, by their addresses."""
    return {
        version.by: {format_path(path): value for path, value in version.changes.set.items()}
        for version in state.trail.versions
        if version.kind == "fallback"
    }


def _named(state: RunState) -> Iterator[tuple[str, NodeRun]]:
    """The graph's own nodes and those of its `finally`, by address."""
    for scope in dict.fromkeys((state.main, state.root)):
        yield from ((scope.address(run), run) for run in scope.nodes.values())


def _described(step: TimelineEntry) -> tuple[Text, Text]:
    """The outcome of a step, and what it wrote or why it failed."""
    answer = step.answer
    if isinstance(answer, Failed):
        failure = answer.failure
        return Text(failure.outcome, "red"), Text(plain(f"{failure.code}: {failure.message}"), "red")
    if isinstance(answer, Chosen):
        return Text("settled", "green"), _assignments(
            {format_path(path): value for path, value in answer.choices.items()}
        )
    result = answer.result
    if isinstance(result, ChangeSet):
        appended = "".join(f"\n{format_path(path)} += {short(values)}" for path, values in result.appended.items())
        written = _assignments({format_path(path): value for path, value in result.set.items()})
        return Text("success", "green"), Text(f"{written}{plain(appended)}".strip("\n"))
    return Text("success", "green"), _assignments(result if isinstance(result, dict) else {})


def _assignments(values: Mapping[str, object]) -> Text:
    written = (
        f"{key} = {'(removed)' if isinstance(value, Missing) else short(value)}" for key, value in values.items()
    )
    return Text(plain("\n".join(written)))


def _end(state: RunState, done: DryRun, name: str) -> bool:
    """Print the result, or why there is none; returns whether the run completed."""
    finish = done.finish
    if finish is None:
        waiting = ", ".join(map(repr, state.paused_nodes)) or "nothing"
        show_finding("PAUSED", None, f"the run would wait for an operator, at {waiting}")
        return False
    if finish.failure is not None:
        undone = {"compensated": finish.compensated, "not_compensated": finish.not_compensated}
        last = None if finish.afterwards is None else finish.afterwards.failure
        show_failure({**finish.failure.root(), **undone, "finally_failed": None if last is None else last.root()})
        return False
    out().file.write(plain_json(json.dumps(result(state, finish, name), indent=2, ensure_ascii=False)) + "\n")
    return True
