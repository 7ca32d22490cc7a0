"""`load_graph`: the definition that a run pins, by name from the worker's folder, or sent inline by the starter.

A file is read anew when it, or any file that a graph may take in, has changed (it is looked at four times a second at
most); runs in flight keep what they pinned.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from temporalio import activity

from activities.failures import as_application_errors
from context.resolution import ConflictResolution
from context.values import Json
from errors import GraphError, InputError, Problem
from graph.load import LoadedGraph, canonical, digest, find_graph, load_text
from graph.model import Graph
from transport.node_io import GraphRequest, PinnedGraph

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,127}", re.ASCII)
_FRESH_SECONDS = 0.25
_SUFFIXES = frozenset({".yaml", ".yml", ".json", ".grl"})
_Signature = tuple[tuple[str, int, int], ...]


class _Found(NamedTuple):
    """A graph, the state of the files that it was made of, and when they were looked at (monotonic seconds)."""

    pinned: PinnedGraph
    signature: _Signature
    looked: float


class GraphLoader:
    """The graphs of one folder. `default` settles conflicts where a graph does not say how; it is pinned with it."""

    def __init__(self, folder: Path, default: ConflictResolution = ConflictResolution.LAST_WRITE_WINS) -> None:
        self._folder = folder
        self._default = default
        self._cache: dict[str, _Found] = {}
        self._inline = lru_cache(maxsize=64)(self._load_inline)

    @activity.defn
    async def load_graph(self, request: GraphRequest) -> PinnedGraph:
        """Find, check and pin a graph; every problem of it is named at once."""
        with as_application_errors():
            found = None if request.name is None or request.inline is not None else self._cache.get(request.name)
            if found is not None and time.monotonic() - found.looked < _FRESH_SECONDS:
                return found.pinned
            return await asyncio.to_thread(self.load, request)

    def load(self, request: GraphRequest) -> PinnedGraph:
        """As `load_graph`, without Temporal. Raises GraphError."""
        if request.inline is not None:
            return self._inline(_text(request.inline), _signature(self._folder))
        if request.name is None:
            raise InputError("the run names no graph", suggestion="start it with a graph's name as the workflow type")
        if not _NAME.fullmatch(request.name):
            raise GraphError((Problem("GRAPH_UNKNOWN", f"{request.name[:128]!r} is not a name that a graph can have"),))
        return self._by_name(request.name)

    def _by_name(self, name: str) -> PinnedGraph:
        looked, signature = time.monotonic(), _signature(self._folder)
        found = self._cache.get(name)
        if found is None or found.signature != signature:
            found = _Found(self._pinned(find_graph(self._folder, name)), signature, looked)
        self._cache[name] = found._replace(looked=looked)
        return found.pinned

    def _load_inline(self, text: str, _signature: _Signature) -> PinnedGraph:
        return self._pinned(load_text(text, resolve=lambda name: find_graph(self._folder, name)))

    def _pinned(self, loaded: LoadedGraph) -> PinnedGraph:
        graph = self._settled(loaded.graph)
        return PinnedGraph(
            name=graph.name,
            digest=digest(graph),
            definition=canonical(graph),
            graphs={name: canonical(self._settled(other)) for name, other in loaded.graphs.items()},
        )

    def _settled(self, graph: Graph) -> Graph:
        if graph.context.conflict_resolution is not None or self._default is ConflictResolution.LAST_WRITE_WINS:
            return graph
        context = graph.context.model_copy(update={"conflict_resolution": self._default.value})
        return graph.model_copy(update={"context": context})


def _signature(folder: Path) -> _Signature:
    """Names, times and sizes of the files that a graph of the folder can be made of."""
    found: list[tuple[str, int, int]] = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES):
        # An editor may move a file away in between.
        with suppress(FileNotFoundError):
            stat = path.stat()
            found.append((str(path), stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def _text(definition: Json) -> str:
    return definition if isinstance(definition, str) else json.dumps(definition, ensure_ascii=False)
