"""What the checks of a node type report: problems at places under one node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from anabranch.errors import Problem
from anabranch.graph.source.problems import described
from anabranch.graph.source.yaml_source import Pointer, Source


@dataclass(frozen=True, slots=True)
class Finder:
    """Makes problems at places under one node."""

    path: Pointer
    source: Source

    def problem(
        self, code: str, message: str, *steps: str | int, suggestion: str | None = None, warning: bool = False
    ) -> Problem:
        """A problem of the node at `path`, placed at the field that `steps` lead to."""
        place = self.source.place((*self.path, *steps), key=not steps)
        return Problem(code, f"{described(self.path)} {message}", place, suggestion, warning)

    def exactly_one(self, code: str, given: Sequence[str], names: Sequence[str]) -> Iterator[Problem]:
        """A problem unless exactly one of the fields `names` is given."""
        listed = " or ".join(f"`{name}`" for name in names)
        if not given:
            yield self.problem(code, f"needs {listed}", suggestion=f"give it one of {', '.join(names)}")
        if len(given) > 1:
            both = " and ".join(f"`{name}`" for name in given)
            message = f"has {both}; it needs exactly one of {listed}"
            yield self.problem(code, message, given[-1], suggestion=f"keep one of {', '.join(given)}")
