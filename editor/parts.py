"""The parts of a graph's text that are read by themselves: each field of the graph, and each node and edge.

What was read is kept by its text, so that of a text that has changed only that is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from anabranch.errors import GraphError
from anabranch.graph.source.yaml_source import Pointer, Source, read_yaml

_SECTION: Final = re.compile(r"""(?P<key>[A-Za-z_][\w.-]*|"[^"\\]*"|'[^']*')\s*:(?P<rest>\s.*|$)""")
_ENTRY: Final = {"nodes": re.compile(r" +[\w\"'.~$]"), "edges": re.compile(r" *- ")}
"""The sections whose entries are read one by one, and how one of these begins."""
MOST_PARTS: Final = 5000
"""Fields, nodes and edges that are looked at; a graph may have 2,000 nodes."""
KEPT: Final = 2 * MOST_PARTS


@dataclass(frozen=True, slots=True)
class Part:
    """An entry of a section, or a whole section, that was read by itself."""

    path: Pointer
    """Of its value in the graph."""
    line: int
    source: Source
    within: Pointer
    """Of its value in its own text."""

    @property
    def depth(self) -> int:
        """How many steps there are in the graph to what is deepest in it."""
        return len(self.path) - len(self.within) + _depth(self.source.text)


def says_nothing(line: str) -> bool:
    """Whether a line is empty, or a comment."""
    return not line.strip() or line.lstrip(" ")[0] == "#"


def name_of(head: re.Match[str]) -> str:
    """The name of a field of the graph, of its first line."""
    return head["key"].strip("\"'")


def sections_of(lines: Sequence[str]) -> Iterator[tuple[re.Match[str], int, int]]:
    """Each field of the graph: what its first line says, the number of that, and of the one behind its last."""
    starts = [(found, number) for number, line in enumerate(lines) if (found := _SECTION.match(line)) is not None]
    ends = [*(number for _, number in starts[1:]), len(lines)]
    yield from ((found, first, end) for (found, first), end in zip(starts, ends, strict=False))


def parts_of(lines: Sequence[str], head: re.Match[str], first: int, end: int) -> Iterator[Part | None]:
    """The parts of a section; None for what cannot be read, or is not written as usual."""
    name, rest = name_of(head), head["rest"].partition(" #")[0].strip()
    if name not in _ENTRY or rest:
        source = read(_text(lines, first, end))
        if source is not None:
            yield Part((name,), first, source, (name,))
        if source is None or not isinstance(source.value, dict) or [*source.value] != [name]:
            yield None
        return
    entries = _entries(lines, first + 1, end)
    if not entries or not all(map(says_nothing, lines[first + 1 : entries[0][0]])):
        yield None
    for number, (start, stop) in enumerate(entries):
        source = read(_text(lines, start, stop))
        value = None if source is None else source.value
        if source is None or not isinstance(value, dict | list) or len(value) != 1:
            yield None
            continue
        step = next(iter(value)) if isinstance(value, dict) else 0
        yield Part((name, step if isinstance(step, str) else number), start, source, (step,))
        if not _ENTRY[name].match(lines[start]):
            yield None


def _text(lines: Sequence[str], first: int, end: int) -> str:
    """Some lines as they are in the text."""
    return "\n".join(lines[first:end]) + ("\n" if end < len(lines) else "")


def _entries(lines: Sequence[str], first: int, end: int) -> list[tuple[int, int]]:
    """The lines of each entry of a section: those that begin furthest to the left."""
    indents = {
        number: len(line) - len(line.lstrip(" "))
        for number, line in enumerate(lines[first:end], first)
        if line.strip() and line.lstrip()[0] != "#"
    }
    if not indents:
        return []
    left = min(indents.values())
    starts = [number for number, indent in indents.items() if indent == left]
    return list(zip(starts, [*starts[1:], end], strict=True))


@lru_cache(maxsize=KEPT)
def read(text: str) -> Source | None:
    """A text as YAML; None where it is none."""
    try:
        return read_yaml(text, "")
    except GraphError:
        return None


@lru_cache(maxsize=KEPT)
def _depth(text: str) -> int:
    source = read(text)
    return 0 if source is None else max(map(len, source.spans))
