"""Proves of a run, from its history and its database, that its effects and their compensations are as a saga's must be.

Exactly once: each step has at most one effect, whatever was killed or lost. All or nothing: where the run completed,
every effect remains and none is undone; otherwise each effect is undone exactly once, in reverse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.faults.record import Record

UNDO = "undo "


def violations(record: Record) -> list[str]:
    """What is wrong with the run, in sentences; empty where nothing is."""
    checks = (_ends, _once, _effects_of_history, _undone, _order_of_undoing, _order_in_the_ledger, _context)
    of_last = (_last, _last_of_blocks)
    return [f"{record.run}: {found}" for check in (*checks, *of_last) for found in check(record)]


def done(record: Record) -> list[str]:
    """Steps with an effect, in the order of the effects."""
    return list(dict.fromkeys(row.step for row in record.rows if row.kind == "do"))


def undone(record: Record) -> list[str]:
    """Steps whose effect was undone, in the order of the undoing."""
    return list(dict.fromkeys(row.step for row in record.rows if row.kind == "undo"))


def _ends(record: Record) -> Iterator[str]:
    if record.ends == "open":
        yield "the run is not over"
    scheduled = Counter(event.address for event in record.events if event.kind == "scheduled")
    closed = Counter(event.address for event in record.events if event.kind != "scheduled")
    for address in scheduled - closed:
        yield f"{address!r} was scheduled and never ended"
    for address, count in scheduled.items():
        if count > 1:
            yield f"{address!r} was scheduled {count} times"


def _once(record: Record) -> Iterator[str]:
    for row, count in Counter(record.rows).items():
        if count > 1:
            yield f"step {row.step!r} has {count} rows {row.kind!r}"
        if (
            row.kind not in {"do", "undo"}
            or row.step not in record.behind.keys() | record.last | record.of_blocks.keys()
        ):
            yield f"the ledger has a row that no step writes: {row}"


def _effects_of_history(record: Record) -> Iterator[str]:
    """What the history knows for certain of a step, and what the ledger says."""
    effects = set(done(record))
    known = {event.address: event for event in record.events if event.kind != "scheduled"}
    for step in record.behind:
        event = known.get(step)
        if step in effects and event is None:
            yield f"step {step!r} has an effect and was never scheduled"
        elif event is not None and event.kind == "completed" and step not in effects:
            yield f"step {step!r} completed and has no effect"
        elif event is not None and event.kind == "failed" and not event.unknown and step in effects:
            yield f"step {step!r} failed for certain and has an effect"


def _to_undo(record: Record) -> list[str]:
    """Steps that happened, or may have, in the order in which they ended."""
    return [
        event.address
        for event in record.events
        if event.address in record.behind and (event.kind == "completed" or event.unknown)
    ]


def _undone(record: Record) -> Iterator[str]:
    undoing = [event.address.removeprefix(UNDO) for event in record.events if _starts_undo(event.kind, event.address)]
    if record.ends == "completed":
        for step in dict.fromkeys((*undoing, *undone(record))):
            yield f"the run completed, and step {step!r} was undone"
        return
    effects, undone_effects, expected = set(done(record)), set(undone(record)), _to_undo(record)
    for step in record.behind:
        if step in effects and step not in undone_effects:
            yield f"step {step!r} has an effect that was not undone"
        if step in undone_effects and step not in effects:
            yield f"step {step!r} was undone and never done"
        if step in expected and step not in undoing:
            yield f"step {step!r} happened, or may have, and no compensation was scheduled"
        if step in undoing and step not in expected:
            yield f"step {step!r} did nothing, and its compensation was scheduled"
    for event in record.events:
        if event.address.startswith(UNDO) and event.kind not in {"scheduled", "completed"}:
            yield f"the compensation {event.address!r} {event.kind}"


def _starts_undo(kind: str, address: str) -> bool:
    return kind == "scheduled" and address.startswith(UNDO)


def _order_of_undoing(record: Record) -> Iterator[str]:
    """By the history: all work ends; then no compensation before those of what depends on its step."""
    events = list(enumerate(record.events))
    started = {event.address[len(UNDO) :]: at for at, event in events if _starts_undo(event.kind, event.address)}
    ended = {event.address: at for at, event in events if event.kind != "scheduled"}
    first = min(started.values(), default=len(events))
    for step in record.behind:
        if ended.get(step, -1) > first:
            yield f"step {step!r} was still running when the first compensation was scheduled"
    for step, at in started.items():
        for other in started:
            if step in record.behind.get(other, ()) and ended.get(UNDO + other, len(events)) > at:
                yield f"step {step!r} was undone before {other!r}, which depends on it"
    if record.sequential and list(started) != _to_undo(record)[::-1][: len(started)]:
        yield f"the compensations were scheduled as {list(started)}, and the steps ended as {_to_undo(record)}"


def _order_in_the_ledger(record: Record) -> Iterator[str]:
    """By the database: each effect is undone after it was made, and after the effects that depend on it."""
    at = {row: index for index, row in reversed(list(enumerate(record.rows)))}
    place = {(row.step, row.kind): index for row, index in at.items()}
    for step in undone(record):
        if place.get((step, "do"), -1) > place[step, "undo"]:
            yield f"in the ledger, step {step!r} was undone before it was done"
        for other in undone(record):
            if step in record.behind.get(other, ()) and place[other, "undo"] > place[step, "undo"]:
                yield f"in the ledger, step {step!r} was undone before {other!r}, which depends on it"


def _last(record: Record) -> Iterator[str]:
    """Each step of the `finally` has its effect, behind all else, and keeps it. A run that never began has none."""
    events, done_steps = list(enumerate(record.events)), set(done(record))
    for step in sorted(record.last) if events else ():
        started = next((at for at, event in events if event.address == step), len(events))
        if step not in done_steps:
            yield f"step {step!r} runs last, and has no effect"
        if step in undone(record):
            yield f"step {step!r} runs last, and was undone"
        if any(at > started and event.address not in record.last for at, event in events):
            yield f"something happened behind {step!r}, which runs last"


def _last_of_blocks(record: Record) -> Iterator[str]:
    """Each step of a `finally` of a block that began has its effect behind all else in the block, and keeps it."""
    events, done_steps = list(enumerate(record.events)), set(done(record))
    for step, block in record.of_blocks.items():
        inside = [at for at, event in events if event.address.startswith(f"{block}/") and event.address != step]
        started = next((at for at, event in events if event.address == step), len(events))
        if inside and step not in done_steps:
            yield f"step {step!r} runs last in {block!r}, and has no effect"
        if step in undone(record):
            yield f"step {step!r} runs last in {block!r}, and was undone"
        if any(at > started for at in inside):
            yield f"something happened in {block!r} behind {step!r}, which runs last in it"


def _context(record: Record) -> Iterator[str]:
    if record.ends != "completed" and record.data != record.given:
        yield f"the context was not rolled back: {record.data}"
    if record.ends == "completed":
        for key, value in record.wrote.items():
            if record.data.get(key) != value:
                yield f"the context does not hold {key!r}: {value!r}, but {record.data.get(key)!r}"
