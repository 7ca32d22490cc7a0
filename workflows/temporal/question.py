"""What a join asks of people: its conflicts, and what was chosen so far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from anabranch.context.merge.union import Conflict
from anabranch.context.values import MISSING, Json, Missing, Path

Choices: TypeAlias = "dict[Path, Json | Missing]"
_Among: TypeAlias = "list[list[Any]]"
"""Writer, version and time of each candidate. As JSON has it: a question outlives a workflow run."""


@dataclass(frozen=True, slots=True)
class _Choice:
    value: Json | Missing
    among: _Among
    by: str | None


class Settled(NamedTuple):
    """What was chosen at each path of a join, and who chose, where they gave a name."""

    choices: Choices
    by: dict[Path, str]


class Question:
    """The question of one join. A choice stands as long as its candidates are the same."""

    def __init__(self) -> None:
        self._among: dict[Path, _Among] = {}
        self._made: dict[Path, _Choice] = {}

    def ask(self, conflicts: Iterable[Conflict]) -> None:
        """Ask for these conflicts, in place of those before."""
        self._among = {each.path: [[side.by, side.version, side.at] for side in each.candidates] for each in conflicts}
        self._made = {path: made for path, made in self._made.items() if self._among.get(path) == made.among}

    def choose(self, path: Path, value: Json | Missing, by: str | None) -> None:
        """Settle one of the conflicts."""
        self._made[path] = _Choice(value, self._among[path], by)

    @property
    def open(self) -> list[Path]:
        """The paths that are not settled yet."""
        return [path for path in self._among if path not in self._made]

    @property
    def settled(self) -> Settled:
        """What was chosen so far."""
        made = self._made.items()
        named = {path: each.by for path, each in made if each.by is not None}
        return Settled({path: each.value for path, each in made}, named)

    def dump(self) -> list[Any]:
        """The choices, for continue-as-new: the next run asks for the same conflicts."""
        return [[list(path), _optional(made.value), made.among, made.by] for path, made in self._made.items()]

    @classmethod
    def load(cls, dumped: list[Any]) -> Question:
        """The inverse of `dump`, to be asked."""
        question = cls()
        for path, value, among, *by in dumped:
            question._made[tuple(path)] = _Choice(value[0] if value else MISSING, among, by[0] if by else None)
        return question


def _optional(value: Json | Missing) -> list[Json]:
    return [] if isinstance(value, Missing) else [value]
