"""Which file of a folder has which graph: an index by name, for which a file is read only after it has changed."""

from __future__ import annotations

import re
from pathlib import Path
from stat import S_ISREG
from threading import Lock
from typing import TypeAlias

from anabranch.errors import GraphError, Problem
from anabranch.graph.source.attachments import read_text
from anabranch.graph.source.rust_logic_graph import normalise
from anabranch.graph.source.yaml_source import read_yaml

Stamp: TypeAlias = tuple[int, int, int]
"""Of a file: when it was changed, its size, its number."""

_NAME = re.compile(
    r"^[\"']?name[\"']?[ \t]*:[ \t]*[\"']?([A-Za-z_][A-Za-z0-9_.\-]*)[\"']?[ \t]*(?:#.*)?$", re.MULTILINE
)


class FolderIndex:
    """The names of the graphs of one folder. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[Path, tuple[Stamp, str | None]] = {}
        self._turn = Lock()

    def names(self) -> dict[Path, str]:
        """The names by file, as the files are now; those of files that cannot be read are left out.

        Raises GraphError if there is no folder.
        """
        with self._turn:
            self._known = {path: self._entry(path, stamp) for path, stamp in _stamps(self.folder).items()}
            return {path: name for path, (_, name) in self._known.items() if name is not None}

    def _entry(self, path: Path, stamp: Stamp) -> tuple[Stamp, str | None]:
        known = self._known.get(path)
        return known if known is not None and known[0] == stamp else (stamp, _name_in(path))


def graph_files(folder: Path) -> list[Path]:
    """The YAML files of a folder, among which a graph is looked for. Raises GraphError if there is no folder."""
    return list(_stamps(folder))


def _stamps(folder: Path) -> dict[Path, Stamp]:
    if not folder.is_dir():
        raise GraphError((Problem("FILE_UNREADABLE", f"the folder {str(folder)!r} does not exist"),))
    found = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    return {path: stamp for path in found if (stamp := stamp_of(path)) is not None}


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of a regular file, None if there is none: an editor may move it away for a moment."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino) if S_ISREG(stat.st_mode) else None


def _name_in(path: Path) -> str | None:
    """The name of the graph in a file, read cheaply if it is written in the usual way."""
    try:
        text = read_text(path, str(path))
        if match := _NAME.search(text):
            return match[1]
        value = normalise(read_yaml(text, str(path)))[0].value
    except GraphError:
        return None
    name = value.get("name") if isinstance(value, dict) else None
    return name if isinstance(name, str) else None
