"""A graph whose run does not take long, and ends alike: timers fire soon or, where they would not fire, never."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from anabranch.context.changes import ChangeSet
from anabranch.graph.model import Graph
from anabranch.testkit.play import Evaluate, Played
from anabranch.workflows.interpreter.commands import StartTimer
from anabranch.workflows.interpreter.node_run import NodeRun, Status
from anabranch.workflows.interpreter.simulation import Done, Failed
from tests.integration.rehearsed import Rehearsed, Trial, rehearse

LONGEST = 1.0
"""Seconds that the longest timer takes of those that fire."""
LATE = 2.0
"""Seconds that a node may take that is to time out."""
NEVER = 600
_WITHOUT_ACTIVITY = {"approval", "receive", "wait", "foreach", "while", "graph", "block"}
Definitions = Mapping[str, dict[str, Any]]


def hurried(trial: Trial, evaluate: Evaluate) -> Trial:
    """The trial at speed, on one task queue: nodes that fail are not tried again, and none is local."""
    graphs = {trial.loaded.graph.name: trial.loaded.graph, **trial.loaded.graphs}
    changed = {name: graph.model_dump(mode="json", by_alias=True) for name, graph in graphs.items()}
    first = rehearse(trial, evaluate)
    seconds, late, failed = _fired(first, changed), _late(first.played, changed), _failed(first.played, changed)
    written = _written(first.played, changed)
    pace = min(1.0, LONGEST / (max(seconds.values(), default=0.0) or LONGEST))
    for definition in changed.values():
        definition.pop("share", None)
        definition["defaults"] |= {"task_queue": None, "local": False, "total_timeout": None, "timeout": NEVER}
        for node in _nodes(definition):
            node |= {"task_queue": None, "local": None, "total_timeout": None, "queue_timeout": None, "heartbeat": None}
            never = NEVER if node["type"] == "receive" else None  # in a dry run one that times out does so then
            node["timeout"] = LATE if id(node) in late else never
            if node["type"] == "approval":  # whose reminders write nothing, and come at times of which nothing is left
                node |= {"remind": None, "escalate": None}
            if node["type"] == "wait":
                node |= {"until": None, "for": seconds[id(node)] * pace if id(node) in seconds else NEVER}
            elif node["type"] not in _WITHOUT_ACTIVITY and id(node) in failed | late:
                node["retry"] = {"max_attempts": 1}
            elif node.get("retry"):
                node["retry"] |= {"initial_interval": 0.1, "max_interval": 0.1}
            if node["type"] == "activity" and id(node) in written:  # it answers with what the dry run took it to write
                node["output"] = {key: f"result.{key}" for key in node["output"]}
    made = {name: Graph.model_validate(each) for name, each in changed.items()}
    name = trial.loaded.graph.name
    graph = made[name] if name in trial.loaded.graphs else made.pop(name)
    return replace(trial, loaded=replace(trial.loaded, graph=graph, graphs=made))


def _nodes(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a graph or a body, with those inside, those that undo them, and those that run last."""
    if body.get("finally"):
        yield from _nodes(body["finally"])
    for node in body["nodes"].values():
        yield node
        inside = node.get("body") or node
        if inside.get("nodes"):
            yield from _nodes(inside)
        if node.get("compensate"):
            yield node["compensate"]
        yield from (tool["node"] for tool in (node.get("tools") or {}).values())


def _fired(first: Rehearsed, changed: Definitions) -> dict[int, float]:
    """How many seconds each timer took that fired, by the identity of its node."""
    name = first.trial.loaded.graph.name
    found: dict[int, float] = {}
    for entry in first.played.timeline:
        if isinstance(entry.work, StartTimer) and not isinstance(entry.answer, Failed):
            found[id(_node_at(changed, name, entry.work.address))] = entry.work.seconds
    ended = {entry.work.address for entry in first.played.timeline if not isinstance(entry.answer, Failed)}
    for (path, address), (answer, origin) in first.answers.items():
        if origin == "timer" and (child := path[1:]) in ended:  # the timer of a child that came to its end
            graph = (_node_at(changed, name, child) or {}).get("graph", name)
            found[id(_node_at(changed, graph, address))] = answer.seconds
    return found


def _late(played: Played, changed: Definitions) -> set[int]:
    """The identities of the nodes that timed out."""
    name = played.state.plan.graph.name
    runs = ((scope.address(run), run) for scope in played.state.entered for run in scope.nodes.values())
    addresses = [address for address, run in runs if _is_late(run)]
    addresses += [entry.work.address for entry in played.timeline if _timed_out(entry.answer)]
    return {id(_node_at(changed, name, address)) for address in addresses}


def _written(played: Played, changed: Definitions) -> set[int]:
    """The identities of the nodes with an `output` whose writes were assumed, or given."""
    name = played.state.plan.graph.name
    ends = ((entry.work.address, entry.answer) for entry in played.timeline)
    written = (address for address, end in ends if isinstance(end, Done) and isinstance(end.result, ChangeSet))
    nodes = (_node_at(changed, name, address) for address in written)
    return {id(node) for node in nodes if node and node.get("output")}


def _failed(played: Played, changed: Definitions) -> set[int]:
    name = played.state.plan.graph.name
    ends = (entry.work.address for entry in played.timeline if isinstance(entry.answer, Failed))
    return {id(_node_at(changed, name, address)) for address in ends}


def _is_late(run: NodeRun) -> bool:
    return run.status is Status.TIMED_OUT or (run.failure is not None and run.failure.outcome == "timeout")


def _timed_out(answer: object) -> bool:
    return isinstance(answer, Failed) and answer.failure.outcome == "timeout"


def _node_at(graphs: Definitions, name: str, address: str) -> dict[str, Any] | None:
    """The definition of the node at an address, in whichever graph it stands."""
    *around, last = re.sub(r"\[\d+\]|~\d+", "", address.removeprefix("undo ")).split("/")
    body = graphs[name]
    for each in around:
        if each == "finally" and each not in body["nodes"]:
            body = body[each]
            continue
        node = body["nodes"][each]
        if node.get("tools"):
            body = {"nodes": {each: node, **{name: tool["node"] for name, tool in node["tools"].items()}}}
            continue
        body = graphs[node["graph"]] if node.get("graph") else node.get("body") or node
        body = graphs[body["graph"]] if body.get("graph") else body
    found: dict[str, Any] | None = body["nodes"].get(last)
    return found.get("compensate") if found and address.startswith("undo ") else found
