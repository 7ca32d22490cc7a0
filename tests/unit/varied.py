"""Graphs of the property tests, with more in them: what happens around a run, and what is undone inside of bodies."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from anabranch.graph.policies import AttributeType
from anabranch.testkit.given import GivenOutcome
from tests.unit.machine_kit import python

SHARED = "paid"
"""The event that nodes of one graph wait for together."""
NAP = "nap"
"""The node that waits for an hour, in a graph whose own time is up before."""
LAST = "last"
"""The node of a `finally`."""
TRANSIENT = "TRANSIENT"
"""The code of a failure after which composites are tried again."""
ATTRIBUTES: dict[str, AttributeType] = {"VariedNumber": "int", "VariedWords": "keyword_list", "VariedText": "keyword"}
"""The search attributes of graphs, with their types."""
_COMPOSITES = frozenset({"block", "foreach", "graph", "while"})
_SOON = {"max_attempts": 2, "initial_interval": "1ms"}


def with_more_undone(graph: Mapping[str, Any], chance: random.Random) -> dict[str, Any]:
    """The graph with children, compensations in bodies, blocks with a `finally`, and retried composites."""
    made: dict[str, Any] = {**graph, "nodes": {name: _undone(node, chance) for name, node in graph["nodes"].items()}}
    if chance.random() < 0.3:
        made["finally"] = {"nodes": {LAST: python()}}
    return made


def _undone(node: Mapping[str, Any], chance: random.Random) -> dict[str, Any]:
    made, kind = dict(node), node["type"]
    if kind not in _COMPOSITES:
        return made
    if chance.random() < 0.5:
        made["retry"] = _SOON
    if kind == "graph":
        return made | ({"mode": "child_workflow"} if chance.random() < 0.5 else {})
    inside = made if kind == "block" else made["body"]
    nodes = {
        name: {**each, "on_failure": chance.choice(["fail", "continue"])} for name, each in inside["nodes"].items()
    }
    for each in nodes.values():
        if chance.random() < 0.7:
            each["compensate"] = python()
    if kind != "block":
        return {**made, "body": {**inside, "nodes": nodes}}
    last = {"finally": {"nodes": {LAST: python()}}} if chance.random() < 0.6 else {}
    return {**made, "nodes": nodes, **last}


@dataclass
class Around:
    """What happens around a run of a graph."""

    graph: dict[str, Any]
    outcomes: dict[str, GivenOutcome] = field(default_factory=dict)
    """How its `receive` nodes come to their events."""
    sent: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Other events that are sent: behind the answer to an address; behind the start for `""`."""


def with_more_around(graph: Mapping[str, Any], chance: random.Random) -> Around:
    """The graph with a `timeout`, search attributes, nodes that receive and emit events, and that ask models.

    Events come early, twice and late, and some are refused.
    """
    made = Around({**graph, "nodes": {name: dict(node) for name, node in graph["nodes"].items()}})
    for address, node in _leaves(made.graph["nodes"]):
        kind = chance.choice([None, None, "receive", "receive", "emit", "ai"])
        if kind == "emit":
            _become(node, type="emit", to="run", run="other-{{ n }}", event="told", data={"n": "{{ n }}"})
        elif kind == "ai":
            _become(node, type="ai", model="openai:gpt-4", prompt="Is {{ n }} enough?")
        elif kind == "receive":
            _receive(made, address, node, chance)
    if chance.random() < 0.3:
        made.graph["timeout"] = "2s"
        made.graph["nodes"][NAP] = {"type": "wait", "for": "1h"}
    elif chance.random() < 0.5:
        made.graph["timeout"] = "1h"
    if chance.random() < 0.7:
        said = {"VariedNumber": "{{ n }}", "VariedWords": "{{ l }}", "VariedText": "{{ t }}"}
        made.graph["search_attributes"] = {
            name: {"type": ATTRIBUTES[name], "value": value} for name, value in said.items()
        }
    if chance.random() < 0.3:
        made.sent.setdefault("", []).append({"name": "", "id": "broken"})
    return made


def _leaves(nodes: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The nodes that are given an outcome, those in the bodies among them."""
    for name, node in nodes.items():
        inside = node if node["type"] == "block" else node.get("body")
        if node["type"] == "python":
            yield name, node
        elif inside is not None:
            copied = {each: dict(inner) for each, inner in inside["nodes"].items()}
            if node["type"] == "block":
                node["nodes"] = copied
            else:
                node["body"] = {**inside, "nodes": copied}
            yield from ((f"{name}/{each}", inner) for each, inner in copied.items() if inner["type"] == "python")


def _become(node: dict[str, Any], **fields: Any) -> None:
    """Make another node of one, which stands where that did."""
    del node["handler"], node["reads"]
    node |= fields


def _receive(made: Around, address: str, node: dict[str, Any], chance: random.Random) -> None:
    own = f"event_{address.replace('/', '_')}"
    names = chance.choice([(SHARED,), (own,), (own, f"{own}_too")])
    mode = chance.choice(["any", "all"]) if len(names) > 1 else "any"
    data = {"n": chance.randint(1, 4), "ok": True}
    more: dict[str, Any] = {"accept": "event.ok"} if chance.random() < 0.3 else {}
    if mode == "any":
        more["output"] = {chance.choice(["n", "o.a", "new.k"]): "result.data.n"}
    _become(node, type="receive", event=list(names), mode=mode, timeout="30m", **more)
    if SHARED not in names and chance.random() < 0.2:
        made.outcomes[address] = GivenOutcome(timeout=True)
        _send(made, address, names[0], "late", data)
        return
    came = names if mode == "all" else names[:1]
    if SHARED in names:
        data = {"n": 2, "ok": True}
    made.outcomes[address] = GivenOutcome(events=dict.fromkeys(came, data))
    for name in came:
        if chance.random() < 0.4:
            _send(made, "", name, "early", data)
        if chance.random() < 0.3:
            _send(made, "", name, "early", data)
        if chance.random() < 0.3:
            _send(made, "", name, "not accepted", {"n": 9, "ok": False} if "accept" in more else data)
        if chance.random() < 0.4:
            _send(made, address, name, "early", data)
            _send(made, address, name, "late", data)


def _send(made: Around, behind: str, name: str, event_id: str, data: Any) -> None:
    made.sent.setdefault(behind, []).append({"name": name, "id": event_id, "data": data})
