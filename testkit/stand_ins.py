"""The activities of a worker whose nodes end as those of a dry run: rules are evaluated, all else is given or assumed.

With them a graph is played on a server of its own, so that its history shows what a run leaves there. Timers are short
then, and all work is on one task queue; what a run sends and is told is otherwise that of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final

from temporalio import activity
from temporalio.exceptions import ApplicationError

from anabranch.activities.carrying import Carrying
from anabranch.activities.load_graph import GraphLoader
from anabranch.activities.node_result import Handler
from anabranch.activities.registry import NodeActivities
from anabranch.activities.search_attributes import SearchAttributes
from anabranch.context.changes import ChangeSet
from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json, parse_path
from anabranch.errors import TimedOut
from anabranch.graph.dataflow.walk import levels, with_compensations
from anabranch.graph.kinds.kind import Runs
from anabranch.graph.kinds.kinds import kind_named, loop_of, notices_of, types_that_run, with_inner
from anabranch.graph.load import LoadedGraph
from anabranch.graph.model import ActivityNode, Graph, Node, WaitNode
from anabranch.graph.plan import Plan, plan_graph
from anabranch.graph.plan_node import PlanNode
from anabranch.graph.policies import Retry
from anabranch.settings import Settings
from anabranch.testkit.addresses import UNDO, node_at
from anabranch.testkit.answers import Answers
from anabranch.testkit.given import GivenOutcome
from anabranch.transport.node_protocol import GraphRequest, NodeTask, PinnedGraph
from anabranch.workflows.interpreter.commands import RunNode
from anabranch.workflows.interpreter.people import notice_at
from anabranch.workflows.interpreter.simulation import Done, Failed

_BLINK: Final = timedelta(milliseconds=1)


class _ToEvaluate(Exception):
    """The work is a rule of which no outcome is given."""


class StandIns(NodeActivities):
    """Those of one graph and the graphs that it names."""

    def __init__(self, settings: Settings, loaded: LoadedGraph, given: Mapping[str, GivenOutcome]) -> None:
        graphs = {each.name: hurried(each) for each in (loaded.graph, *loaded.graphs.values())}
        super().__init__(
            dict.fromkeys(types_that_run(by={Runs.HANDLER}), partial(_rules, settings)),
            _OneGraph(settings, loaded.graph.name, graphs, loaded),
            carrying=Carrying(settings),
            elsewhere_seconds=0,
        )
        self.plans = {name: plan_graph(graph, graphs) for name, graph in graphs.items()}
        self.answers = {
            name: Answers(plan, given if name == loaded.graph.name else {}, _refuse)
            for name, plan in self.plans.items()
        }

    async def execute(self, task: NodeTask) -> ChangeSet:
        """What a node is to write. Raises what it is to fail with."""
        try:
            return self._changes(task.run.graph, _work(self.plans[task.run.graph], task))
        except _ToEvaluate:
            return await super().execute(task)

    def activities(self) -> list[Callable[..., Any]]:
        """Those of the run itself and of the node types, and one for each activity that nodes name."""
        named = {node.activity for plan in self.plans.values() for node in _nodes(plan.graph) if _is_activity(node)}
        return [*super().activities(), share_context, *(self._activity_named(name) for name in sorted(named))]

    def _activity_named(self, name: str) -> Callable[..., Any]:
        @activity.defn(name=name)
        async def named(*_: Any) -> Json:
            info = activity.info()
            plan = self.plans[str(info.workflow_type)]
            planned = _planned(plan, info.activity_id)
            roots: dict[str, Json] = {}
            work = RunNode(info.activity_id, planned, Line.start({}), roots, "", undo=info.activity_id.startswith(UNDO))
            changes = self._changes(plan.graph.name, work)
            return [changes.set.get(parse_path(path)) for path in planned.node.output or ()]

        return named

    def _changes(self, graph: str, work: RunNode) -> ChangeSet:
        answer = self.answers[graph](work)
        if isinstance(answer, Failed):
            failure = answer.failure
            if failure.outcome == "timeout":
                raise TimedOut(failure.message)
            raise ApplicationError(failure.message, type=failure.code)
        assert isinstance(answer, Done)  # noqa: S101 - a choice is the answer of a join
        assert isinstance(answer.result, ChangeSet)  # noqa: S101 - of a node
        return answer.result


class _OneGraph(GraphLoader):
    """Gives every run the graph that is played."""

    def __init__(self, settings: Settings, name: str, graphs: Mapping[str, Graph], loaded: LoadedGraph) -> None:
        super().__init__(settings.graphs, search_attributes=SearchAttributes())
        others = {each: graph for each, graph in graphs.items() if each != name}
        self._played = self.pinned(LoadedGraph(graphs[name], loaded.source, graphs=others))

    def load(self, request: GraphRequest) -> PinnedGraph:
        """See GraphLoader."""
        return self._played


@activity.defn(name="share_context")
async def share_context(*_: Any) -> None:
    """Nobody reads what a run publishes that is only played."""


def _rules(settings: Settings) -> Handler:
    """What evaluates rules. No other node comes to its handler."""
    build = kind_named("rule").handler
    assert build is not None  # noqa: S101 - it is built in
    return build(settings)


def _refuse(_: RunNode) -> ChangeSet:
    raise _ToEvaluate


def _work(plan: Plan, task: NodeTask) -> RunNode:
    line = Line.start(dict(task.context.data))
    roots: dict[str, Json] = {**task.roots, "run": task.run.root()}
    undo = task.address.startswith(UNDO)
    beside = notice_at(task.address) is not None
    return RunNode(task.address, _planned(plan, task.address), line, roots, task.key, undo=undo, is_beside=beside)


def _planned(plan: Plan, address: str) -> PlanNode:
    if (planned := node_at(plan, address)) is None:
        raise AssertionError(f"there is no node {address!r}")
    return planned


def _is_activity(node: Node) -> bool:
    return isinstance(node, ActivityNode)


def _nodes(graph: Graph) -> list[Any]:
    return [
        node
        for level in levels(graph)
        for path, _, outer in level.nodes()
        for _, node in with_compensations(path, outer)
    ]


def hurried(graph: Graph) -> Graph:
    """The graph with short timers, on one task queue, and with activities whose result is what they write."""
    update: dict[str, Any] = {"nodes": _hurried_all(graph.nodes), "defaults": _without_queue(graph.defaults)}
    if graph.finally_ is not None:
        update["finally_"] = graph.finally_.model_copy(update={"nodes": _hurried_all(graph.finally_.nodes)})
    return graph.model_copy(update=update)


def _hurried_all(nodes: Mapping[str, Node]) -> dict[str, Node]:
    return {name: _hurried(node) for name, node in nodes.items()}


def _hurried(node: Node) -> Node:
    update: dict[str, Any] = {"task_queue": None}
    if isinstance(node, WaitNode):
        update |= {"for_": _BLINK, "until": None}
    if isinstance(node, ActivityNode) and node.output is not None:
        update["output"] = {path: f"result[{index}]" for index, path in enumerate(node.output)}
    if node.retry is not None:
        update["retry"] = _soon(node.retry)
    if node.compensate is not None:
        update["compensate"] = _hurried(node.compensate)
    for (field, inner), notice in notices_of(node):
        update[field] = getattr(node, field).model_copy(update={inner: _hurried(notice)})
    if (loop := loop_of(node)) is not None:
        update |= with_inner(node, loop, _hurried_all(loop.body.nodes))
        if loop.last is not None:
            update["finally_"] = loop.last.model_copy(update={"nodes": _hurried_all(loop.last.nodes)})
    return node.model_copy(update=update)


def _without_queue(defaults: Any) -> Any:
    return defaults.model_copy(update={"task_queue": None, "retry": _soon(defaults.retry)})


def _soon(retry: Retry) -> Retry:
    return retry.model_copy(update={"initial_interval": _BLINK, "max_interval": _BLINK})
