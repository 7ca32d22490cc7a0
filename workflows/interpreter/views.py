"""What people see of a run: its status, context, history and drawing. Plain JSON; nothing here changes the run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from anabranch.context.merge.lineage import Line
from anabranch.context.merge.union import Conflict
from anabranch.context.values import Json, Missing, format_path
from anabranch.display import code_span
from anabranch.graph.drawing.mermaid import mermaid
from anabranch.transport.node_protocol import iso_time
from anabranch.workflows.interpreter.commands import Afterwards, AskPerson, AwaitEvent, Failure, Finish
from anabranch.workflows.interpreter.excerpt import (
    afterwards_that_fit,
    data_that_fits,
    newest_versions,
    questions_that_fit,
)
from anabranch.workflows.interpreter.node_run import NodeRun, Status
from anabranch.workflows.interpreter.node_state import NodeState, items_under_way, runs
from anabranch.workflows.interpreter.people import OpenApproval, reminders_told
from anabranch.workflows.interpreter.scope import Scope
from anabranch.workflows.interpreter.size import ByteBudget, newest_that_fit
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.trail import describe_conflict

_SHOWN = 40
"""Nodes that the Web UI's current details list, those that changed last. The others are only counted."""
_SHOWN_LACKING = 5
_SHOWN_QUESTIONS = 10
_SHOWN_CONFLICTS = 10
_SHOWN_PEOPLE = 10
_SHOWN_DECISIONS = 10
_SHOWN_COMMAND = 4_000
_SHOWN_PROMPT = 500
_SHOWN_TEXT = 60
_STEPS = 200
"""Steps that could not be undone, in the result of a completed run."""
_PATHS = 200
"""Paths in conflict that the query `context` names."""


def result(state: RunState, finish: Finish, session_id: str) -> dict[str, Json]:
    """The result of a completed run."""
    answer: dict[str, Json] = {
        "session_id": session_id,
        "status": "completed",
        "version": finish.line.version,
        "data": finish.data,
    }
    if conflicts := [describe_conflict(conflict) for conflict in state.trail.settled]:
        kept = newest_that_fit(conflicts, state.size.room_beside(finish.data))
        answer["conflicts"] = kept
        if len(kept) < len(conflicts):  # the server would reject a larger result again and again
            answer["conflicts_left_out"] = len(conflicts) - len(kept)
    if state.compensation_failures:  # of an attempt, after which the run went on
        named: list[Json] = [*islice(state.compensation_failures, _STEPS)]
        answer["not_compensated"] = named
    answer |= _warnings(state) | _usage(state)
    if finish.afterwards is not None:
        room = 0 if finish.given is None else state.size.room_beside(answer)
        answer |= _afterwards(finish.afterwards, room, is_shown=finish.given is None)
    return answer


def _afterwards(after: Afterwards, room: int, *, is_shown: bool) -> dict[str, Json]:
    """What the `finally` wrote, unless the data shows it, as far as it fits beside the rest; and why it failed."""
    if is_shown:
        return afterwards_that_fit(replace(after, written={}), 0)
    return afterwards_that_fit(after, room)


def context(state: RunState, line: Line, session_id: str, unsettled: Sequence[Conflict] = ()) -> dict[str, Json]:
    """The current context, `line`. `number` is what `write_context` takes as `base_version`.

    Of the paths `in_conflict` the last write is shown, until a join or a person settles them.

    If the data is too large for an answer, its largest keys are left out; `left_out` gives their sizes in bytes.
    """
    data, left_out = (dict(line.data), {}) if state.size.is_stored else data_that_fits(line.data)
    answer: dict[str, Json] = {
        "session_id": session_id,
        "version": line.version,
        "number": state.trail.count,
        "data": data,
    }
    if unsettled:
        answer["in_conflict"] = [format_path(each.path) for each in unsettled[:_PATHS]]
    return {**answer, "left_out": left_out} if left_out else answer


