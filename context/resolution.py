"""How a conflict is settled: the four strategies, and reducers for paths where parallel writes add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final, Self

from context.values import MISSING, Json, Missing, Path, parse_path, same
from errors import InputError


class ConflictResolution(StrEnum):
    """What happens at a path that two lines of descent changed to different values."""

    LAST_WRITE_WINS = "last_write_wins"
    HIGHER_VERSION_WINS = "higher_version_wins"
    FAIL_ON_CONFLICT = "fail_on_conflict"
    MERGE_ALL = "merge_all"
    LastWriteWins = LAST_WRITE_WINS
    HigherVersionWins = HIGHER_VERSION_WINS
    FailOnConflict = FAIL_ON_CONFLICT
    MergeAll = MERGE_ALL

    @classmethod
    def parse(cls, text: str) -> Self:
        """`LastWriteWins` or `last_write_wins`. Raises InputError listing the strategies."""
        for member in cls:
            if _plain(member) == _plain(text):
                return member
        raise InputError(f"{text!r} is not a conflict resolution", suggestion=f"use one of {', '.join(cls)}")


class Reducer(StrEnum):
    """How parallel writes to one path combine. `sum` adds what each side added to the base."""

    SUM = "sum"
    MIN = "min"
    MAX = "max"
    APPEND = "append"
    UNION = "union"


Policy = ConflictResolution | Reducer


def parse_policy(text: str) -> Policy:
    """A strategy or a reducer by its name. Raises InputError listing them."""
    policies: list[Policy] = [*ConflictResolution, *Reducer]
    for policy in policies:
        if _plain(policy) == _plain(text):
            return policy
    raise InputError(f"{text!r} is not a merge policy", suggestion=f"use one of {', '.join(policies)}")


@dataclass(frozen=True, slots=True)
class Policies:
    """The policy for each path: that of its longest declared prefix, else the default."""

    default: ConflictResolution = ConflictResolution.LAST_WRITE_WINS
    by_path: Mapping[Path, Policy] = field(default_factory=dict)

    @classmethod
    def of(cls, default: str, by_path: Mapping[str | Path, str] | None = None) -> Self:
        """From names and from paths as text (`order.status`). Raises InputError."""
        paths = {
            parse_path(path) if isinstance(path, str) else path: parse_policy(name)
            for path, name in (by_path or {}).items()
        }
        return cls(ConflictResolution.parse(default), paths)

    def at(self, path: Path) -> Policy:
        """The policy for a path. A policy for `order` covers `order.status`."""
        if self.by_path:
            for length in range(len(path), 0, -1):
                if (policy := self.by_path.get(path[:length])) is not None:
                    return policy
        return self.default


@dataclass(frozen=True, slots=True)
class Candidate:
    """One side of a conflict: its value (MISSING: removed), the version and time of its write, and its writer."""

    value: Json | Missing
    version: int
    at: int
    by: str


class Unsettled(Enum):
    """The type of `UNSETTLED`."""

    UNSETTLED = "unsettled"


UNSETTLED: Final = Unsettled.UNSETTLED
"""Nobody but a person may choose."""


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def settle(base: Json | Missing, candidates: Sequence[Candidate], policy: Policy) -> Json | Missing | Unsettled:
    """The value that a policy gives; candidates stand in declaration order.

    UNSETTLED under `fail_on_conflict`, and where a reducer meets a value that it cannot reduce.
    """
    if isinstance(policy, Reducer):
        return _reduce(base, [candidate.value for candidate in candidates], policy)
    if policy is ConflictResolution.LAST_WRITE_WINS:
        return max(enumerate(candidates), key=lambda each: (each[1].at, each[1].version, each[0]))[1].value
    if policy is ConflictResolution.HIGHER_VERSION_WINS:
        return max(enumerate(candidates), key=lambda each: (each[1].version, each[1].at, each[0]))[1].value
    if policy is ConflictResolution.MERGE_ALL:
        return _merge_all([candidate.value for candidate in candidates])
    return UNSETTLED


def reduces(policy: Policy) -> bool:
    """Whether independent writes combine even where they agree."""
    return isinstance(policy, Reducer)


def _merge_all(values: Sequence[Json | Missing]) -> Json | Missing:
    """Keep everything: objects by key, lists and scalars in one list without duplicates. A removal yields."""
    kept: list[Json] = [value for value in values if not isinstance(value, Missing)]
    if not kept:
        return MISSING
    objects = [value for value in kept if isinstance(value, dict)]
    if len(objects) == len(kept):
        keys = dict.fromkeys(key for value in objects for key in value)
        merged = {key: _merge_all([value[key] for value in objects if key in value]) for key in keys}
        return {key: value for key, value in merged.items() if not isinstance(value, Missing)}
    union = _union([value if isinstance(value, list) else [value] for value in kept])
    return union if len(union) > 1 or any(isinstance(value, list) for value in kept) else union[0]


def _union(lists: Sequence[list[Json]]) -> list[Json]:
    union: list[Json] = []
    for item in (item for items in lists for item in items):
        if not any(same(item, other) for other in union):
            union.append(item)
    return union


def _reduce(base: Json | Missing, values: Sequence[Json | Missing], reducer: Reducer) -> Json | Missing | Unsettled:
    if reducer in {Reducer.APPEND, Reducer.UNION}:
        return _reduce_lists(base, values, reducer)
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        return UNSETTLED
    if reducer is Reducer.SUM:
        start = base if isinstance(base, int | float) and not isinstance(base, bool) else 0
        return start + sum(number - start for number in numbers)
    return min(numbers) if reducer is Reducer.MIN else max(numbers)


def _reduce_lists(
    base: Json | Missing, values: Sequence[Json | Missing], reducer: Reducer
) -> Json | Missing | Unsettled:
    lists = [value for value in values if isinstance(value, list)]
    if len(lists) < len(values):
        return UNSETTLED
    if reducer is Reducer.UNION:
        return _union(lists)
    start = base if isinstance(base, list) else []
    result = list(start)
    for items in lists:
        result.extend(items[len(start) :] if same(items[: len(start)], start) else items)
    return result
