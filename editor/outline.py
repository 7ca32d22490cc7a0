"""What a graph's text says as far as it can be read: its nodes with their places, its keys and who writes them.

Each node and each edge is read by itself, and what was read is kept by its text: a broken one hides only itself, and a
change is as quick in a large graph as in a small one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Final

from pydantic import ValidationError

from anabranch.context.values import Json, Path, parse_path
from anabranch.editor.parts import KEPT, MOST_PARTS, Part, name_of, parts_of, read, says_nothing, sections_of
from anabranch.editor.shape import model_of
from anabranch.errors import AnabranchError
from anabranch.graph.dataflow.reads import node_needs, node_paths
from anabranch.graph.kinds.kinds import has_body, loop_of
from anabranch.graph.model import BaseNode
from anabranch.graph.source.yaml_source import MAX_BYTES, Pointer, value_at

_BODIES: Final = ("body", "finally")
_OF_PLACES: Final = ("error", "errors", "index", "turn", "outcome")
"""Names that have a meaning of their own in bodies, compensations and at the end."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the text, from one line and column to another, counted from 0; columns in characters."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the context, or a part of it."""

    path: Path
    writers: tuple[Pointer, ...] = ()
    readers: tuple[Pointer, ...] = ()
    schema: Mapping[str, Json] | None = None
    """What `inputs`, or the schema of the context, say of it."""
    is_input: bool = False
    """Whether `inputs` declares it."""


@dataclass(frozen=True)
class Outline:
    """A graph's text as far as it can be read."""

    lines: Sequence[str]
    value: dict[str, Json] = field(default_factory=dict)
    parts: Mapping[Pointer, Part] = field(default_factory=dict)
    sections: Mapping[str, int] = field(default_factory=dict)
    """The line of each field of the graph."""
    is_whole: bool = False
    """Whether the parts are all that there is, each of them of a usual form."""

    def at(self, path: Pointer) -> Json:
        """The value at a path; None where there is none."""
        return value_at(self.value, path)

    def span(self, path: Pointer, *, key: bool = True) -> Span | None:
        """Where a value is, with its key or without; None where the text does not have it."""
        for length in range(len(path), 0, -1):
            if (part := self.parts.get(path[:length])) is not None:
                return _span(part, path[length:], key=key)
        return None

    def nodes(self) -> Iterator[tuple[Pointer, dict[str, Json]]]:
        """Every node with its path, those of bodies and compensations too; each behind the one around it."""
        yield from _nodes(self.value, ())
        if isinstance(last := self.value.get("finally"), dict):
            yield from _nodes(last, ("finally",))

    @cached_property
    def keys(self) -> dict[Path, Key]:
        """The keys of the context and the parts that nodes write, by path."""
        written, read = dict[Path, list[Pointer]](), dict[Path, list[Pointer]]()
        for path, node in self.nodes():
            facts = _facts(path, node)
            for each in facts.writes or ():
                written.setdefault(each, []).append(path)
            around = self._names_around(path)
            for each in facts.reads:
                if each[0] not in around:
                    read.setdefault(each, []).append(path)
        inputs, properties = _mapping(self.value.get("inputs")), _properties(self.value)
        declared: dict[Path, dict[str, Json]] = {
            (name,): _mapping(schema) for name, schema in (properties | inputs).items()
        }
        return {
            path: Key(
                path,
                tuple(written.get(path, ())),
                tuple(read.get(path, ())),
                declared.get(path),
                path[0] in inputs,
            )
            for path in sorted({*written, *read, *declared})
        }

    @cached_property
    def of_nodes(self) -> dict[Pointer, tuple[list[Path], list[Path]]]:
        """What each node writes and reads."""
        found: dict[Pointer, tuple[list[Path], list[Path]]] = {}
        for key in self.keys.values():
            for column, nodes in enumerate((key.writers, key.readers)):
                for node in nodes:
                    found.setdefault(node, ([], []))[column].append(key.path)
        return found

    @cached_property
    def may_write_any(self) -> tuple[Pointer, ...]:
        """The nodes that may write any key."""
        return tuple(path for path, node in self.nodes() if _facts(path, node).writes is None)

    def _names_around(self, path: Pointer) -> frozenset[str]:
        """The names that loops, failures and ends around a node give."""
        names = set[str](_OF_PLACES) if len(path) > len(("nodes", "id")) else set[str]()
        for length in range(2, len(path)):
            if isinstance(found := self.at(path[:length]), dict) and found.get("type") == "foreach":
                names.add(loop_variable(found))
        return frozenset(names)


def loop_variable(foreach: Mapping[str, Json]) -> str:
    """What the body of a `foreach` calls its item, or the items of its batch."""
    return str(foreach.get("as") or ("items" if "batch" in foreach else "item"))


@dataclass(frozen=True, slots=True)
class _Facts:
    """What one node reads and writes, apart from those inside of it."""

    writes: frozenset[Path] | None = frozenset()
    """None for what may be any: its code says it, or another graph."""
    reads: frozenset[Path] = frozenset()


