"""The outcome of a run, compared with what its test expects; each difference with its place in the test file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose

from anabranch.context.nested import nested
from anabranch.context.values import MISSING, Json, Missing, Path, format_path, parse_path, same, value_at
from anabranch.graph.source.yaml_source import Pointer
from anabranch.testkit.addresses import of, static
from anabranch.testkit.model import Case, Expectation, ExpectedConflict, ExpectedError
from anabranch.testkit.play import Played
from anabranch.workflows.interpreter.commands import AskConflict, Failure
from anabranch.workflows.interpreter.trail import describe_conflict

_PRECISION = 1e-12


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One difference. `at` is the path of the expectation, under the test. MISSING: no value."""

    at: Pointer
    what: str
    expected: Json | Missing
    actual: Json | Missing


def mismatches(case: Case, played: Played) -> list[Mismatch]:
    """All differences from what the test expects."""
    expect = case.expect
    return [
        *_status(expect, played),
        *_nodes(expect, played),
        *_context(expect, played.data),
        *_result(expect, played),
        *_attributes(expect, played),
        *_conflicts(expect, played),
        *_saga(expect, played),
        *_notices(expect, played),
        *_unused(case, played),
    ]


def _status(expect: Expectation, played: Played) -> Iterator[Mismatch]:
    failure = played.failure
    if played.status != expect.end:
        ended = f"{played.status}: {failure.code} at {failure.node!r}: {failure.message}" if failure else played.status
        if played.status == "paused":
            ended = f"paused at {', '.join(map(repr, played.paused))}"
        yield Mismatch(("expect", "status"), "status", expect.end, ended)
    if expect.error is not None:
        yield from _error(("error",), expect.error, failure)
    yield from _last(expect, played)


def _last(expect: Expectation, played: Played) -> Iterator[Mismatch]:
    """Expected and actual failures of a `finally`, paired by node where one is named, and the rest of either side."""
    left = played.finally_failures[:]
    for index, each in enumerate(expect.last_errors):
        at: Pointer = ("finally_failed", index) if isinstance(expect.finally_failed, tuple) else ("finally_failed",)
        found = next((one for one in left if each.node == one.node), next(iter(left), None))
        if found is not None:
            left.remove(found)
        yield from _error(at, each, found)
    for last in left:
        told = f"{last.code} at {last.node!r}: {last.message}"
        yield Mismatch(("expect",), "finally_failed", MISSING, told)


def _error(at: Pointer, expected: ExpectedError, failure: Failure | None) -> Iterator[Mismatch]:
    actual = {"node": failure.node, "code": failure.code, "message": failure.message} if failure else {}
    for part, wanted in expected.model_dump(exclude_none=True).items():
        found = actual.get(part, MISSING)
        fits = isinstance(found, str) and (wanted in found if part == "message" else wanted == found)
        if not fits:
            yield Mismatch(("expect", *at, part), f"{at[0]}.{part}", wanted, found)


def _nodes(expect: Expectation, played: Played) -> Iterator[Mismatch]:
    if expect.path is not None:
        yield from _sequence("path", expect.path, [of(step.work) for step in played.path])
    ran = {name for address in played.ran for name in (address, static(address))}
    for index, address in enumerate(expect.ran):
        if address not in ran:
            yield Mismatch(("expect", "ran", index), f"node {address!r}", "ran", "did not run")
    for index, address in enumerate(expect.skipped):
        if address in ran:
            yield Mismatch(("expect", "skipped", index), f"node {address!r}", "did not run", "ran")


def _context(expect: Expectation, data: Mapping[str, Json]) -> Iterator[Mismatch]:
    if expect.context is not None:
        for text, wanted in expect.context.items():
            where = parse_path(text)
            yield from _differences(wanted, value_at(dict(data), where), ("context", text), where, exact=False)
    if expect.whole_context is not None:
        yield from _differences(_whole(expect.whole_context), dict(data), ("whole_context",), (), exact=True)
    for index, path in enumerate(expect.absent):
        if not isinstance(found := value_at(dict(data), parse_path(path)), Missing):
            yield Mismatch(("expect", "absent", index), f"context.{path}", MISSING, found)


def _result(expect: Expectation, played: Played) -> Iterator[Mismatch]:
    if expect.result is not None:
        found = MISSING if played.result is None else played.result
        yield from _differences(_whole(expect.result), found, ("result",), (), exact=True)


def _attributes(expect: Expectation, played: Played) -> Iterator[Mismatch]:
    if expect.search_attributes is not None:
        wanted, at = expect.search_attributes, ("search_attributes",)
        yield from _differences(wanted, played.search_attributes, at, (), exact=True)


