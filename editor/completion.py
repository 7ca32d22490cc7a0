"""What may be written at a place: fields, values, node types, ids, keys, names and functions of expressions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from anabranch.context.values import format_path
from anabranch.editor import words
from anabranch.editor.document import Document, Here
from anabranch.editor.evaluated import Written, functions_for, parts_of, written
from anabranch.editor.project import Project
from anabranch.graph import node_types
from anabranch.graph.fields import Model
from anabranch.graph.model import BaseNode, Body, GraphNode, PythonNode
from anabranch.graph.parts import Edge, Rule
from anabranch.graph.policies import ContextSpec, Fallback

MOST: Final = 150
"""Proposals that are made at once. Where there are more, the editor asks again when more is typed."""
_WORD: Final = re.compile(r"[\w$~-]*(?:\.[\w$~-]+)*\.?$")
_HAS_COLON: Final = re.compile(r"[\w.$~-]*[\"']?\s*:(?:\s|$)")
_BY_KEY: Final[tuple[tuple[type[Model], str], ...]] = (
    *((Rule, attribute) for attribute in ("then", "append", "otherwise")),
    (BaseNode, "output"),
    (ContextSpec, "merge"),
    (Fallback, "use"),
)
"""Fields that are mappings by the keys of the context."""
Sort = Literal["field", "value", "type", "node", "graph", "handler", "definition", "key", "name", "function"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """One thing that may be written there: `insert` takes the place of the last `replaced` characters."""

    label: str
    sort: Sort
    replaced: int
    insert: str
    detail: str = ""
    text: str = ""
    """What it is, as Markdown."""


def proposals(document: Document, project: Project, line: int, column: int) -> list[Proposal]:
    """What may be written before a character, the likeliest first."""
    if (here := document.here(line, column)) is None:
        return []
    if (name := written(here)) is not None and not (here.cursor.is_key and here.cursor.text == "" and _is_field(here)):
        head = document.lines[line][:column]
        if here.cursor.is_key:
            name = Written((), _last_word(head), is_member=False)
        return _likely(_evaluated(document, here, name), name.word)
    head, tail = document.lines[line][:column], document.lines[line][column:]
    word = _last_word(head)
    return _likely(_Plain(document, project, here, len(word), is_named=bool(_HAS_COLON.match(tail))).all(), word)


def _likely(found: Iterable[Proposal], word: str) -> list[Proposal]:
    """Those that begin with what is written already, or where none does, all of them; MOST and one at most."""
    every = list(found)
    begun = [each for each in every if each.label.casefold().startswith(word.casefold())]
    return (begun or every)[: MOST + 1]


def _is_field(here: Here) -> bool:
    return any(True for _ in here.shape.fields())


def _last_word(head: str) -> str:
    found = _WORD.search(head)
    return "" if found is None else found[0].lstrip("-") if found[0].startswith("-") else found[0]


def _evaluated(document: Document, here: Here, name: Written) -> Iterator[Proposal]:
    count, outline = len(name.word), document.outline
    for label, path in parts_of(name, outline).items():
        key = outline.keys.get(path)
        yield Proposal(label, "key", count, label, "key", "" if key is None else words.of_key(key, outline))
    if not name.is_member and here.spot is not None:
        for each in here.spot.names:
            yield Proposal(each, "name", count, each, "name", words.of_name(each))
    for label, function in functions_for(name):
        yield Proposal(label, "function", count, label, function.forms[0], words.of_function(function))


@dataclass(frozen=True, slots=True)
class _Plain:
    """Proposals where nothing is evaluated."""

    document: Document
    project: Project
    here: Here
    replaced: int
    is_named: bool
    """Whether a colon follows already."""

    def all(self) -> Iterator[Proposal]:
        """Keys where one may stand, and values."""
        if self.here.cursor.is_key:
            yield from self._fields()
            if self._is_by_key():
                yield from self._keys(": " if not self.is_named else "")
        if not self.here.cursor.is_key or not _is_field(self.here):
            yield from self._values()

    def _fields(self) -> Iterator[Proposal]:
        behind = "" if self.is_named else ": "
        order = sorted(self.here.shape.fields(), key=lambda field: field.attribute in BaseNode.model_fields)
        order.sort(key=lambda field: field.attribute != "type")
        for field in order:
            if field.name not in self.here.cursor.given:
                detail = "" if field.info.is_required() else "optional"
                yield Proposal(field.name, "field", self.replaced, field.name + behind, detail, field.text)

    def _is_by_key(self) -> bool:
        """Whether the keys of a mapping are those of the context."""
        field, depth = self.here.shape.field, self.here.shape.depth
        return field is not None and depth == 0 and any(field.is_of(*each) for each in _BY_KEY)

    def _keys(self, behind: str) -> Iterator[Proposal]:
        outline = self.document.outline
        for path, key in outline.keys.items():
            label = format_path(path)
            if label not in self.here.cursor.given:
                yield Proposal(label, "key", self.replaced, label + behind, "key", words.of_key(key, outline))

    def _values(self) -> Iterator[Proposal]:
        shape, field = self.here.shape, self.here.shape.field
        if field is None:
            return
        if field.is_of(BaseNode, "type") and shape.depth == 0:
            for name in node_types.names():
                yield Proposal(name, "type", self.replaced, name, "node type", words.of_type(name))
            return
        for value in shape.values():
            yield Proposal(value, "value", self.replaced, value, field.name, field.text)
        if (group := shape.definitions()) is not None and shape.depth == 0:
            yield from self._definitions(group)
        if field.is_of(Edge, "source") or field.is_of(Edge, "target"):
            yield from self._nodes()
        elif field.is_of(GraphNode, "graph") or field.is_of(GraphNode, "one_of") or field.is_of(Body, "graph"):
            yield from self._graphs()
        elif field.is_of(PythonNode, "handler"):
            yield from self._handlers()
        elif field.is_of(BaseNode, "reads"):
            yield from (each for each in self._keys("") if "." not in each.label)

    def _definitions(self, group: str) -> Iterator[Proposal]:
        known = self.document.outline.at(("definitions", group))
        for name in known if isinstance(known, dict) else ():
            yield Proposal(name, "definition", self.replaced, name, f"definitions.{group}")

    def _nodes(self) -> Iterator[Proposal]:
        """The nodes of the level that an edge is on."""
        outline, level = self.document.outline, self.here.cursor.path[:-3]
        nodes = outline.at((*level, "nodes"))
        for name in nodes if isinstance(nodes, dict) else ():
            text = words.of_node((*level, "nodes", name), outline)
            yield Proposal(name, "node", self.replaced, name, "node", text)

    def _graphs(self) -> Iterator[Proposal]:
        for name, file in self.project.graphs(self.document.path).items():
            if file != self.document.path:
                yield Proposal(name, "graph", self.replaced, name, file.name)

    def _handlers(self) -> Iterator[Proposal]:
        for name in sorted(self.project.handlers()):
            handler = self.project.handler(name)
            yield Proposal(name, "handler", self.replaced, name, "handler", "" if handler is None else handler.text)
