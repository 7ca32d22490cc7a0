"""How a conflict is settled: the four strategies, and reducers for paths where parallel writes add up."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final, Self

from anabranch.context.values import MISSING, Json, Missing, Path, identity, parse_path, same
from anabranch.errors import InputError


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
    """How parallel writes to one path are combined. `sum` adds what each side added to the base."""

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
"""No policy decides: a person has to choose."""


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def winner(candidates: Sequence[Candidate], policy: Policy) -> Candidate | None:
    """The candidate that `last_write_wins` or `higher_version_wins` chooses; None under any other policy.

    Candidates are in declaration order; of equal ones the last wins. Versions are compared without the clock: which of
    two branches ends first must not decide.
    """
    if policy is ConflictResolution.LAST_WRITE_WINS:
        return max(reversed(candidates), key=lambda each: (each.at, each.version))
    if policy is ConflictResolution.HIGHER_VERSION_WINS:
        return max(reversed(candidates), key=lambda each: each.version)
    return None


def merge_all(values: Sequence[Json | Missing]) -> Json | Missing:
    """Keep everything: objects are merged by key, lists and scalars become one list without duplicates.

    A removal yields to any value. A value on which all sides agree stays unchanged.
    """
    kept: list[Json] = [value for value in values if not isinstance(value, Missing)]
    if not kept:
        return MISSING
    if all(same(value, kept[0]) for value in kept[1:]):
        return kept[0]
    objects = [value for value in kept if isinstance(value, dict)]
    if len(objects) == len(kept):
        keys = dict.fromkeys(key for value in objects for key in value)
        merged = {key: merge_all([value.get(key, MISSING) for value in objects]) for key in keys}
        return {key: value for key, value in merged.items() if not isinstance(value, Missing)}
    return without_duplicates(value if isinstance(value, list) else [value] for value in kept)


def without_duplicates(lists: Iterable[Sequence[Json]]) -> list[Json]:
    """The items of all lists in order, each once."""
    union: dict[Hashable, Json] = {}
    for item in (item for items in lists for item in items):
        union.setdefault(identity(item), item)
    return list(union.values())
