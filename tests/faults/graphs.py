"""The graphs that the faults are made in, and the ledger that their steps write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

DATABASE = "LEDGER_URL"
LEDGER = "create table if not exists ledger (id serial primary key, run text, step text, kind text)"
STEPS = tuple(f"s{number}" for number in range(1, 9))
_CHAIN = tuple(pairwise(STEPS))
_BRAID = (
    *(("s1", "s2"), ("s1", "s3"), ("s2", "s4"), ("s3", "s5"), ("s2", "s5")),
    *(("s4", "s6"), ("s5", "s6"), ("s6", "s7"), ("s6", "s8")),
)
_PERSISTENT = {"max_attempts": 0, "initial_interval": "50ms", "backoff": 1.0}


@dataclass(frozen=True, slots=True)
class Shape:
    """A graph whose nodes write one row each, and the steps that each depends on."""

    definition: Mapping[str, Any]
    behind: Mapping[str, frozenset[str]]
    """By address: a step in a body is `body/step`."""
    wrote: Mapping[str, Any]
    """What it writes into the context, all in all."""
    sequential: bool
    last: frozenset[str] = frozenset()
    """Addresses of the steps that run last, however the run ended."""
    of_blocks: Mapping[str, str] = field(default_factory=dict)
    """Addresses of the steps that run last in a block, each with that of the block."""


def row(step: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "db",
        "connection": DATABASE,
        "query": "insert into ledger (run, step, kind) values (:run, :step, :kind)",
        "params": {"run": "{{ run.session_id }}", "step": step, "kind": kind},
        "result": "none",
        "heartbeat": "2s",
        **fields,
    }


def step(name: str, address: str = "") -> dict[str, Any]:
    """A node that writes a row and its key, and can be undone; in a body its address is a template."""
    return row(
        address or name,
        "do",
        output={name: "result.row_count"},
        timeout="4s",
        retry={"max_attempts": 1},
        compensate=row(address or name, "undo", timeout="20s", retry=_PERSISTENT, heartbeat="1s"),
    )


def _shape(name: str, nodes: Mapping[str, Any], pairs: tuple[tuple[str, str], ...], compensation: str) -> Shape:
    edges = [{"from": source, "to": target} for source, target in pairs]
    behind: dict[str, frozenset[str]] = {}
    for node in nodes:  # they are in the order of the edges
        sources = [source for source, target in pairs if target == node]
        behind[node] = frozenset(sources).union(*(behind[source] for source in sources))
    definition = {"name": name, "saga": {"compensation": compensation}, "nodes": nodes, "edges": edges}
    return Shape(definition, behind, dict.fromkeys(nodes, 1), sequential=compensation == "sequential")


CHAIN = _shape("chain_of_eight", {name: step(name) for name in STEPS}, _CHAIN, "sequential")
BRAID = _shape("braid_of_eight", {name: step(name) for name in STEPS}, _BRAID, "parallel")
TWO = _shape(
    "two_writers",
    {
        name: row(name, "do", output={name: "1"}, timeout="20s", heartbeat="1s", retry=_PERSISTENT)
        for name in ("w1", "w2")
    },
    (("w1", "w2"),),
    "sequential",
)
