"""The graphs of one folder, by name or by file; nothing outside of the folder is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anabranch.errors import GraphError, InputError, Problem
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.load import LoadedGraph, find_graph, load_as, load_each, load_graph
from anabranch.graph.source.index import FolderIndex
from anabranch.graph.source.problems import did_you_mean
from anabranch.preflight.handlers import handler_warnings

_SUFFIXES = (".yaml", ".yml")


class GraphLibrary:
    """A folder of graphs, as it is whenever it is asked. `imports` are modules with handlers."""

    def __init__(self, folder: Path, imports: Sequence[str] = ()) -> None:
        self.folder = folder.resolve()
        self._imports = tuple(imports)
        self._index = FolderIndex(self.folder)

    def load(self, graph: str) -> LoadedGraph:
        """The graph of a name, or of a file below the folder. Raises GraphError, InputError."""
        if graph.endswith(_SUFFIXES):
            return load_graph(self.file(graph))
        return find_graph(self._index, graph)

    def file(self, name: str) -> Path:
        """A file below the folder, links followed. Raises InputError for one outside of it."""
        try:
            path = (self.folder / name).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError("this is not the path of a file", place=name[:128]) from error
        if not path.is_relative_to(self.folder):
            raise InputError(
                "the file is outside of the graphs folder", place=name[:128], suggestion="name a file below the folder"
            )
        return path

    def problems(self, graph: str) -> tuple[Problem, ...]:
        """Everything that `validate` says of a graph."""
        return self._judged(lambda: self.load(graph))

    def problems_of_text(self, text: str, file: str) -> tuple[Problem, ...]:
        """Everything that `validate` would say if the file had this text. Nothing is written."""
        path = self.file(file)
        return self._judged(lambda: load_as(text, path))

    def _judged(self, load: Any) -> tuple[Problem, ...]:
        try:
            loaded: LoadedGraph = load()
        except GraphError as error:
            return error.problems
        return (*loaded.warnings, *handler_warnings(loaded, self._imports))

    def listed(self) -> list[dict[str, Any]]:
        """Each graph of the folder: its name, its file, what it needs; of a broken one its problems."""
        found: list[dict[str, Any]] = []
        for each in load_each(self.folder):
            if isinstance(each, GraphError):
                found.append({"problems": [problem_object(problem, self.folder) for problem in each.problems[:3]]})
                continue
            graph = each.graph
            found.append(
                {
                    "name": graph.name,
                    "file": self.relative(each.source.file),
                    "version": graph.version,
                    "description": graph.description,
                    "nodes": len(graph.nodes),
                    "inputs": sorted(graph_inputs(graph, each.graphs)),
                    "warnings": len(each.warnings),
                }
            )
        return found

    def relative(self, file: str) -> str:
        """A file's path below the folder."""
        path = Path(file)
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.name

    def known(self, graph: str) -> str | None:
        """A suggestion where a name is not known."""
        return did_you_mean(graph, self._index.names().values())


def problem_object(problem: Problem, folder: Path) -> dict[str, Any]:
    """A problem as JSON. Its file is named below the folder."""
    told: dict[str, Any] = {
        "code": problem.code,
        "level": "warning" if problem.warning else "error",
        "message": problem.message.replace(f"{folder}/", ""),
    }
    if problem.place is not None:
        file = Path(problem.place.file)
        told["file"] = file.relative_to(folder).as_posix() if file.is_relative_to(folder) else problem.place.file
        told |= {"line": problem.place.line, "column": problem.place.column}
    return told | ({} if problem.suggestion is None else {"suggestion": problem.suggestion})
