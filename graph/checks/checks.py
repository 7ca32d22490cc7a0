"""Everything that `validate` finds in a graph whose shape is right. docs/problems.md lists the codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from anabranch.errors import Problem
from anabranch.graph.checks.expressions import check_expressions, check_own_fields
from anabranch.graph.checks.fallbacks import check_fallbacks
from anabranch.graph.checks.foreign_texts import check_foreign_texts
from anabranch.graph.checks.inputs import check_given, check_inputs
from anabranch.graph.checks.keys import KeyChecks
from anabranch.graph.checks.nodes import check_node
from anabranch.graph.checks.otherwise import check_otherwise
from anabranch.graph.checks.paths import check_graph_paths, check_paths
from anabranch.graph.checks.run import check_run
from anabranch.graph.checks.scalars import check_scalars
from anabranch.graph.checks.schedule import check_schedule, check_scheduled_input
from anabranch.graph.checks.schemas import check_schemas
from anabranch.graph.checks.structure import check_structure
from anabranch.graph.dataflow.dataflow import Library
from anabranch.graph.dataflow.walk import Level, levels, ordered, with_compensations
from anabranch.graph.kinds.kinds import is_undone_by_itself
from anabranch.graph.kinds.remembered import unless_fine
from anabranch.graph.model import Graph, Node
from anabranch.graph.source.problems import described
from anabranch.graph.source.yaml_source import Pointer, Source

MAX_NODES = 2000
MAX_FINDINGS = 500


def check_graph(graph: Graph, source: Source) -> list[Problem]:
    """Problems and warnings of a graph; only the first ones of very many."""
    all_levels = list(levels(graph))
    count = sum(len(level.body.nodes) for level in all_levels)
    if count > MAX_NODES:
        message = f"the graph has {count} nodes with those of its bodies, over the limit of {MAX_NODES}"
        return [Problem("GRAPH_TOO_LARGE", message, source.place(("nodes",)), "split it with `type: graph` nodes")]
    return _first_of(_by_level(all_levels, graph, source))


def check_keys(graph: Graph, source: Source, library: Mapping[str, Graph]) -> list[Problem]:
    """Problems of inputs and of keys, where `check_graph` found no error. `library` are graphs by name."""
    known = Library(library)
    found = (
        check_inputs(graph, source),
        check_given(graph, known, source),
        check_scheduled_input(graph, known, source),
        KeyChecks(graph, source, known).problems(),
    )
    return _first_of(chain.from_iterable(found))


def _first_of(found: Iterable[Problem]) -> list[Problem]:
    """The first errors and the first warnings. However many warnings there are, they hide no error."""
    counts, kept = {True: 0, False: 0}, []
    for problem in found:
        counts[problem.warning] += 1
        if counts[problem.warning] <= MAX_FINDINGS:
            kept.append(problem)
        if counts[False] >= MAX_FINDINGS:
            break
    return kept


def _by_level(all_levels: list[Level], graph: Graph, source: Source) -> Iterator[Problem]:
    yield from check_scalars(graph, source)
    yield from check_schemas(graph, source)
    for level in all_levels:
        yield from check_structure(level, source)
        yield from check_otherwise(level, source)
        yield from check_fallbacks(level, source)
        for path, _, outer in level.nodes():
            for where, node in with_compensations(path, outer):
                yield from _of_node(where, node, source)
        yield from check_expressions(level, source)
        yield from _unused_compensations(level, source)
    yield from check_graph_paths(graph, source)
    yield from check_own_fields(graph, source)
    yield from check_run(graph, source)
    yield from check_schedule(graph, source)


def _of_node(path: Pointer, node: Node, source: Source) -> list[Problem]:
    """Problems of a node by itself."""
    is_undo = path[-1] == "compensate"
    return unless_fine(
        node,
        ("itself", is_undo),
        lambda: chain(
            check_node(path, node, source), check_paths(path, node, source), check_foreign_texts(path, node, source)
        ),
    )


def _unused_compensations(level: Level, source: Source) -> Iterator[Problem]:
    """Compensations that never run: those of compensations, and of nodes that run only behind a pivot."""
    behind = _behind_pivots(level)
    for path, key, node in level.nodes():
        undo = node.compensate
        if undo is not None and undo.compensate is not None:
            place = source.place((*path, "compensate", "compensate"), key=True)
            message = f"{described(path)} has a compensation of its compensation, which never runs"
            yield Problem("COMPENSATION_UNUSED", message, place, "remove it", warning=True)
        if undo is not None and key in behind and not is_undone_by_itself(node):
            place = source.place((*path, "compensate"), key=True)
            message = f"{described(path)} runs only after a pivot, from which the saga goes forward: it is never undone"
            yield Problem("COMPENSATION_UNUSED", message, place, "remove it, or move the pivot", warning=True)


def _behind_pivots(level: Level) -> set[str]:
    sources: dict[str, list[str]] = {key: [] for key in level.body.nodes}
    for edge in level.body.edges:
        if edge.source in sources and edge.target in sources:
            sources[edge.target].append(edge.source)
    behind: set[str] = set()
    for key in ordered(level):
        if sources[key] and all(one in behind or level.body.nodes[one].pivot for one in sources[key]):
            behind.add(key)
    return behind
