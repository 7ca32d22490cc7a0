"""The sagas of a storm: every step writes a row of a ledger and can be undone; the input says how the run ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.faults.graphs import BRAID, CHAIN, Shape, row, step

VERDICT = "verdict"
_UNTIL_IT_WORKS = {"max_attempts": 0, "initial_interval": "100ms", "backoff": 1.5, "max_interval": "1s"}
_TIMES = {"timeout": "20s", "heartbeat": "2s", "retry": _UNTIL_IT_WORKS}
_ITEMS = tuple(f"each[{index}]/s4" for index in range(3))
_START = frozenset({"s1"})
NEST = Shape(
    {
        "saga": {"compensation": "parallel"},
        "nodes": {
            "s1": step("s1"),
            "hold": {
                "type": "block",
                "nodes": {"s2": step("s2", "hold/s2"), "s3": step("s3", "hold/s3")},
                "edges": [{"from": "s2", "to": "s3"}],
                "finally": {"nodes": {"tidy": row("hold/finally/tidy", "do", output={})}},
            },
            "each": {
                "type": "foreach",
                "items": "[0, 1, 2]",
                "collect": {"into": "counts", "value": "s4"},
                "body": {"nodes": {"s4": step("s4", "each[{{ index }}]/s4")}},
            },
            "s5": {**step("s5"), "join": "all"},
        },
        "finally": {"nodes": {"tell": row("finally/tell", "do", output={})}},
        "edges": [
            {"from": "s1", "to": "hold"},
            {"from": "s1", "to": "each"},
            {"from": "hold", "to": "s5"},
            {"from": "each", "to": "s5"},
        ],
    },
    behind={
        "s1": frozenset(),
        "hold/s2": _START,
        "hold/s3": _START | {"hold/s2"},
        **dict.fromkeys(_ITEMS, _START),
        "s5": _START | {"hold/s2", "hold/s3", *_ITEMS},
    },
    wrote={"s1": 1, "s2": 1, "s3": 1, "counts": [1, 1, 1], "s5": 1},
    sequential=False,
    last=frozenset({"finally/tell"}),
    of_blocks={"hold/finally/tidy": "hold"},
)
"""Steps in bodies, which have times, retries and compensations of their own, one that runs last, and one in a block."""


def _stormy(shape: Shape, name: str) -> Shape:
    """The same graph with steps that are tried until they succeed, and a last node that fails where `ok` is 0."""
    nodes = _tried_again(shape.definition["nodes"])
    sources = {edge["from"] for edge in shape.definition["edges"]}
    ends = [{"from": node, "to": VERDICT} for node in nodes if node not in sources]
    nodes[VERDICT] = {"type": "rule", "rules": [{"then": {VERDICT: "{{ 1 / ok }}"}}]}
    edges = [*shape.definition["edges"], *ends]
    definition = {
        **shape.definition,
        "name": name,
        "nodes": nodes,
        "edges": edges,
        **_last_tried_again(shape.definition),
    }
    return replace(shape, definition=definition)


def _tried_again(nodes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _persistent(node) for name, node in nodes.items()}


def _last_tried_again(around: Mapping[str, Any]) -> dict[str, Any]:
    """The `finally` of a graph, or of a block, if it has one."""
    return {"finally": {"nodes": _tried_again(around["finally"]["nodes"])}} if "finally" in around else {}


def _persistent(node: Mapping[str, Any]) -> dict[str, Any]:
    match node["type"]:
        case "block":
            return {**node, "nodes": _tried_again(node["nodes"]), **_last_tried_again(node)}
        case "foreach":
            return {**node, "body": {**node["body"], "nodes": _tried_again(node["body"]["nodes"])}}
        case _:
            undo = {"compensate": {**node["compensate"], **_TIMES}} if "compensate" in node else {}
            return {**node, **_TIMES, **undo}


SHAPES = {
    name: _stormy(shape, name)
    for name, shape in (("stormy_chain", CHAIN), ("stormy_braid", BRAID), ("stormy_nest", NEST))
}


def write_graphs(folder: Path) -> None:
    """A file for each graph, for workers to serve."""
    for name, shape in SHAPES.items():
        (folder / f"{name}.yaml").write_text(json.dumps(shape.definition))
