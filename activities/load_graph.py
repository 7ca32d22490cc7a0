"""`load_graph`: the definition that a run pins, by name from the worker's folder, or sent inline by the starter.

Inline graphs are refused unless the worker takes them: their author decides which connections and secrets are used.

A graph is read again when one of the files that it is made of has changed, or another file has its name. These are
checked at most four times a second. Runs in flight keep what they pinned.

Parsing a large graph takes seconds. It is done in threads of its own, few of them, and graphs that are sent inline have
another one: however many of those come, graphs of the folder start.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from temporalio import activity

from anabranch.activities.attempts import run_attempt
from anabranch.activities.failures import as_application_errors
from anabranch.activities.search_attributes import SearchAttributes
from anabranch.cipher import refused_plaintext
from anabranch.context.merge.resolution import ConflictResolution
from anabranch.context.values import Json
from anabranch.errors import GraphMismatch, InlineGraphsOff, InputError, UnknownGraph
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.load import LoadedGraph, digests, find_graph, load_text, written_out
from anabranch.graph.model import Graph
from anabranch.graph.revision import REVISION
from anabranch.graph.source.index import FolderIndex, Stamp, stamp_of
from anabranch.graph.source.problems import did_you_mean
from anabranch.limits import GRAPH_ELSEWHERE_SECONDS, RUN_LIMITS, RunLimits
from anabranch.transport.node_protocol import ENCRYPTED_ONLY, GraphRequest, PinnedGraph
from anabranch.transport.search_attributes import wishes

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,127}", re.ASCII)
_FRESH_SECONDS = 0.25
_INLINE_KEPT = 64
_NAMED = 20
_NAMED_THREADS = 2
_INLINE_THREADS = 1
_READS = 5
"""How often a graph is read while its files are being changed."""


class _Parts(NamedTuple):
    """What a graph is made of: its files, and the names by which it and others were found in the folder."""

    files: frozenset[Path]
    names: frozenset[str]


class _Signature(NamedTuple):
    """The state of the parts."""

    stamps: tuple[tuple[Path, Stamp | None], ...]
    places: tuple[tuple[str, tuple[Path, ...]], ...]


class _Found(NamedTuple):
    """A graph, its parts and their state, and when that was looked at (monotonic)."""

    pinned: PinnedGraph
    digests: Mapping[str, str]
    parts: _Parts
    signature: _Signature
    looked: float


class GraphLoader:
    """The graphs of one folder, and what runs of them are held to.

    `default` settles conflicts where a graph does not say how. Runs are held to `revision`, where this worker knows it,
    and to `limits`.
    `inline` is whether a run may bring its own graph.
    `workflows` are the names of other workflows of the worker, to suggest one that was mistyped.
    `strict` takes only runs whose input is encrypted, and holds them to results that are.
    `console` is the address of the console that shows the runs, if one does.
    `search_attributes` say whether runs can be found by theirs.
    """

    def __init__(
        self,
        folder: Path | FolderIndex,
        default: ConflictResolution = ConflictResolution.LAST_WRITE_WINS,
        *,
        revision: int = REVISION,
        inline: bool = False,
        workflows: Sequence[str] = (),
        limits: RunLimits = RUN_LIMITS,
        elsewhere_seconds: float = GRAPH_ELSEWHERE_SECONDS,
        strict: bool = False,
        console: str | None = None,
        search_attributes: SearchAttributes | None = None,
    ) -> None:
        self._strict = strict
        self._console = console
        self._search_attributes = search_attributes
        self._index = folder if isinstance(folder, FolderIndex) else FolderIndex(folder)
        self._default = default
        self._revision = min(revision, REVISION)
        self._takes_inline = inline
        self._workflows = workflows
        self._limits = limits
        self._elsewhere_seconds = elsewhere_seconds
        self._by_name: dict[str, _Found] = {}
        self._inline: dict[str, _Found] = {}
        self._turn = Lock()
        """Held to look into what is known, never while something is read."""
        self._named_threads = ThreadPoolExecutor(_NAMED_THREADS, thread_name_prefix="load_graph")
        self._inline_threads = ThreadPoolExecutor(_INLINE_THREADS, thread_name_prefix="load_inline")

    @activity.defn
    async def load_graph(self, request: GraphRequest) -> PinnedGraph:
        """Find, check and pin a graph; all of its problems are reported at once."""
        with run_attempt("load_graph"), as_application_errors(elsewhere_seconds=self._elsewhere_seconds):
            if self._strict and request.is_plain:
                raise refused_plaintext("the input of a run")
            pinned = await self._loaded(request)
            return pinned if self._search_attributes is None else await self._search_attributes.noted(pinned)

    async def _loaded(self, request: GraphRequest) -> PinnedGraph:
        found = None if request.name is None or request.inline is not None else self._by_name.get(request.name)
        if found is not None and time.monotonic() - found.looked < _FRESH_SECONDS:
            return _as_asked(found, request)
        try:
            threads = self._named_threads if request.inline is None else self._inline_threads
            return await asyncio.get_running_loop().run_in_executor(threads, self.load, request)
        except UnknownGraph:
            if request.name is None or request.name != activity.info().workflow_type:
                raise
            raise self._unknown_workflow(request.name) from None

    def load(self, request: GraphRequest) -> PinnedGraph:
        """As `load_graph`, without Temporal. Threads may call it at once. Raises GraphError."""
        if request.inline is not None:
            return self._load_inline(_text(request.inline))
        name = request.name
        if name is None:
            raise InputError("the run names no graph", suggestion="start it with a graph's name as the workflow type")
        if not _NAME.fullmatch(name):
            raise UnknownGraph(f"{name[:128]!r} is not a name that a graph can have")
        found = self._through(self._by_name, name, lambda: find_graph(self._index, name), frozenset((name,)))
        return _as_asked(found, request)

    def _load_inline(self, text: str) -> PinnedGraph:
        if not self._takes_inline:
            raise InlineGraphsOff(
                "the run brings its own graph, and this worker runs only the graphs of its folder",
                suggestion="start it with its graph's name as the workflow type; ANABRANCH_INLINE_GRAPHS=on would let"
                " whoever may start runs use the worker's connections and secrets",
            )

        def read() -> LoadedGraph:
            return load_text(text, resolve=lambda name: find_graph(self._index, name))

        found = self._through(self._inline, text, read, frozenset())
        with self._turn:
            while len(self._inline) > _INLINE_KEPT:
                del self._inline[next(iter(self._inline))]
        return found.pinned

    def _unknown_workflow(self, name: str) -> UnknownGraph:
        """A workflow was started whose type is neither a graph nor a workflow of this worker."""
        graphs = sorted(self._index.names().values())
        served = {"graphs": graphs, "workflows": self._workflows}
        known = "; ".join(f"{kind}: {', '.join(names[:_NAMED])}" for kind, names in served.items() if names)
        return UnknownGraph(
            f"this worker has neither a graph nor a workflow that is named {name[:128]!r}",
            did_you_mean(name, [*graphs, *self._workflows]) or f"it has {known or 'none at all'}",
        )

    def _through(
        self, known: dict[str, _Found], key: str, read: Callable[[], LoadedGraph], names: frozenset[str]
    ) -> _Found:
        """The cached graph, if nothing has changed of what it is made of."""
        looked = time.monotonic()
        with self._turn:
            found = known.get(key)
        if found is None or found.signature != self._signature(found.parts):
            found = self._read(read, names)
        with self._turn:
            known.pop(key, None)
            known[key] = found = found._replace(looked=looked)
        return found

    def _read(self, read: Callable[[], LoadedGraph], names: frozenset[str]) -> _Found:
        """A graph, with the state that its parts had before they were read. (Reading it shows which they are.)

        It is read again where they changed meanwhile: of two files that are replaced together, one may be the old one.
        """
        files = self._index.names() if names else {}
        parts = _Parts(frozenset(path for path, name in files.items() if name in names), names)
        reads = 0
        while True:
            signature, loaded = self._signature(parts), read()
            found = _Parts(loaded.files, names.union(loaded.graphs))
            reads += 1
            same = found == parts and signature == self._signature(parts)
            if same or reads == _READS:
                break
            parts = found
        return _Found(self.pinned(loaded), digests(loaded), parts, signature, 0.0)

    def _signature(self, parts: _Parts) -> _Signature:
        stamps = tuple((path, stamp_of(path)) for path in sorted(parts.files))
        files = self._index.names() if parts.names else {}
        places: dict[str, tuple[Path, ...]] = dict.fromkeys(sorted(parts.names), ())
        for path, name in files.items():
            if name in places:
                places[name] += (path,)
        return _Signature(stamps, tuple(places.items()))

    def pinned(self, loaded: LoadedGraph) -> PinnedGraph:
        """What runs of a graph are held to."""
        graphs = {name: self._settled(graph) for name, graph in loaded.graphs.items()}
        graph = self._settled(loaded.graph)
        return PinnedGraph.of(
            graph.name,
            written_out(graph),
            {name: written_out(other) for name, other in graphs.items()},
            revision=self._revision,
            inputs={each.name: tuple(graph_inputs(each, graphs)) for each in (graph, *graphs.values())},
            capabilities=(*wishes((graph, *graphs.values())), *((ENCRYPTED_ONLY,) if self._strict else ())),
            limits=self._limits,
            console=self._console,
        )

    def _settled(self, graph: Graph) -> Graph:
        if graph.context.conflict_resolution is not None or self._default is ConflictResolution.LAST_WRITE_WINS:
            return graph
        context = graph.context.model_copy(update={"conflict_resolution": self._default.value})
        return graph.model_copy(update={"context": context})


def _as_asked(found: _Found, request: GraphRequest) -> PinnedGraph:
    """The graph that was found. Raises GraphMismatch where the starter knows another one."""
    if not request.digests or request.digests == found.digests:
        return found.pinned
    names = [*found.digests, *(name for name in request.digests if name not in found.digests)]
    other = [name for name in names if request.digests.get(name) != found.digests.get(name)]
    raise GraphMismatch(
        f"the run was started for another {found.pinned.name!r} than this worker serves; what differs is"
        f" {', '.join(other[:_NAMED])}",
        "give the worker your files, or start the run by the graph's name alone to take the worker's",
    )


def _text(definition: Json) -> str:
    return definition if isinstance(definition, str) else json.dumps(definition, ensure_ascii=False)
