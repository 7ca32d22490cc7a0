"""A graph that is open in an editor: its text, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from anabranch.editor.assembled import assembled
from anabranch.editor.cursor import Cursor, cursor_at
from anabranch.editor.outline import Outline, outline
from anabranch.editor.shape import Shape, shape_at
from anabranch.editor.spot import Spot, spot_at
from anabranch.graph.source.yaml_source import Pointer, Source, read_yaml


@dataclass(frozen=True, slots=True)
class Here:
    """A place in a document, and what the language says of it."""

    cursor: Cursor
    types: Mapping[Pointer, str]
    shape: Shape
    """Of the value at the cursor's path."""
    spot: Spot | None
    """None where nothing is evaluated."""


@dataclass(frozen=True)
class Document:
    """One version of a text. `path` is None where it is in no file."""

    text: str
    path: Path | None = None

    @cached_property
    def lines(self) -> list[str]:
        """Its lines, without their ends."""
        return [line.removesuffix("\r") for line in self.text.split("\n")]

    @cached_property
    def outline(self) -> Outline:
        """What it says, as far as it can be read."""
        return outline("\n".join(self.lines))

    def source(self) -> Source:
        """Its text as YAML: what has changed is read, the rest is known. Raises GraphError for what cannot be read."""
        file = "<inline>" if self.path is None else str(self.path)
        return assembled(self.outline, self.text, file) or read_yaml(self.text, file)

    @property
    def is_graph(self) -> bool:
        """Whether it has nodes, or is meant to."""
        return "nodes" in self.outline.value or any(line.startswith("nodes:") for line in self.lines)

    def here(self, line: int, column: int) -> Here | None:
        """What is at a place, counted from 0; None where nothing can be said of it."""
        cursor = cursor_at(self.lines, line, column)
        return None if cursor is None else self.of_cursor(cursor)

    def of_cursor(self, cursor: Cursor) -> Here:
        """What the language says of a cursor."""
        types = {**self._types(cursor.path), **cursor.types}
        shape = shape_at(cursor.path, types)
        return Here(cursor, types, shape, spot_at(cursor.path, shape, types, self.outline.at))

    def _types(self, path: Pointer) -> dict[Pointer, str]:
        """The types that the outline knows of what is on a path."""
        found: dict[Pointer, str] = {}
        for length in range(len(path) + 1):
            value = self.outline.at(path[:length])
            if isinstance(value, dict) and isinstance(named := value.get("type"), str):
                found[path[:length]] = named
        return found
