"""A whole text as YAML, put together from the parts of it that were read by themselves: only what changed is read.

It is what `read_yaml` makes of the text. Where the parts might not add up to that, the text has to be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from yaml.error import Mark

from anabranch.editor.outline import Outline
from anabranch.editor.parts import Part
from anabranch.graph.source.yaml_source import MAX_DEPTH, Extent, Pointer, Source

_COUNTED_ANEW: Final = re.compile("[\r\x85\u2028\u2029\ufeff]|^(?:---|\\.\\.\\.|%)", re.MULTILINE)
"""Line ends that only YAML knows, and marks of documents."""


def assembled(outline: Outline, text: str, file: str) -> Source | None:
    """The text, read; None where it is not the sum of its parts."""
    if not outline.is_whole or _COUNTED_ANEW.search(text):
        return None
    moved = _Moved(outline)
    return None if moved.is_deep else Source(file, text, outline.value, moved)


class _Moved(Mapping[Pointer, Extent]):
    """The places of all values: those in the parts, moved to where the parts are."""

    def __init__(self, outline: Outline) -> None:
        self._parts = outline.parts
        self._starts = [0]
        for line in outline.lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._around = dict(self._collections(outline))
        self.is_deep = any(part.depth > MAX_DEPTH for part in self._parts.values())

    def __getitem__(self, path: Pointer) -> Extent:
        if (around := self._around.get(path)) is not None:
            return around
        for length in (1, 2):
            if len(path) >= length and (part := self._parts.get(path[:length])) is not None:
                return self._moved(part, part.source.spans[(*part.within, *path[length:])])
        raise KeyError(path)

    def __iter__(self) -> Iterator[Pointer]:
        yield from self._around
        for path, part in self._parts.items():
            within = len(part.within)
            yield from ((*path, *each[within:]) for each in part.source.spans if len(each) >= within)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _moved(self, part: Part, found: Extent) -> Extent:
        start, end = self._mark(found.start, part), self._mark(found.end, part)
        key = None if found.key is None else self._mark(found.key, part)
        return Extent(start, end, key, found.style, found.scalar)

    def _mark(self, mark: Mark, part: Part) -> Mark:
        return Mark(mark.name, mark.index + self._starts[part.line], mark.line + part.line, mark.column, None, 0)

    def _collections(self, outline: Outline) -> Iterator[tuple[Pointer, Extent]]:
        """The places of what is in no part: the graph itself, its nodes and its edges."""
        marks = {name: Mark("", self._starts[line], line, 0, None, 0) for name, line in outline.sections.items()}
        first = next(iter(marks.values()))
        yield (), Extent(first, first, None, None, scalar=False)
        listed = dict[str, Part]()
        for path, part in self._parts.items():
            if len(path) > 1:
                listed.setdefault(str(path[0]), part)
        for name, part in listed.items():
            start = end = self._mark(part.source.spans[()].start, part)
            if start.column == 0:  # a list as far to the left as its key begins with a dash, others with nothing
                end = Mark("", start.index + 1, start.line, 1, None, 0)
            yield (name,), Extent(start, end, marks[name], None, scalar=False)