def status(state: RunState) -> dict[str, Json]:
    """The state of the run and of every node by address, including bodies under way. What does not fit is counted."""
    budget, left_out = ByteBudget(), dict[str, Json]()
    answer: dict[str, Json] = {"graph": state.plan.graph.name, "status": run_status(state)}

    def fitting(name: str, each: Iterable[tuple[str, Json]]) -> dict[str, Json]:
        entries = list(each)
        kept = {key: value for key, value in entries if budget.try_take([key, value])}
        if len(kept) < len(entries):
            left_out[name] = len(entries) - len(kept)
        return kept

    answer["nodes"] = fitting(
        "nodes", ((scope.address(run), NodeState.of(state, scope, run).described()) for scope, run in runs(state))
    )
    if (failure := _failure(state)) is not None:
        answer["failure"] = failure.root()
    if (compensated := _compensated(state)) or failure is not None:
        answer["compensated"] = list(fitting("compensated", ((step, None) for step in compensated)))
    if (finish := state.finished) is not None and finish.afterwards is not None and finish.afterwards.failure:
        answer["finally_failed"] = finish.afterwards.failure.root()
    answer |= _warnings(state) | _usage(state)
    answer |= {name: fitting(name, each.items()) for name, each in _by_address(state).items() if each}
    for name, found in questions_that_fit(state, budget).items():
        answer[name] = found.shown
        if found.left_out:
            left_out[name] = found.left_out
    return {**answer, "left_out": left_out} if left_out else answer


def _by_address(state: RunState) -> dict[str, Mapping[str, Json]]:
    """What is rarely to be said of nodes, by name: nothing of most runs."""
    return {
        "not_compensated": {step: reason.root() for step, reason in state.compensation_failures.items()},
        "decisions": state.decisions.described(),
        "paused": {address: retrying(state, address) for address in state.waiting_for_operator},
        "lacking": state.lacking,
        "limited": state.limited,
    }


def retrying(state: RunState, address: str) -> dict[str, Json]:
    """A paused node, or compensation, as JSON for people: with the command that tries it again."""
    return {"retry": state.answering.operate(address)}


def run_status(state: RunState) -> str:
    """The state of the run in one word."""
    if state.finished is not None:
        return state.finished.status
    if state.ending is not None:
        return "paused" if state.is_paused or state.waiting_for_operator else "finishing"
    if state.failure is not None:
        return "compensating"
    return "paused" if state.is_paused or state.waiting_for_operator else "running"


def history(state: RunState) -> list[Json]:
    """The audit trail, oldest first; only the newest versions of a long one."""
    return newest_versions(state.trail, ByteBudget())


def diagram(state: RunState) -> str:
    """The graph with the states of its nodes, as Mermaid."""
    scopes = (state.main, state.root)
    states = {scope.address(run): str(run.status) for scope in scopes for run in scope.nodes.values()}
    return mermaid(state.plan.graph, states)


def details(state: RunState) -> str:
    """Markdown for the Web UI's current details."""
    root = state.main
    counts = ", ".join(f"{root.tally[status]} {status}" for status in reversed(Status) if root.tally[status])
    graph = state.plan.graph
    head = f"**{code_span(f'{graph.name} {graph.version}')}** {run_status(state)}: {counts}"
    link = [] if (url := state.answering.link) is None else [f"[Open in the console]({url})", ""]
    lines = [head, "", *link, "| node | state |", "| --- | --- |"]
    lines.extend(
        f"| {code_span(scope.address(run))} | {run.status.value}{_attempt(run)}{_items(state, scope, run)} |"
        for scope, run in _shown(state)
    )
    if state.failure is not None or state.ending is not None or state.compensation_failures:
        lines.extend(_failed(state))
    for address, lack in islice(state.lacking.items(), _SHOWN_LACKING):
        lines.append(f"\nNode {code_span(address)} waits for another worker: {code_span(lack)}")
    for address, why in islice(state.limited.items(), _SHOWN_LACKING):
        lines.append(f"\nNode {code_span(address)} waits for its turn: {code_span(why)}")
    for address in list(state.questions)[:_SHOWN_QUESTIONS]:
        lines.extend(_question(state, address))
    for address in state.waiting_for_operator[:_SHOWN_QUESTIONS]:
        lines.extend(_paused(state, address))
    if more := sum(max(0, len(each) - _SHOWN_QUESTIONS) for each in (state.questions, state.waiting_for_operator)):
        lines.append(f"\n{more} more wait for somebody: see the query `status`.")
    if settled := state.trail.settled[-_SHOWN_CONFLICTS:]:
        lines.append("\nConflicts that were settled:\n")
        lines.extend(f"- {_conflict(conflict)}" for conflict in settled)
    if told := list(state.decisions.newest.items())[-_SHOWN_DECISIONS:]:
        lines.append("\nDecisions:\n")
        lines.extend(f"- {code_span(address)}: {each.did} by {code_span(each.by)}" for address, each in told)
    if state.trail.warnings:
        lines.append("\nWarnings:\n")
        lines.extend(f"- {code_span(by)}: {code_span(text, _SHOWN_PROMPT)}" for by, text in state.trail.warnings)
    return "\n".join(lines)


