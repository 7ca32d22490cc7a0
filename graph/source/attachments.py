"""Files that a graph's nodes name, read on load.

Of a `rule` node these are `grl: rules.grl` or `rules.drl`, and `decision_table: table.json`; of a `grpc` node
`descriptor: shop.binpb`, which is read as Base64. They are looked for beside the YAML file and never outside of its
folder, so that a graph cannot read the disk.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG

from anabranch.context.values import Json
from anabranch.errors import GraphError, Problem
from anabranch.graph.source.yaml_source import MAX_BYTES, Pointer, Source, read_yaml

MAX_TOTAL_BYTES = 1024 * 1024
_BINARY = (".binpb", ".pb", ".protoset")
_SUFFIXES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "rule": {"grl": (".grl", ".drl"), "decision_table": (".json",)},
    "grpc": {"descriptor": _BINARY},
}


class Attachments:
    """Replaces the names of files by their content; `problems` lists those that cannot be read."""

    def __init__(self, source: Source, folder: Path | None) -> None:
        self.source = source
        self.folder = folder
        self.problems: list[Problem] = []
        self._attached: dict[Pointer, str] = {}
        self._read: dict[str, tuple[Json, int]] = {}
        self._total = 0

    @property
    def files(self) -> frozenset[Path]:
        """The files that were read."""
        return frozenset() if self.folder is None else frozenset(self.folder / name for name in self._read)

    def inlined(self) -> Source:
        """The source with every named file read in."""
        value = self.source.value
        if not isinstance(value, dict):
            return self.source
        found = self._nodes(value, ())
        if isinstance(last := value.get("finally"), dict):
            found["finally"] = self._nodes(last, ("finally",))
        return self.source.with_files(found, self._attached)

    def _nodes(self, body: Mapping[str, Json], path: Pointer) -> dict[str, Json]:
        nodes = body.get("nodes")
        if not isinstance(nodes, dict):
            return dict(body)
        return {**body, "nodes": {key: self._node(node, (*path, "nodes", key)) for key, node in nodes.items()}}

    def _node(self, node: Json, path: Pointer) -> Json:
        if not isinstance(node, dict):
            return node
        found = dict(node)
        node_type = node.get("type")
        for field, suffixes in _SUFFIXES.get(node_type, {}).items() if isinstance(node_type, str) else ():
            if isinstance(name := node.get(field), str) and name.endswith(suffixes) and "\n" not in name:
                found[field] = self._file(name, (*path, field))
        if "compensate" in node:
            found["compensate"] = self._node(node["compensate"], (*path, "compensate"))
        for field in ("remind", "escalate"):
            if node_type == "approval" and isinstance(notice := node.get(field), dict) and "node" in notice:
                found[field] = {**notice, "node": self._node(notice["node"], (*path, field, "node"))}
        if isinstance(body := node.get("body"), dict):
            found["body"] = self._nodes(body, (*path, "body"))
        if node_type != "block":
            return found
        if isinstance(last := node.get("finally"), dict):
            found["finally"] = self._nodes(last, (*path, "finally"))
        return self._nodes(found, path)

    def _file(self, name: str, path: Pointer) -> Json:
        try:
            if name not in self._read:
                self._read[name] = self._content(name)
            self._attached[path] = name
            return self._counted(*self._read[name])
        except GraphError as error:
            here = self.source.place(path)
            self.problems += [replace(problem, place=problem.place or here) for problem in error.problems]
        return {} if path[-1] == "decision_table" else ""

    def _content(self, name: str) -> tuple[Json, int]:
        if name.endswith(_BINARY):
            encoded = base64.b64encode(read_bytes(self._inside(name), name)).decode()
            return encoded, len(encoded)
        text = read_text(self._inside(name), name)
        value: Json = read_yaml(text, name).value if name.endswith(".json") else text
        return value, len(text)

    def _counted(self, value: Json, size: int) -> Json:
        self._total += size
        if self._total > MAX_TOTAL_BYTES:
            message = f"the files that the nodes name are over {MAX_TOTAL_BYTES // 1024} KiB together"
            raise GraphError((Problem("FILES_TOO_LARGE", message),))
        return value

    def _inside(self, name: str) -> Path:
        if self.folder is None:
            raise _refusal(name, "cannot be read: this graph is not in a file", "write its content here")
        try:
            folder = self.folder.resolve()
            path = (folder / name).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise _refusal(name, "has a path that cannot be read") from error
        if not path.is_relative_to(folder):
            raise _refusal(name, "is outside of the graph's folder", "put it beside the YAML file")
        return path


def read_text(path: Path, name: str) -> str:
    """The UTF-8 text of a regular file of at most 256 KiB; otherwise GraphError with the file's `name`."""
    try:
        return read_bytes(path, name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refusal(name, f"is not UTF-8 (byte {error.start + 1})") from error


def read_bytes(path: Path, name: str) -> bytes:
    """The content of a regular file of at most 256 KiB; otherwise GraphError with the file's `name`."""
    try:
        content = _bytes(path)
    except (OSError, ValueError) as error:
        raise _refusal(name, f"cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}") from error
    if content is None:
        raise _refusal(name, "is not a regular file")
    if len(content) > MAX_BYTES:
        raise _refusal(name, f"is larger than {MAX_BYTES // 1024} KiB")
    return content


def beginning_of(path: Path) -> str:
    """The text of the first 256 KiB of a file, whatever its size; nothing where it cannot be read."""
    try:
        return (_bytes(path) or b"")[:MAX_BYTES].decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def _bytes(path: Path) -> bytes | None:
    """At most one byte more than may be read; None for what is not a regular file, or lets who reads it wait.

    It is opened without waiting: a FIFO may have no writer. Some files of /proc are regular by their mode, and have
    nothing to read until something happens.
    """
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(opened, "rb") as stream:
        return stream.read(MAX_BYTES + 1) if S_ISREG(os.fstat(opened).st_mode) else None


def _refusal(name: str, reason: str, suggestion: str | None = None) -> GraphError:
    return GraphError((Problem("FILE_UNREADABLE", f"the file {name!r} {reason}", suggestion=suggestion),))
