"""A `ChangeSet` is what one writer did to one version: paths set and paths removed. `apply` is the inverse of `diff`.

Paths of a diff are leaves: it goes into objects that exist on both sides, and sets a new object leaf by leaf. So two
branches that both create `order` with different keys do not conflict. Lists are atomic. An empty object is a leaf. A
value that becomes an object, or an object that becomes a value, is one change at that path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

from anabranch.context.nested import check_ways, list_at
from anabranch.context.values import MISSING, Json, Missing, Path, format_path, same, value_at
from anabranch.errors import WireFormatError

_ARITY = 5
"""One more where there are warnings, two more where something is appended, three more where something was spent."""


class Usage(NamedTuple):
    """What a writer spent at a language model."""

    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost: float | None = None
    """By the prices that the worker knows; None where it knows none."""

    @property
    def tokens(self) -> int:
        """Those of prompts and answers."""
        return self.input_tokens + self.output_tokens

    def plus(self, other: Usage) -> Usage:
        """Both together. A cost of which nothing is known adds nothing."""
        costs = [each for each in (self.cost, other.cost) if each is not None]
        asked, answered = self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens
        return Usage(self.model, self.requests + other.requests, asked, answered, sum(costs) if costs else None)

    def described(self) -> dict[str, Json]:
        """As JSON for people."""
        told: dict[str, Json] = dict(zip(self._fields[:4], self[:4], strict=True))
        return told if self.cost is None else {**told, "cost": self.cost}


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What `by` did at `at` (Unix milliseconds) to the version `base_version`.

    `warnings` are what the writer says beside it to who reads the audit trail. `appended` are values that are added to
    the ends of lists, whatever those hold by then: `refine` makes writes of them. `usage` is what was spent at models.
    """

    base_version: int
    set: Mapping[Path, Json]
    removed: tuple[Path, ...] = ()
    by: str = ""
    at: int = 0
    warnings: tuple[str, ...] = ()
    appended: Mapping[Path, list[Json]] = field(default_factory=dict)
    usage: tuple[Usage, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.set) or bool(self.removed) or bool(self.appended)

    def to_wire(self) -> list[Any]:
        """As a positional array: `[base_version, [path, value, …], [path, …], by, at]`.

        Behind them `[warning, …]`, `[path, values, …]` of what is appended and `[usage, …]`, if any.
        """
        more: list[Any] = [list(self.warnings)] if self.warnings or self.appended or self.usage else []
        if self.appended or self.usage:
            more.append(_flat(self.appended))
        if self.usage:
            more.append([list(each) for each in self.usage])
        return [self.base_version, _flat(self.set), self.removed, self.by, self.at, *more]

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """From the array of `to_wire`. Raises WireFormatError."""
        if not isinstance(wire, list | tuple) or len(wire) not in range(_ARITY, _ARITY + 4):
            raise WireFormatError(
                "a change set is an array of five to eight elements", suggestion="encode it with ChangeSet.to_wire"
            )
        base, flat, removed, by, at, *more = wire
        if not (isinstance(base, int) and isinstance(by, str) and isinstance(at, int)):
            raise WireFormatError("a change set needs a version, a writer's name and a time")
        if not isinstance(removed, list | tuple):
            raise WireFormatError("a change set needs an array of removed paths")
        appended = _by_path(more[1]) if len(more) > 1 else {}
        is_empty = len(more) == 2 and not appended  # noqa: PLR2004 - an array of nothing, and nothing behind it
        if is_empty or not all(isinstance(values, list) for values in appended.values()):
            raise WireFormatError("what a change set appends are arrays of values")
        said = _texts(more[0]) if more else ()
        spent = _spent(more[2]) if len(more) > 2 else ()  # noqa: PLR2004 - its place
        return cls(base, _by_path(flat), tuple(map(_path, removed)), by, at, said, appended, spent)

    def to_json_object(self) -> dict[str, Json]:
        """As JSON for people, with paths as text."""
        described: dict[str, Json] = {
            "base_version": self.base_version,
            "set": {format_path(path): value for path, value in self.set.items()},
            "removed": [format_path(path) for path in self.removed],
            "by": self.by,
            "at": self.at,
        }
        if self.warnings:
            described["warnings"] = list(self.warnings)
        if self.appended:
            described["appended"] = {format_path(path): values for path, values in self.appended.items()}
        if self.usage:
            described["usage"] = [each.described() for each in self.usage]
        return described


def _spent(wire: object) -> tuple[Usage, ...]:
    if not isinstance(wire, list | tuple) or not wire:
        raise WireFormatError("what a change set says of models is an array of what was spent")
    return tuple(map(_usage, wire))


def _usage(wire: object) -> Usage:
    """What was spent, from its array. Raises WireFormatError."""
    if isinstance(wire, list | tuple) and len(wire) == len(Usage._fields):
        given = Usage._make(wire)
        is_cost = given.cost is None or (isinstance(given.cost, int | float) and given.cost >= 0)
        if isinstance(given.model, str) and is_cost and all(type(each) is int and each >= 0 for each in given[1:4]):
            return given
    raise WireFormatError("what a change set says of models is a name, three counts and a cost")