def _shown(state: RunState) -> Iterator[tuple[Scope, NodeRun]]:
    """The graph's own nodes that changed last, and those of its `finally`."""
    main, last = state.main, state.root
    newest = islice(reversed(main.changed.values()), _SHOWN)
    yield from ((main, run) for run in sorted(newest, key=lambda run: run.planned.index))
    if last is not main:
        yield from ((last, run) for run in islice(last.nodes.values(), _SHOWN))


def _failure(state: RunState) -> Failure | None:
    """Why the run fails; of a `finally` only what came before it counts."""
    return state.failure if state.ending is None else state.ending.failure


def _failed(state: RunState) -> Iterator[str]:
    """Why the run fails, what has been undone, and what could not be, for the current details."""
    if (failure := _failure(state)) is not None:
        yield f"\nIt fails with {code_span(failure.code)} at {code_span(failure.node or 'the run')}:\n"
        yield f"- {code_span(failure.message, _SHOWN_PROMPT)}"
    if undone := _compensated(state):
        more = f" and {len(undone) - _SHOWN} more" if len(undone) > _SHOWN else ""
        yield f"\nUndone: {', '.join(map(code_span, undone[:_SHOWN]))}{more}"
    if state.compensation_failures:
        yield "\nNot undone:\n"
        for step, reason in islice(state.compensation_failures.items(), _SHOWN):
            yield f"- {code_span(step)}: {code_span(reason.message, _SHOWN_PROMPT)}"


def _compensated(state: RunState) -> tuple[str, ...]:
    return state.saga.compensated if state.ending is None else state.ending.compensated


def _warnings(state: RunState) -> dict[str, Json]:
    """What nodes warned of, the newest last."""
    said: list[Json] = [{"by": by, "warning": text} for by, text in state.trail.warnings]
    return {"warnings": said} if said else {}


def _usage(state: RunState) -> dict[str, Json]:
    """What the run has spent at language models."""
    spent: list[Json] = [each.described() for each in state.trail.spent.values()]
    return {"usage": spent} if spent else {}


def _question(state: RunState, address: str) -> Iterator[str]:
    question, node = state.questions[address], code_span(address)
    until = "" if question.deadline is None else f" until {iso_time(question.deadline)}"
    if isinstance(ask := question.command, AskPerson):
        yield f"\nNode {node} waits for the update `complete_task`{until}:\n"
        yield f"- {code_span(ask.prompt or '(no prompt)', _SHOWN_PROMPT)}"
        yield from _people(ask, state.approvals.open.get(address))
        if ask.schema is not None:
            yield f"- the answer fits {code_span(json.dumps(ask.schema, ensure_ascii=False), _SHOWN_PROMPT)}"
        yield from _command(state.answering.answer(address, ask.schema))
        return
    if isinstance(ask, AwaitEvent):
        listed = (" and " if ask.needs_all else " or ").join(map(code_span, ask.names))
        yield f"\nNode {node} waits for the event {listed}{until}:\n"
        yield from _command(state.answering.send_event(ask))
        return
    yield f"\nNode {node} waits for the update `resolve_conflict`{until}:\n"
    for conflict in ask.conflicts[:_SHOWN_CONFLICTS]:
        yield f"- {_conflict(conflict)}"
    if ask.conflicts:
        yield from _command(state.answering.resolve_conflict(address, ask.conflicts[0]))


