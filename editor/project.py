"""What a graph may name that is not in its file: other graphs of the folder, and the handlers of imported modules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anabranch.activities.python import known_handlers, registered_handlers
from anabranch.errors import AnabranchError, GraphError, Problem
from anabranch.graph.known_nodes import KnownNodes
from anabranch.graph.load import load_source
from anabranch.graph.source.index import FolderIndex
from anabranch.graph.source.yaml_source import Source
from anabranch.imports import import_own
from anabranch.preflight.handlers import handler_warnings


@dataclass(frozen=True, slots=True)
class Handler:
    """The function of a handler: what it says of itself, and where it is."""

    text: str
    file: Path | None
    line: int


class Project:
    """What is around the graphs that are open. `imports` are modules with handlers; what they raise is raised here."""

    def __init__(self, imports: Sequence[str] = ()) -> None:
        import_own(imports)
        self._imports = tuple(imports)
        self._known = KnownNodes()
        self._folders: dict[Path, FolderIndex] = {}

    def problems(self, read: Callable[[], Source], path: Path | None) -> Sequence[Problem]:
        """Everything that `validate` would say if the file had the text that is `read`. Without a file, what it can."""
        try:
            loaded = load_source(read(), path, self._known)
        except GraphError as error:
            return error.problems
        return (*loaded.warnings, *handler_warnings(loaded, self._imports))

    def graphs(self, path: Path | None) -> Mapping[str, Path]:
        """The files of the graphs that a graph of the file `path` may name, by their names."""
        if path is None:
            return {}
        index = self._folders.setdefault(path.parent, FolderIndex(path.parent, below=False))
        try:
            return {name: file for file, name in index.names().items()}
        except AnabranchError:
            return {}

    def handlers(self) -> frozenset[str]:
        """The names of the handlers that are known here."""
        return known_handlers()

    def handler(self, name: str) -> Handler | None:
        """A handler that an imported module has registered."""
        if (function := registered_handlers().get(name)) is None:
            return None
        plain = inspect.unwrap(function)
        try:
            file, line = inspect.getsourcefile(plain), inspect.getsourcelines(plain)[1] - 1
        except (OSError, TypeError):
            file, line = None, 0
        return Handler(inspect.getdoc(plain) or "", None if file is None else Path(file), line)
