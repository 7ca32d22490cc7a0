"""A YAML file to a checked, immutable `Graph`, or a `GraphError` that lists everything that is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, cast

from pydantic import ValidationError

from anabranch.errors import GraphError, Problem, UnknownGraph
from anabranch.graph.checks.afterwards import check_finally
from anabranch.graph.checks.checks import check_graph, check_keys
from anabranch.graph.checks.retries import repeated_effects
from anabranch.graph.checks.settings import ignored_settings
from anabranch.graph.dataflow.walk import levels, with_compensations
from anabranch.graph.dialect.rust_logic_graph import normalise
from anabranch.graph.fields import HOLE
from anabranch.graph.kinds.kinds import loop_of
from anabranch.graph.kinds.pin import pinned
from anabranch.graph.known_nodes import KnownNodes
from anabranch.graph.model import Graph, GraphNode
from anabranch.graph.source.attachments import Attachments, read_text
from anabranch.graph.source.definitions import with_definitions
from anabranch.graph.source.index import FolderIndex, graph_files
from anabranch.graph.source.problems import did_you_mean, shape_problems
from anabranch.graph.source.yaml_source import Pointer, Source, read_yaml

MAX_PROBLEMS = 100
MAX_CANONICAL_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LoadedGraph:
    """A graph that may run, the places of its parts, warnings, and the graphs that it names (transitively).

    `files` are all that were read for it: its own, those of the graphs, and those that nodes name.
    """

    graph: Graph
    source: Source
    warnings: tuple[Problem, ...] = ()
    graphs: Mapping[str, Graph] = field(default_factory=dict)
    files: frozenset[Path] = frozenset()


Resolve: TypeAlias = Callable[[str], LoadedGraph]


def load_graph(path: Path, index: FolderIndex | None = None) -> LoadedGraph:
    """The graph of a YAML or JSON file; the graphs that it names are looked for by `index`, else in the same folder."""
    known = index or FolderIndex(path.parent, below=False)
    return _load(_read(path), path.parent, lambda name: _find(known, name))


def load_text(text: str, file: str = "<inline>", *, resolve: Resolve | None = None) -> LoadedGraph:
    """The graph of a text. Graphs that it names are checked where `resolve` is given, files are not read."""
    return _load(read_yaml(text, file), None, resolve)


def load_as(text: str, path: Path) -> LoadedGraph:
    """The graph of a text, as if it was that of the file `path`, which need not be there."""
    return load_source(read_yaml(text, str(path)), path)


def load_source(source: Source, path: Path | None, known: KnownNodes | None = None) -> LoadedGraph:
    """The graph of a text that has been read, as if it was that of the file `path`, which need not be there.

    Nodes that are `known` are not read again.
    """
    if path is None:
        return _load(source, None, None, known)
    index = FolderIndex(path.parent, below=False)
    return _load(source, path.parent, lambda name: _find(index, name), known)


def find_graph(folder: Path | FolderIndex, name: str) -> LoadedGraph:
    """The graph of that `name:` among the YAML files of a folder and below; GraphError suggests similar ones."""
    index = folder if isinstance(folder, FolderIndex) else FolderIndex(folder)
    return load_graph(_file_of(index, name), index)


def load_library(folder: Path) -> dict[str, LoadedGraph]:
    """All graphs of a folder and of those below by name; GraphError with the problems of all files."""
    found: dict[str, LoadedGraph] = {}
    problems: list[Problem] = []
    for each in load_each(folder):
        if isinstance(each, GraphError):
            problems.extend(each.problems)
        else:
            found[each.graph.name] = each
    _raise_if_wrong(problems)
    return found


def load_each(folder: Path, *, below: bool = True) -> Iterator[LoadedGraph | GraphError]:
    """Each graph of a folder, and of those below it unless `below` is false, or what is wrong with its file.

    Of two files with the same name, the second is wrong. Raises GraphError if there is no folder, or a too large one.
    """
    files: dict[str, str] = {}
    index = FolderIndex(folder, below=below)
    for path in graph_files(folder, below=below):
        try:
            loaded = load_graph(path, index)
        except GraphError as error:
            yield error
            continue
        if (other := files.setdefault(loaded.graph.name, loaded.source.file)) == loaded.source.file:
            yield loaded
        else:
            yield GraphError((_taken(loaded.graph.name, other, loaded.source),))


def canonical(graph: Graph) -> str:
    """The graph as JSON text, the same for every spelling of the same graph."""
    return graph.model_dump_json(by_alias=True, exclude_defaults=True)


def written_out(graph: Graph) -> str:
    """The graph as JSON text with every default and judgement in it: another release reads the same graph."""
    return pinned(graph).model_dump_json(by_alias=True)


def digests(loaded: LoadedGraph) -> dict[str, str]:
    """The SHA-256 (hex) of the canonical text of a graph, and of each that it names, by name."""
    graphs = (loaded.graph, *loaded.graphs.values())
    return {graph.name: hashlib.sha256(canonical(graph).encode()).hexdigest() for graph in graphs}


def _read(path: Path) -> Source:
    return read_yaml(read_text(path, str(path)), str(path))


def _load(text: Source, folder: Path | None, resolve: Resolve | None, known: KnownNodes | None = None) -> LoadedGraph:
    source, problems = normalise(text)
    attachments = Attachments(source, folder)
    source, undefined = with_definitions(attachments.inlined())
    found = [*problems, *attachments.problems, *undefined]
    graph = _graph(source, found, known)
    found += check_graph(graph, source)
    if len(canonical(graph)) > MAX_CANONICAL_BYTES:
        found.append(Problem("GRAPH_TOO_LARGE", f"with its files the graph is over {MAX_CANONICAL_BYTES} bytes"))
    named = _Named(resolve, found)
    named.follow(graph, source, (graph.name,))
    found += ignored_settings(graph, named.graphs, source)
    found += check_finally(graph, named.graphs, source)
    _raise_if_wrong(found)
    found += repeated_effects(graph, named.graphs, source)
    found += check_keys(graph, source, named.graphs)
    _raise_if_wrong(found)
    graph = graph.model_copy(update={"definitions": None})  # they stand where they are named
    own = frozenset() if folder is None else frozenset((Path(text.file),))
    return LoadedGraph(graph, source, tuple(found), named.graphs, own | attachments.files | named.files)


def _graph(source: Source, found: list[Problem], known: KnownNodes | None) -> Graph:
    graph: Graph | None = None
    given: object = source.value if known is None else known.put_into(source.value)
    try:
        graph = Graph.model_validate(given)
    except ValidationError as error:
        found += _once(shape_problems(error, source))
    _raise_if_wrong(found)  # outside of `except`: pydantic's own text shows the values, secrets among them
    read = cast("Graph", graph)
    if known is not None:
        known.learn(given, read)
    return read


def _once(problems: Iterable[Problem]) -> Iterator[Problem]:
    """The problems of definitions without those of the places that name them."""
    found = list(problems)
    defined = {(each.code, each.place): each for each in found if each.message.startswith("`definitions.")}
    yield from (each for each in found if defined.get((each.code, each.place), each) is each)


def _raise_if_wrong(problems: list[Problem]) -> None:
    problems.sort(key=_order)
    wrong = [problem for problem in problems if not problem.warning]
    if len(wrong) > MAX_PROBLEMS:
        more = f"{len(wrong) - MAX_PROBLEMS} more problems are not shown"
        raise GraphError((*wrong[:MAX_PROBLEMS], Problem("TOO_MANY_PROBLEMS", more)))
    if wrong:
        raise GraphError(tuple(problems))


def _order(problem: Problem) -> tuple[str, int, int]:
    place = problem.place
    return (place.file, place.line, place.column) if place else ("", 0, 0)


class _Named:
    """The graphs that a graph names, and theirs; unknown ones and recursion become problems."""

    def __init__(self, resolve: Resolve | None, problems: list[Problem]) -> None:
        self.resolve = resolve
        self.problems = problems
        self.graphs: dict[str, Graph] = {}
        self.files: frozenset[Path] = frozenset()

    def follow(self, graph: Graph, source: Source, trail: tuple[str, ...]) -> None:
        """Take the graphs that a graph names, and theirs. Without `resolve` none."""
        if self.resolve is None:
            return
        for path, name in named_graphs(graph):
            if name in trail:
                cycle = " → ".join((*trail[trail.index(name) :], name))
                message = f"the graph {name!r} contains itself: {cycle}"
                self.problems.append(Problem("GRAPH_RECURSION", message, source.place(path)))
            elif name not in self.graphs:
                self._take(self.resolve, name, source, path, trail)

    def _take(self, resolve: Resolve, name: str, source: Source, path: Pointer, trail: tuple[str, ...]) -> None:
        try:
            loaded = resolve(name)
        except GraphError as error:
            unknown = error.problems[0].code == "GRAPH_UNKNOWN"
            message = f"there is no graph {name!r}" if unknown else f"the graph {name!r} has problems"
            code = "GRAPH_UNKNOWN" if unknown else "SUBGRAPH_INVALID"
            suggestion = error.problems[0].suggestion if unknown else None
            self.problems.append(Problem(code, message, source.place(path), suggestion))
            self.problems.extend(() if unknown else error.problems)
            return
        self.graphs[name] = loaded.graph
        self.files |= loaded.files
        self.follow(loaded.graph, loaded.source, (*trail, name))


def named_graphs(graph: Graph) -> Iterator[tuple[Pointer, str]]:
    """The names of other graphs that nodes run, each with its path."""
    for level in levels(graph):
        for path, _, outer in level.nodes():
            for where, node in with_compensations(path, outer):
                if isinstance(node, GraphNode):
                    is_open = HOLE in node.graph
                    for index, name in enumerate(node.named):
                        yield (*where, *(("one_of", index) if is_open else ("graph",))), name
                elif (loop := loop_of(node)) is not None and loop.body.graph is not None:
                    yield (*where, "body", "graph"), loop.body.graph


def _find(index: FolderIndex, name: str) -> LoadedGraph:
    """As `find_graph`, without the graphs that it names in turn: the caller follows them."""
    path = _file_of(index, name)
    return _load(_read(path), path.parent, None)


def _file_of(index: FolderIndex, name: str) -> Path:
    names = index.names()
    found = [path for path, other in names.items() if other == name]
    if len(found) > 1:
        raise GraphError((_taken(name, str(found[0]), str(found[1])),))
    if not found:
        known = sorted(names.values())
        suggestion = did_you_mean(name, known) or f"there are {', '.join(known[:20]) or 'none'}"
        message = f"no file in {str(index.folder)!r} has the graph {name!r}"
        raise UnknownGraph(message, suggestion)
    return found[0]


def _taken(name: str, first: str, second: Source | str) -> Problem:
    file = second if isinstance(second, str) else second.file
    message = f"two files have the graph {name!r}: {first} and {file}"
    place = None if isinstance(second, str) else second.place(("name",))
    return Problem("GRAPH_NAME_TAKEN", message, place, "a graph's name is its workflow type: give each its own")