def _people(ask: AskPerson, known: OpenApproval | None) -> Iterator[str]:
    """Whom a question is for, who has answered, and when it is asked again."""
    for word, names in (("for", ask.assigned.assignee), ("for the groups", ask.assigned.groups)):
        if names:
            more = f" and {len(names) - _SHOWN_PEOPLE} more" if len(names) > _SHOWN_PEOPLE else ""
            yield f"- {word} {', '.join(map(code_span, names[:_SHOWN_PEOPLE]))}{more}"
    if known is None:
        return
    if ask.answers > 1:
        by = "".join(f", {code_span(each.by)}" for each in known.given[:_SHOWN_PEOPLE])
        yield f"- {len(known.given)} of {ask.answers} have answered{by}"
    if (reminders := known.reminders()) is not None:
        due = known.next_reminder
        following = "none follows" if due is None else f"the next one at {iso_time(due)}"
        yield f"- {reminders_told(reminders)}, {following}"
    if known.escalated is not None:
        yield f"- escalated at {iso_time(known.escalated)}"
    elif (due := known.escalates) is not None:
        yield f"- it escalates at {iso_time(due)}"


def _paused(state: RunState, address: str) -> Iterator[str]:
    yield f"\nNode {code_span(address)} is paused, and waits for an operator:\n"
    if (failed := state.paused_nodes.get(address)) is not None:
        yield f"- {code_span(failed.failure.code)}: {code_span(failed.failure.message, _SHOWN_PROMPT)}"
    yield from _command(state.answering.operate(address))


def _command(command: str) -> Iterator[str]:
    """A command is one line, so that nothing of it can end the block."""
    if len(command) <= _SHOWN_COMMAND:
        yield from ("", "~~~", command, "~~~")


def _conflict(conflict: Conflict) -> str:
    sides = ", ".join(f"{_short(each.value)} by {code_span(each.by)}" for each in conflict.candidates)
    by = "" if conflict.settled_by is None else f", chosen by {code_span(conflict.settled_by)}"
    choice = f" → {_short(conflict.value)} ({conflict.policy}{by})" if conflict.settled else ""
    return f"{code_span(format_path(conflict.path))}: {sides}{choice}"


def _short(value: Json | Missing) -> str:
    if isinstance(value, Missing):
        return "removed"
    if isinstance(value, list | dict):
        return f"{'list' if isinstance(value, list) else 'object'} of {len(value)}"
    text = json.dumps(value if not isinstance(value, str) else value[:_SHOWN_TEXT], ensure_ascii=False)
    return code_span(text)


def _attempt(run: NodeRun) -> str:
    """Which attempt of how many a composite is at, where it was tried more than once."""
    retry = run.planned.node.retry
    if retry is None or not (run.attempt > 1 or run.is_undone or run.next_at is not None):
        return ""
    limit = f" of {retry.max_attempts}" if retry.max_attempts else ""
    until = "" if run.next_at is None else f", the next one at {iso_time(run.next_at)}"
    return f", attempt {run.attempt}{limit}{until}"


def _items(state: RunState, scope: Scope, run: NodeRun) -> str:
    """How far a `foreach` is."""
    if (made := run.progress) is None:
        return ""
    told = [f"{made.failed} failed"] * bool(made.failed) + [f"{made.passed_over} passed over"] * bool(made.passed_over)
    if running := items_under_way(state, scope, run):
        told.append(f"{running} running")
    return ", ".join((f", {made.done} of {made.all} items done", *told))
