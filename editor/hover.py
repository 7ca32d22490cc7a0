"""What stands at a place, in words: a field, a node, a key and who writes it, a function."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from anabranch.editor import words
from anabranch.editor.document import Document, Here
from anabranch.editor.evaluated import function_named, key_path, written
from anabranch.editor.outline import Span
from anabranch.editor.project import Project
from anabranch.editor.shape import shape_at
from anabranch.graph import node_types
from anabranch.graph.model import BaseNode, PythonNode
from anabranch.graph.parts import Edge
from anabranch.graph.source.yaml_source import Pointer

_PLAIN: Final = re.compile(r"[\w$~-]+(?:\.[\w$~-]+)*")
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_COLON: Final = re.compile(r"[\"']?\s*:(?:\s|$)")
MAX_LINE: Final = 4096
"""Longer lines are not looked at."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the text, where it is, and what is there."""

    text: str
    span: Span
    here: Here
    is_key: bool
    """A field, or a key of a mapping; its colon follows."""

    @property
    def path(self) -> Pointer:
        """Of the value that it names, or that it is."""
        return (*self.here.cursor.path, self.text) if self.is_key else self.here.cursor.path


def token_at(document: Document, line: int, column: int) -> Token | None:
    """The word at a place: of an expression its name, elsewhere a whole key or value."""
    if line >= len(document.lines) or len(text := document.lines[line]) > MAX_LINE:
        return None
    for pattern in (_PLAIN, _NAME):
        found = next((each for each in pattern.finditer(text) if each.start() <= column <= each.end()), None)
        if found is None or (here := document.here(line, found.end())) is None:
            continue
        is_key = here.cursor.is_key and _COLON.match(text, found.end()) is not None
        if pattern is _NAME or is_key or written(here) is None:
            return Token(found[0], Span(line, found.start(), line, found.end()), here, is_key)
    return None


def meaning(document: Document, project: Project, line: int, column: int) -> tuple[str, Span] | None:
    """The words, as Markdown, and what they are about; None where there is nothing to say."""
    if (token := token_at(document, line, column)) is None:
        return None
    text = _of_key(document, token) if token.is_key else _of_value(document, project, token)
    return None if not text else (text, token.span)


def _of_key(document: Document, token: Token) -> str:
    shape, outline = shape_at(token.path, token.here.types), document.outline
    if shape.nodes and shape.nodes[-1] == token.path and token.path[-2:-1] == ("nodes",):
        return words.of_node(token.path, outline)
    if shape.field is not None and shape.depth == 0:
        return words.of_field(shape.field, shape)
    key = outline.keys.get(tuple(token.text.split(".")))
    return "" if key is None else words.of_key(key, outline)


def _of_value(document: Document, project: Project, token: Token) -> str:
    here, outline = token.here, document.outline
    if (name := written(here)) is not None:
        if here.spot is not None and not name.holder and name.word in here.spot.names:
            return words.of_name(name.word)
        if (key := outline.keys.get(key_path(name))) is not None:
            return words.of_key(key, outline)
        function = function_named(name)
        return "" if function is None else words.of_function(function)
    field = here.shape.field
    if field is None:
        return ""
    if field.is_of(BaseNode, "type") and token.text in node_types.names():
        return words.of_type(token.text)
    if field.is_of(Edge, "source") or field.is_of(Edge, "target"):
        return words.of_node((*here.cursor.path[:-3], "nodes", token.text), outline)
    if field.is_of(PythonNode, "handler") and (handler := project.handler(token.text)) is not None:
        return handler.text
    return words.of_field(field, here.shape) if token.text in here.shape.values() else ""
