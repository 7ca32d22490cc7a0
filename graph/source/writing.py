"""A graph as YAML text, with the comments of the text that it came from: each before the part that it stood at."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from anabranch.context.values import Json
from anabranch.graph.source.comments import Comment, comments_of
from anabranch.graph.source.yaml_source import Pointer, Source, plain_value

_ORDER: Final = (
    *("name", "version", "description", "definitions", "inputs", "context", "defaults", "saga", "share"),
    *("nodes", "edges", "finally", "result", "metadata"),
)
_WIDTH: Final = 110
_END: Final = (1 << 30, 0)


class _Dumper(yaml.SafeDumper):
    """Writes what our reader reads back as it was: YAML 1.2 without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value and not re.search(r"[ \t]\n|[ \t]$|^\s", value) else None
    if "\n" not in value and not _stays_text(value):
        style = '"'  # YAML 1.1, which PyYAML knows, takes it for a text
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _stays_text(value: str) -> bool:
    """Whether the text would be read as one if it had no quotes."""
    try:
        return plain_value(value) == value
    except ValueError:
        return False


_Dumper.add_representer(str, _text)


@dataclass(slots=True)
class _Part:
    """A field of the graph, a node or an edge: its text, where it began in the old text, and its comments."""

    text: str
    indent: int
    start: tuple[int, int] | None
    """Line and column; None for what the old text does not have."""
    listed: bool = False
    only_key: bool = False
    """Its content is other parts."""
    comments: list[str] = field(default_factory=list)

    def holds(self, comment: Comment) -> bool:
        """Whether a comment behind the part's beginning is inside of it: it stands further to the right."""
        column = self.start[1] if self.start else 0
        if self.only_key:
            return not comment.alone
        return not comment.alone or comment.column > column or (self.listed and comment.column == column)

    def lines(self) -> Iterator[str]:
        yield from (f"{' ' * self.indent}# {comment}".rstrip() for comment in self.comments)
        yield from (f"{' ' * self.indent}{line}".rstrip() for line in self.text.rstrip("\n").split("\n"))


def written(source: Source, notes: Iterable[tuple[int, str]] = ()) -> str:
    """The YAML text of `source.value`, which is a graph. `notes` become comments, by their lines in the old text."""
    value = source.value
    if not isinstance(value, dict):
        raise TypeError("a graph is a mapping")
    parts = list(_parts(source, value))
    head, tail = _distributed(parts, comments_of(source))
    placed = sorted((part for part in parts if part.start), key=lambda part: part.start or _END)
    for line, note in notes:
        before = [part for part in placed if part.start and part.start[0] <= line]
        (before[-1].comments if before else head).append(note)
    lines = [f"# {comment}".rstrip() for comment in head]
    lines += [line for part in parts for line in part.lines()]
    return "\n".join([*lines, *(f"# {comment}".rstrip() for comment in tail)]) + "\n"


def _parts(source: Source, graph: Mapping[str, Json]) -> Iterator[_Part]:
    for key in sorted(graph, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER)):
        inner, start = graph[key], _start(source, (key,))
        if key == "nodes" and isinstance(inner, dict) and inner:
            yield _Part("nodes:", 0, start, only_key=True)
            for name, node in inner.items():
                listed = isinstance(_origin_step(source, ("nodes", name)), int)
                yield _Part(_yaml({name: _type_first(node)}), 2, _start(source, ("nodes", name)), listed)
        elif key == "edges" and isinstance(inner, list) and inner:
            yield _Part("edges:", 0, start, only_key=True)
            for index, edge in enumerate(inner):
                text = yaml.dump(edge, Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=1 << 30)
                yield _Part(f"- {text}", 2, _start(source, ("edges", index)), listed=True)
        else:
            yield _Part(_yaml({key: inner}), 0, start)


def _distributed(parts: list[_Part], comments: Iterable[Comment]) -> tuple[list[str], list[str]]:
    """Give each comment to its part; the others are those before all parts, and those behind them."""
    placed = sorted((part for part in parts if part.start), key=lambda part: part.start or _END)
    lines = [part.start[0] for part in placed if part.start]
    head: list[str] = []
    tail: list[str] = []
    for comment in comments:
        at = bisect_right(lines, comment.line)
        if at and placed[at - 1].holds(comment):
            placed[at - 1].comments.append(comment.text)
        elif not at:
            head.append(comment.text)
        else:
            (placed[at].comments if at < len(placed) else tail).append(comment.text)
    return head, tail


def _start(source: Source, path: Pointer) -> tuple[int, int] | None:
    place = source.written_at(path)
    return None if place is None else (place.line, place.column)


def _origin_step(source: Source, path: Pointer) -> str | int:
    return source.moved.get(path, path)[-1]


def _type_first(node: Json) -> Json:
    return {"type": node["type"], **node} if isinstance(node, dict) and "type" in node else node


def _yaml(value: Json) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return text
