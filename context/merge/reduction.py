"""Reducers: how parallel writes to one path are combined.

`sum` and `append` take what each write added to the value before it, and count each write once, however many lines
it has reached. (The idea is that of operation-based replicated data types: Shapiro et al., *Conflict-Free
Replicated Data Types*, 2011.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

from anabranch.context.merge.lineage import Write, oldest_first, past, replay
from anabranch.context.merge.resolution import UNSETTLED, Policy, Reducer, Unsettled, without_duplicates
from anabranch.context.values import MAX_INT, MIN_INT, MISSING, Json, Missing, Path, same, value_at

Number = int | float


def reduce(
    reducer: Reducer, path: Path, root: dict[str, Json], values: Sequence[Json | Missing], heads: Sequence[Write]
) -> Json | Unsettled:
    """The combination of the values at a path; `heads` are the writes that made them, starting from `root`.

    UNSETTLED if a value is not a number (`sum`, `min`, `max`) or not a list (`append`, `union`), or if a sum exceeds
    64 bits.
    """
    numbers = [value for value in values if _is_number(value)]
    lists = [value for value in values if isinstance(value, list)]
    if len(values) > (len(lists) if reducer in {Reducer.APPEND, Reducer.UNION} else len(numbers)):
        return UNSETTLED
    if reducer is Reducer.UNION:
        return without_duplicates(lists)
    if reducer is Reducer.APPEND:
        return _History(path, root, heads).appended()
    if reducer is Reducer.SUM:
        return _History(path, root, heads).total()
    return min(numbers) if reducer is Reducer.MIN else max(numbers)


def why_not(reducer: Reducer, values: Sequence[Json | Missing]) -> str:
    """Why a reducer has no result for these values."""
    wanted = "lists" if reducer in {Reducer.APPEND, Reducer.UNION} else "numbers"
    if wanted == "numbers" and all(_is_number(value) for value in values):
        return f"the {reducer} does not fit in 64 bits"
    return f"{reducer} takes {wanted}"


def adds_up(policy: Policy, value: Json | Missing) -> bool:
    """Whether two writes of this same value combine to a different value."""
    return (policy is Reducer.SUM and _is_number(value)) or (policy is Reducer.APPEND and isinstance(value, list))


def accumulated(policy: Policy, path: Path, root: dict[str, Json], heads: Sequence[Write]) -> Json | Missing:
    """The result of `sum` or `append` at the heads, whatever values they hold; MISSING for other policies."""
    if policy is Reducer.APPEND:
        return _History(path, root, heads).appended()
    value = _History(path, root, heads).total() if policy is Reducer.SUM else UNSETTLED
    return MISSING if isinstance(value, Unsettled) else value


class _History:
    """A path's value in the root, and every fact that led to the heads, with the path's value before and after it."""

    def __init__(self, path: Path, root: dict[str, Json], heads: Sequence[Write]) -> None:
        self._path = path
        self._root = {key: value for key, value in root.items() if key == path[0]}
        self._start = value_at(self._root, path)
        self._writes = [
            write for write in oldest_first(heads) if not write.settled and path[: len(write.path)] == write.path
        ]

    def total(self) -> Number | Unsettled:
        """The start value plus what every write added; what is not a number counts as 0. UNSETTLED beyond 64 bits."""
        terms = [_number(self._start)]
        for write in self._writes:
            terms += (_number(self._after(write)), -_number(self._before(write)))
        try:
            result = sum(terms) if all(isinstance(term, int) for term in terms) else math.fsum(terms)
        except OverflowError:
            return UNSETTLED
        return result if isinstance(result, float) or MIN_INT <= result <= MAX_INT else UNSETTLED

    def appended(self) -> list[Json]:
        """The start value plus what every write appended; what is not a list counts as empty.

        A write that did anything but append is a new start: it replaces everything in its past.
        """
        before = {write: _list(self._before(write)) for write in self._writes}
        after = {write: _list(self._after(write)) for write in self._writes}
        starts = {write for write in self._writes if not same(after[write][: len(before[write])], before[write])}
        replaced = {each for write in starts for each in past(write)}
        result = [] if starts else list(_list(self._start))
        for write in self._writes:
            if write not in replaced:
                result.extend(after[write] if write in starts else after[write][len(before[write]) :])
        return result

    def _before(self, write: Write) -> Json | Missing:
        return value_at(replay(self._root, write.before), self._path)

    def _after(self, write: Write) -> Json | Missing:
        return write.value if isinstance(write.value, Missing) else value_at(write.value, self._path[len(write.path) :])


def _is_number(value: Json | Missing) -> TypeGuard[Number]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Json | Missing) -> Number:
    return value if _is_number(value) else 0


def _list(value: Json | Missing) -> list[Json]:
    return value if isinstance(value, list) else []
