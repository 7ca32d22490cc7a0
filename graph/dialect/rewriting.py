"""What a rewriting has found so far: where moved parts came from, what was assumed, what has no counterpart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from anabranch.context.values import Json
from anabranch.errors import Problem, SourceLocation
from anabranch.graph.source.problems import described
from anabranch.graph.source.yaml_source import Pointer, Source

Fields: TypeAlias = dict[str, Any]
"""The fields of a node as they are rewritten."""


@dataclass(slots=True)
class Rewriting:
    """The state of a rewriting. Every path that it changes leads back to the line that the author wrote."""

    source: Source
    moved: dict[Pointer, Pointer] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def origin(self, path: Pointer) -> Pointer:
        """Where a path of the new value came from."""
        for length in range(len(path), -1, -1):
            if (old := self.moved.get(path[:length])) is not None:
                return old + path[length:]
        return path

    def move(self, new: Pointer, old: Pointer) -> None:
        """What is at `new` was at `old`."""
        if new != (origin := self.origin(old)):
            self.moved[new] = origin

    def rename(self, node: Fields, old: str, new: str, path: Pointer) -> None:
        """Give a field its name in our language, unless the node has one of that name."""
        if old in node and new not in node:
            node[new] = node.pop(old)
            self.move((*path, new), (*path, old))

    def place(self, path: Pointer) -> SourceLocation:
        """The place in the text of what is at a path."""
        return self.source.place(self.origin(path), key=True)

    def assumed(self, path: Pointer, message: str, suggestion: str) -> None:
        """The author did not say it, and this is taken for what was meant."""
        text = f"{described(path)} {message}"
        self.problems.append(Problem("DIALECT_ASSUMED", text, self.place(path), suggestion, warning=True))

    def unused(self, path: Pointer, message: str) -> None:
        """The author wrote something that does nothing."""
        text = f"{described(path)} {message}"
        self.problems.append(Problem("DIALECT_UNUSED", text, self.place(path), "remove it", warning=True))

    def refuse(self, path: Pointer, message: str, suggestion: str) -> Fields:
        """There is no counterpart: the one problem of the node. The answer stands for the node until it is told."""
        text = f"{described(path)} {message}"
        self.problems.append(Problem("DIALECT_UNSUPPORTED", text, self.place(path), suggestion))
        return {"type": "rule", "rules": [{"then": {}}]}


def strings(value: Json) -> dict[str, str]:
    """The entries of a mapping whose values are texts; none where it is no mapping."""
    return {key: each for key, each in value.items() if isinstance(each, str)} if isinstance(value, dict) else {}