def _whole(values: Mapping[str, Json]) -> dict[str, Json]:
    return nested({parse_path(text): value for text, value in values.items()})


def _differences(
    expected: Json | Missing, actual: Json | Missing, at: tuple[str, ...], path: Path, *, exact: bool
) -> Iterator[Mismatch]:
    """Where two values differ, as deep as objects go. What is not expected counts only where it is `exact`."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        more = [key for key in actual if key not in expected] if exact else []
        for key in [*expected, *more]:
            wanted, found = expected.get(key, MISSING), actual.get(key, MISSING)
            yield from _differences(wanted, found, (*at, key), (*path, key), exact=exact)
    elif not _alike(expected, actual):
        what = at[0] if at[0] in ("result", "search_attributes") else "context"
        yield Mismatch(("expect", *at), f"{what}.{format_path(path)}".rstrip("."), expected, actual)


def _alike(expected: Json | Missing, actual: Json | Missing) -> bool:
    """JSON equality, except for the last binary digits of numbers with a fraction."""
    if isinstance(expected, float) and isinstance(actual, float | int) and not isinstance(actual, bool):
        return isclose(expected, actual, rel_tol=_PRECISION)
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(_alike, expected, actual))
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(_alike(each, actual[key]) for key, each in expected.items())
    return same(expected, actual)


def _conflicts(expect: Expectation, played: Played) -> Iterator[Mismatch]:
    """Expected and actual conflicts, paired by path, and the rest of either side."""
    if expect.conflicts is None:
        return
    left = [
        _described({**describe_conflict(conflict), "at": version.by})
        for version in played.versions
        for conflict in version.conflicts
    ]
    for index, each in enumerate(expect.conflicts):
        at: Pointer = ("expect", "conflicts", index)
        name, wanted = f"conflict at {each.path!r}", _wanted(each)
        found = next((other for other in left if other["path"] == each.path and each.at in (None, other["at"])), None)
        if found is None:
            yield Mismatch(at, name, wanted, MISSING)
            continue
        left.remove(found)
        for field, value in wanted.items():
            if not _alike(value, found.get(field, MISSING)):
                yield Mismatch((*at, field), f"{name}: {field}", value, found.get(field, MISSING))
    for other in left:
        yield Mismatch(("expect", "conflicts"), f"conflict at {other['path']!r}", MISSING, other)


def _wanted(conflict: ExpectedConflict) -> dict[str, Json]:
    wanted: dict[str, Json] = conflict.model_dump(mode="json", exclude_unset=True)
    return wanted


def _described(conflict: Mapping[str, Json]) -> dict[str, Json]:
    candidates = conflict["candidates"]
    assert isinstance(candidates, list)  # noqa: S101 - as `describe_conflict` has it
    writers: list[Json] = [each["by"] for each in candidates if isinstance(each, dict)]
    described = {key: conflict[key] for key in ("path", "at", "strategy", "choice") if key in conflict}
    return {**described, "writers": writers}


def _saga(expect: Expectation, played: Played) -> Iterator[Mismatch]:
    if expect.compensated is not None:
        yield from _sequence("compensated", expect.compensated, played.undone)
    if expect.not_compensated is not None:
        yield from _sequence("not_compensated", expect.not_compensated, played.not_compensated)


def _notices(expect: Expectation, played: Played) -> Iterator[Mismatch]:
    if expect.notices is not None:
        yield from _sequence("notices", expect.notices, played.notices)


def _sequence(field: str, expected: Sequence[str], actual: Sequence[str]) -> Iterator[Mismatch]:
    if list(expected) != list(actual):
        yield Mismatch(("expect", field), field, list(expected), list(actual))


def _unused(case: Case, played: Played) -> Iterator[Mismatch]:
    """What the test says of nodes that never got there."""
    for address in case.outcomes:
        if address not in played.used:
            yield Mismatch(("outcomes", address), f"node {address!r}", "asked for its outcome", "never asked")
    ended = {each for step in played.timeline for each in (step.work.address, of(step.work))}
    asked = {step.work.address for step in played.timeline if isinstance(step.work, AskConflict)}
    for address in case.choose:
        if address not in asked:
            yield Mismatch(("choose", address), f"node {address!r}", "a conflict at its join", "no conflict that waits")
    for index, address in enumerate(case.order):
        if address not in ended:
            yield Mismatch(("order", index), f"node {address!r}", "ended", "never ended")
    if case.cancel_after is not None and case.cancel_after not in ended:
        yield Mismatch(("cancel_after",), f"node {case.cancel_after!r}", "ended", "never ended")