def diff(
    old: Mapping[str, Json], new: Mapping[str, Json], *, base_version: int = 0, by: str = "", at: int = 0
) -> ChangeSet:
    """The changes that lead from `old` to `new`. Subtrees that are the same object cost nothing."""
    changed: dict[Path, Json] = {}
    removed: list[Path] = []
    _compare(old, new, (), changed, removed)
    return ChangeSet(base_version, changed, tuple(removed), by, at)


def apply(data: Mapping[str, Json], changes: ChangeSet) -> dict[str, Json]:
    """The data with the changes: copied along the changed paths, shared everywhere else. Removals come first."""
    removed: list[tuple[Path, Json | Missing]] = [(path, MISSING) for path in changes.removed]
    return overlay(data, [*removed, *changes.set.items()])


def overlay(data: Mapping[str, Json], values: Iterable[tuple[Path, Json | Missing]]) -> dict[str, Json]:
    """The data with values set at paths one after the other (MISSING removes), copied only along those paths."""
    result = dict(data)
    fresh: set[int] = {id(result)}
    for path, value in values:
        parent = _parent(result, path, fresh, create=not isinstance(value, Missing))
        if isinstance(value, Missing):
            if parent is not None:
                parent.pop(path[-1], None)
        elif parent is not None:
            parent[path[-1]] = value
    return result


def refine(data: dict[str, Json], changes: ChangeSet) -> ChangeSet:
    """The same changes as the deep diff against `data`: leaves only, without what already has that value.

    What they append is written behind what is there. Raises WriteRefused where that is no list.
    """
    if changes.appended:
        changes = _with_appended(data, changes)
    changed: dict[Path, Json] = {}
    removed: list[Path] = []
    if _independent(data, changes):
        removed.extend(path for path in changes.removed if value_at(data, path) is not MISSING)
        for path, value in changes.set.items():
            _compare_value(value_at(data, path), value, path, changed, removed)
    else:
        _compare(data, apply(data, changes), (), changed, removed)
    base, by, at = changes.base_version, changes.by, changes.at
    return ChangeSet(base, changed, tuple(removed), by, at, changes.warnings, changes.appended, changes.usage)


def _with_appended(data: dict[str, Json], changes: ChangeSet) -> ChangeSet:
    """The changes with whole lists for what they append."""
    before = apply(data, changes)
    check_ways(before, changes.appended)
    lists = {path: [*list_at(before, path), *values] for path, values in changes.appended.items()}
    return replace(changes, set={**changes.set, **lists}, appended={})


def _independent(data: dict[str, Json], changes: ChangeSet) -> bool:
    """Whether no path leads through another one, or through a value that is not an object."""
    paths = {*changes.set, *changes.removed}
    if len(paths) < len(changes.set) + len(changes.removed):
        return False
    for path in paths:
        for length in range(1, len(path)):
            if path[:length] in paths or not isinstance(value_at(data, path[:length]), dict | Missing):
                return False
    return True


def _compare(
    old: Mapping[str, Json], new: Mapping[str, Json], path: Path, changed: dict[Path, Json], removed: list[Path]
) -> None:
    for key, value in new.items():
        before = old.get(key, MISSING)
        if before is not value:
            _compare_value(before, value, (*path, key), changed, removed)
    if len(old) != len(new) or old.keys() != new.keys():
        removed.extend((*path, key) for key in old if key not in new)


def _compare_value(old: Json | Missing, new: Json, path: Path, changed: dict[Path, Json], removed: list[Path]) -> None:
    if isinstance(new, dict):
        if isinstance(old, dict):
            _compare(old, new, path, changed, removed)
        elif old is MISSING and new:
            for key, value in new.items():
                _compare_value(MISSING, value, (*path, key), changed, removed)
        else:
            changed[path] = new
    elif not same(old, new):
        changed[path] = new


def _parent(data: dict[str, Json], path: Path, fresh: set[int], *, create: bool) -> dict[str, Json] | None:
    """The object that holds a path's last key, copied on the way down unless this call made it."""
    parent = data
    for key in path[:-1]:
        child = parent.get(key, MISSING)
        if not isinstance(child, dict):
            if not create:
                return None
            child = {}
        elif id(child) not in fresh:
            child = dict(child)
        fresh.add(id(child))
        parent[key] = child
        parent = child
    return parent


def _flat(values: Mapping[Path, Any]) -> list[Any]:
    return [each for pair in values.items() for each in pair]


def _by_path(flat: object) -> dict[Path, Any]:
    if not isinstance(flat, list | tuple) or len(flat) % 2:
        raise WireFormatError("a change set needs an array of paths with values")
    return dict(zip(map(_path, flat[::2]), flat[1::2], strict=True))


def _texts(texts: object) -> tuple[str, ...]:
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise WireFormatError("the warnings of a change set are an array of texts")
    return tuple(texts)


def _path(keys: object) -> Path:
    if not isinstance(keys, list | tuple) or not keys or not all(isinstance(key, str) for key in keys):
        raise WireFormatError("a path is a non-empty array of keys")
    return tuple(keys)