def outline(text: str) -> Outline:
    """What a text says. A text that is no block of YAML, or whose blocks are not indented as usual, is read whole."""
    lines = text.split("\n")
    if len(text) > MAX_BYTES:
        return Outline(lines)
    sections = list(sections_of(lines))
    found = list(islice((part for section in sections for part in parts_of(lines, *section)), MOST_PARTS))
    parts = [part for part in found if part is not None]
    if not parts and (source := read(text)) is not None and isinstance(source.value, dict):
        parts = [Part((key,), 0, source, (key,)) for key in source.value]
    value: dict[str, Json] = {}
    for part in parts:
        _put(value, part.path, value_at(part.source.value, part.within))
    by_path = {part.path: part for part in parts}
    starts = {name_of(head): first for head, first, _ in sections}
    before = lines[: sections[0][1]] if sections else lines
    is_whole = 0 < len(by_path) == len(found) < MOST_PARTS and len(starts) == len(sections)
    return Outline(lines, value, by_path, starts, is_whole and all(map(says_nothing, before)))


def _put(value: dict[str, Json], path: Pointer, part: Json) -> None:
    """Put a part where it belongs. A list gets its items in order, those that cannot be read as None."""
    *above, last = path
    if not above:
        # What follows may be put into it, and the part is kept as it was read.
        value[str(last)] = copy(part) if isinstance(part, dict | list) else part
    elif isinstance(last, str):
        _mapping_in(value, str(above[0]))[last] = part
    else:
        items = value.setdefault(str(above[0]), [])
        if isinstance(items, list):
            items += [None] * (last - len(items)) + [part]


def _mapping_in(value: dict[str, Json], key: str) -> dict[str, Json]:
    found = value.get(key)
    if not isinstance(found, dict):
        found = value[key] = {}
    return found


def _span(part: Part, rest: Pointer, *, key: bool) -> Span | None:
    found = part.source.spans.get((*part.within, *rest))
    if found is None:
        return None
    start = found.key if key and found.key is not None else found.start
    return Span(start.line + part.line, start.column, found.end.line + part.line, found.end.column)


def _nodes(body: Mapping[str, Json], path: Pointer) -> Iterator[tuple[Pointer, dict[str, Json]]]:
    for key, node in _mapping(body.get("nodes")).items():
        if isinstance(node, dict):
            yield from _node((*path, "nodes", key), node)


def _node(path: Pointer, node: dict[str, Json]) -> Iterator[tuple[Pointer, dict[str, Json]]]:
    yield path, node
    if isinstance(undo := node.get("compensate"), dict):
        yield from _node((*path, "compensate"), undo)
    for notice in ("remind", "escalate"):
        if isinstance(told := _mapping(node.get(notice)).get("node"), dict):
            yield from _node((*path, notice, "node"), told)
    yield from _nodes(node, path)
    for name, tool in _mapping(node.get("tools")).items():
        if isinstance(called := _mapping(tool).get("node"), dict):
            yield from _node((*path, "tools", name, "node"), called)
    for inner in _BODIES:
        if isinstance(body := node.get(inner), dict):
            yield from _nodes(body, (*path, inner))


_known_facts: dict[int, tuple[dict[str, Json], _Facts]] = {}


def _facts(path: Pointer, value: dict[str, Json]) -> _Facts:
    """What a node reads and writes, kept as long as its text is."""
    known = _known_facts.get(id(value))
    if known is not None and known[0] is value:
        return known[1]
    if len(_known_facts) >= KEPT:
        _known_facts.clear()
    facts = _found_out(path, value)
    _known_facts[id(value)] = (value, facts)
    return facts


def _found_out(path: Pointer, value: dict[str, Json]) -> _Facts:
    if (node := _model(value)) is None:
        return _Facts(_said(value))
    try:
        reads = node_needs(node)
    except AnabranchError:
        reads = frozenset()
    try:
        return _Facts(_own_writes(path, node), reads)
    except AnabranchError:
        return _Facts(_said(value), reads)


def _model(value: dict[str, Json]) -> BaseNode | None:
    """A node as its model, without the fields that are wrong, or hold the name of a definition."""
    name = value.get("type")
    model = model_of(name if isinstance(name, str) else None)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        wrong = {each["loc"][0] for each in error.errors(include_url=False, include_input=False) if each["loc"]}
    try:
        return model.model_validate({key: each for key, each in value.items() if key not in wrong or key == "type"})
    except ValidationError:
        return None


def _own_writes(path: Pointer, node: BaseNode) -> frozenset[Path] | None:
    """What a node itself writes, without those inside of it."""
    loop = loop_of(node)
    if node.output is None and has_body(node) and not (loop is not None and loop.keeps_writes):
        lists = () if loop is None else (loop.collects, loop.lists_failed)
        written = frozenset(parse_path(text) for text in lists if text is not None)
        return None if loop is None or (loop.body.graph is not None and not written) else written
    if path[-2:] in (("remind", "node"), ("escalate", "node")):
        return frozenset()
    if path[-1] == "compensate" and node.output is None and node.type != "rule":
        return frozenset()
    return node_paths(str(path[-1]), node)


def _said(value: Mapping[str, Json]) -> frozenset[Path]:
    """The keys that a node which is not whole says that it writes."""
    named = [*_mapping(value.get("output"))]
    rules = value.get("rules")
    for rule in rules if isinstance(rules, list) else ():
        if isinstance(rule, dict):
            named += [key for each in ("then", "otherwise", "append") for key in _mapping(rule.get(each))]
    return frozenset((name.partition(".")[0],) for name in named)


def _properties(graph: Mapping[str, Json]) -> dict[str, Json]:
    return _mapping(_mapping(_mapping(graph.get("context")).get("schema")).get("properties"))


def _mapping(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}
