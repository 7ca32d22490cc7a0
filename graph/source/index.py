"""Which file of a folder has which graph: an index by name, for which a file is read only after it has changed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG
from threading import Lock
from typing import TypeAlias

from anabranch.errors import GraphError, Problem
from anabranch.graph.source.attachments import beginning_of, read_text
from anabranch.graph.source.heading import heading_of
from anabranch.graph.source.yaml_source import read_yaml

Stamp: TypeAlias = tuple[int, int, int]
"""Of a file: when it was changed, its size, its number."""

MAX_FOLDERS = 1000
"""How many folders are looked into. More is a folder that was meant for something else."""
_SUFFIXES = (".yaml", ".yml")
_TESTS = (".test.yaml", ".test.yml")

_NAME = re.compile(
    r"^[\"']?name[\"']?[ \t]*:[ \t]*[\"']?([A-Za-z_][A-Za-z0-9_.\-]*)[\"']?[ \t]*(?:#.*)?$", re.MULTILINE
)
_NODES = re.compile(r"^[\"']?nodes[\"']?[ \t]*:", re.MULTILINE)


class FolderIndex:
    """The names of the graphs of one folder, and of those below it unless `below` is false. Threads may share it."""

    def __init__(self, folder: Path, *, below: bool = True) -> None:
        self.folder = folder
        self._below = below
        self._known: dict[Path, tuple[Stamp, str | None]] = {}
        self._turn = Lock()

    def names(self) -> dict[Path, str]:
        """The names by file, as the files are now; those of files that cannot be read are left out.

        Raises GraphError if there is no folder, or more than MAX_FOLDERS below it.
        """
        with self._turn:
            self._known = {
                path: self._entry(path, stamp)
                for path in graph_files(self.folder, below=self._below)
                if (stamp := stamp_of(path)) is not None
            }
            return {path: name for path, (_, name) in self._known.items() if name is not None}

    def _entry(self, path: Path, stamp: Stamp) -> tuple[Stamp, str | None]:
        known = self._known.get(path)
        return known if known is not None and known[0] == stamp else (stamp, _name_in(path))


def graph_files(folder: Path, *, below: bool = True) -> list[Path]:
    """The YAML files of a folder and of those below it, among which a graph is looked for; tests of graphs are not.

    Hidden folders are left out, and with them the `..data` of a mounted ConfigMap, where each file is a second time.
    Raises GraphError if there is no folder, or more than MAX_FOLDERS below it.
    """
    if not folder.is_dir():
        raise GraphError((Problem("FILE_UNREADABLE", f"the folder {str(folder)!r} does not exist"),))
    found: list[Path] = []
    for looked, (place, files) in enumerate(_folders(folder), start=1):
        if looked > MAX_FOLDERS:
            message = f"the folder {str(folder)!r} has more than {MAX_FOLDERS} folders below it"
            raise GraphError((Problem("FOLDER_TOO_LARGE", message, suggestion="name the folder that has the graphs"),))
        found += [place / name for name in files if name.endswith(_SUFFIXES) and not name.endswith(_TESTS)]
        if not below:
            break
    return sorted(found)


def _folders(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder and those below it, with the names of their files; each once, though a link may lead in a circle."""
    seen: set[str] = set()
    for place, below, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = [name for name in below if not name.startswith(".")]
        yield Path(place), files


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
    except GraphError:
        return _name_said(beginning_of(path), str(path))
    if match := _NAME.search(text):
        return match[1]
    try:
        value = read_yaml(text, str(path)).value
    except GraphError:
        return None
    name = {**heading_of(value, str(path)), **value}.get("name") if isinstance(value, dict) else None
    return name if isinstance(name, str) else None


def _name_said(beginning: str, file: str) -> str | None:
    """The name of a graph that cannot be read: who asks for it is told why, and not that there is none."""
    if _NODES.search(beginning) is None:
        return None
    match = _NAME.search(beginning)
    return match[1] if match else heading_of({"nodes": {}}, file).get("name")
