"""The comments of a YAML text, each with where it stands; what looks like one inside of a text is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from anabranch.graph.source.yaml_source import Source


@dataclass(frozen=True, slots=True)
class Comment:
    """One comment without its `#`; line and column are counted from 1. `alone` in its line, or behind something."""

    text: str
    line: int
    column: int
    alone: bool


def comments_of(source: Source) -> Iterator[Comment]:
    """The comments in the order of the text."""
    inside = sorted((span.start.index, span.end.index) for span in source.spans.values() if span.scalar)
    start, at = 0, 0
    for number, line in enumerate(source.text.split("\n"), start=1):
        column = line.find("#")
        while column >= 0:
            index = start + column
            while at < len(inside) and inside[at][1] <= index:
                at += 1
            covered = at < len(inside) and inside[at][0] <= index
            if not covered and (column == 0 or line[column - 1] in " \t"):
                yield Comment(line[column + 1 :].strip(), number, column + 1, alone=not line[:column].strip())
                break
            column = line.find("#", column + 1)
        start += len(line) + 1
