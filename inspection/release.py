"""What a new release would do to the runs in flight of a graph: which of them it replays, which definition each holds.

Each history is replayed by the code of this process: it stands for the workers of the release.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Final

from temporalio.client import Client

from anabranch.errors import AnabranchError, Unavailable
from anabranch.graph.load import LoadedGraph, written_out
from anabranch.graph.model import Graph
from anabranch.inspection.inspection import Inspection
from anabranch.inspection.runs import Runs

_INLINE: Final = "GraphWorkflow"
"""The type of runs that were given their graph: what it is called only their histories tell."""


@dataclass(frozen=True, slots=True)
class Release:
    """One run in flight, and what became of its replay."""

    workflow_id: str
    run_id: str
    digest: str | None
    """Of the definition that it holds; None where it is not known, or none was loaded yet."""
    version: str | None
    """Of the graph, as that definition says."""
    is_current: bool
    """Whether the definition is that of the file, or will be."""
    problem: AnabranchError | None
    """Why it cannot be replayed."""


async def replayed(client: Client, runs: Runs, loaded: LoadedGraph) -> AsyncGenerator[Release]:
    """The runs in flight of a graph, each as it is replayed; those that end meanwhile are left out.

    Runs that were given a graph are of it if they hold one of its name, or cannot be replayed. Raises RPCError.
    """
    name = loaded.graph.name
    types = ", ".join(f"'{each.replace(chr(39), chr(39) * 2)}'" for each in (name, _INLINE))
    query = f"WorkflowType in ({types}) and ExecutionStatus = 'Running'"
    async for execution in client.list_workflows(query):
        try:
            inspection = await runs.inspect(execution.id, execution.run_id)
        except Unavailable:
            raise
        except AnabranchError as error:
            yield Release(execution.id, execution.run_id, None, None, is_current=False, problem=error)
            continue
        of_graph = execution.workflow_type == name if inspection.graph is None else inspection.graph.name == name
        if of_graph and inspection.closing is None:
            yield _clean(inspection, loaded)


def _clean(inspection: Inspection, loaded: LoadedGraph) -> Release:
    pinned, graph = inspection.pinned, inspection.graph
    return Release(
        inspection.workflow_id,
        inspection.run_id,
        None if pinned is None else pinned.digest,
        None if graph is None else graph.version,
        is_current=inspection.plan is None or _texts(_held(inspection), loaded) == _texts(_of_file(loaded), loaded),
        problem=None,
    )


def _held(inspection: Inspection) -> Mapping[str, Graph]:
    plan = inspection.plan
    return {} if plan is None else {**plan.library, plan.graph.name: plan.graph}


def _of_file(loaded: LoadedGraph) -> Mapping[str, Graph]:
    return {**loaded.graphs, loaded.graph.name: loaded.graph}


def _texts(graphs: Mapping[str, Graph], loaded: LoadedGraph) -> dict[str, str]:
    """The definitions, with every default of this release in them, so that those of another one compare.

    Where the file leaves the settling of conflicts to the worker, that does not count.
    """
    ours = _of_file(loaded)
    return {name: written_out(_as_left(graph, ours.get(name))) for name, graph in graphs.items()}


def _as_left(graph: Graph, ours: Graph | None) -> Graph:
    if ours is None or ours.context.conflict_resolution is not None:
        return graph
    context = graph.context.model_copy(update={"conflict_resolution": None})
    return graph.model_copy(update={"context": context})
