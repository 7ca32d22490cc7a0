"""A graph's text in the usual layout: two spaces for each level. Lines, comments and quotes stay what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from anabranch.editor.document import Document
from anabranch.errors import GraphError
from anabranch.graph.source.comments import comments_of
from anabranch.graph.source.yaml_source import Extent, Pointer, Source

_STEP: Final = 2
_DASHES: Final = re.compile(r"(?:- +)+(?=\S)")


def formatted(document: Document) -> str:
    """The text, laid out; as it is where it cannot be read, or would say something else then."""
    text = document.text
    try:
        source = document.source()
    except GraphError:
        return text
    laid_out = _laid_out(source)
    if laid_out != text and _says(source) != _read(laid_out, document):
        return text
    return laid_out


def _read(text: str, document: Document) -> object:
    try:
        return _says(Document(text, document.path).source())
    except GraphError:
        return None


def _says(source: Source) -> object:
    """What a text says: its value, with the order of its keys, and its comments."""
    return repr(source.value), [comment.text for comment in comments_of(source)]


@dataclass(frozen=True, slots=True)
class _Line:
    """A line at which a key or an item of a block begins: where it is indented to, and was."""

    wanted: int
    was: int


def _laid_out(source: Source) -> str:
    end = "\r\n" if "\r\n" in source.text else "\n"
    lines = [line.removesuffix("\r") for line in source.text.split("\n")]
    begun, inside = dict(_beginnings(source, lines)), _inside_texts(source.spans)
    found: list[str] = []
    before = _Line(0, 0)
    for number, line in enumerate(lines):
        rest = line.lstrip(" ")
        if number in inside:
            found.append(_moved(line, before) if rest else line)
        elif (here := begun.get(number)) is not None:
            before = here
            found.append(" " * here.wanted + _DASHES.sub(_tight, rest, count=1).rstrip())
        elif rest.startswith("#"):
            found.append(_moved(line, _beside(number, lines, begun, before)).rstrip())
        else:
            found.append(_moved(line, before).rstrip() if rest else "")
    return end.join(found).rstrip("\r\n") + end


def _tight(dashes: re.Match[str]) -> str:
    return "- " * dashes[0].count("-") if dashes.start() == 0 else dashes[0]


def _moved(line: str, before: _Line) -> str:
    """A line that belongs to another one, moved as that was."""
    rest = line.lstrip(" ")
    return " " * max(0, len(line) - len(rest) + before.wanted - before.was) + rest


def _beside(number: int, lines: list[str], begun: Mapping[int, _Line], before: _Line) -> _Line:
    """What a comment goes with: what follows it, where that was indented alike, else what was before."""
    indent = len(lines[number]) - len(lines[number].lstrip(" "))
    following = next((begun[each] for each in range(number + 1, len(lines)) if each in begun), None)
    return following if following is not None and following.was == indent else before


def _beginnings(source: Source, lines: list[str]) -> Iterator[tuple[int, _Line]]:
    """The lines at which keys and items of blocks begin, by their numbers."""
    for path, extent in source.spans.items():
        if not path or _is_flow(source, path[:-1]):
            continue
        at = extent.key.index if extent.key is not None else _dash(source.text, extent.start.index)
        number = source.text.count("\n", 0, at) if extent.key is None else extent.key.line
        was = at - source.text.rfind("\n", 0, at) - 1
        if not lines[number][:was].strip(" "):
            yield number, _Line(_STEP * (len(path) - 1), was)


def _is_flow(source: Source, path: Pointer) -> bool:
    return source.text[source.spans[path].start.index] in "{["


def _dash(text: str, start: int) -> int:
    """Where the dash of an item is whose value starts there."""
    at = start - 1
    while at > 0 and text[at] in " \n\r":
        at -= 1
    return max(at, 0)


def _inside_texts(spans: Mapping[Pointer, Extent]) -> frozenset[int]:
    """The lines that begin inside of a text of several lines."""
    return frozenset(
        number
        for extent in spans.values()
        if extent.scalar and extent.end.line > extent.start.line
        for number in range(extent.start.line + 1, extent.end.line + (extent.end.column > 0))
    )
