"""The graphs of a folder as its files are now: a graph that is right, or what is wrong with its file."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from anabranch.console.refusal import Refused
from anabranch.errors import AnabranchError, GraphError, Problem
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.load import LoadedGraph, load_each
from anabranch.graph.plan import Plan, plan_graph
from anabranch.graph.source.attachments import read_text
from anabranch.graph.source.index import graph_files, stamp_of

_Stamps: TypeAlias = Mapping[Path, object]


@dataclass(frozen=True, slots=True)
class Shelved:
    """One file. `loaded` and `plan` are None where it has errors."""

    name: str
    """The graph's name; of a file with errors, the file's path in the folder."""
    file: Path
    text: str
    problems: tuple[Problem, ...]
    loaded: LoadedGraph | None = None
    plan: Plan | None = None

    @property
    def inputs(self) -> dict[str, Any]:
        """What a run is started with, as the JSON Schema of an object.

        A key that no schema describes takes any JSON.
        """
        if self.loaded is None:
            return {"type": "object"}
        graph = self.loaded.graph
        described = graph.inputs if graph.inputs is not None else _properties(graph.context.schema_ or {})
        needed = sorted(graph_inputs(graph, self.loaded.graphs))
        names = list(dict.fromkeys([*(graph.inputs or ()), *needed]))
        return {
            "type": "object",
            "properties": {name: described.get(name, {}) for name in names},
            "required": needed,
        }


class Shelf:
    """Knows the graphs of a folder. A folder whose files are as they were is not read again."""

    def __init__(self, folder: Path, *, below: bool) -> None:
        self._folder = folder
        self._below = below
        self._stamps: _Stamps | None = None
        self._known: tuple[Shelved, ...] = ()
        self._turn = threading.Lock()

    async def all(self) -> Sequence[Shelved]:
        """Every file of the folder, by name; none where there is no folder. Raises GraphError for a too large one."""
        return await asyncio.to_thread(self._all)

    async def named(self, name: str) -> Shelved:
        """The graph of this name, or the file of this path. Raises Refused."""
        for each in await self.all():
            if each.name == name:
                return each
        raise Refused(404, "GRAPH_UNKNOWN", f"no file has the graph {name!r:.200}", place=str(self._folder))

    def _all(self) -> Sequence[Shelved]:
        if not self._folder.is_dir():
            return ()
        with self._turn:
            files = graph_files(self._folder, below=self._below)
            stamps = {path: stamp_of(path) for path in {*files, *self._attached()}}
            if stamps != self._stamps:
                self._known = tuple(sorted(self._loaded(), key=lambda each: each.name))
                self._stamps = {path: stamp_of(path) for path in {*files, *self._attached()}}
            return self._known

    def _attached(self) -> set[Path]:
        """The files that nodes name, whose change is one of their graph."""
        return {path for each in self._known if each.loaded is not None for path in each.loaded.files}

    def _loaded(self) -> list[Shelved]:
        return [self._shelved(each) for each in load_each(self._folder, below=self._below)]

    def _shelved(self, found: LoadedGraph | GraphError) -> Shelved:
        if isinstance(found, GraphError):
            file = Path(next((each.place.file for each in found.problems if each.place is not None), ""))
            return Shelved(self._relative(file), file, _text(file), found.problems)
        graph, source = found.graph, found.source
        plan = plan_graph(graph, found.graphs)
        return Shelved(graph.name, Path(source.file), source.text, found.warnings, found, plan)

    def _relative(self, file: Path) -> str:
        return str(file.relative_to(self._folder)) if file.is_relative_to(self._folder) else file.name


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found = schema.get("properties", {})
    return found if isinstance(found, dict) else {}


def _text(file: Path) -> str:
    try:
        return read_text(file, str(file))
    except AnabranchError:
        return ""
