"""Which limits an attempt of a node has to keep: their names, and what Redis keeps them under.

The values of a key are not in Redis, nor in a history: only a digest of them is, which nobody can guess where there is
a key to encrypt with. It is of one length, whatever a value holds.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Final

from anabranch.activities.heartbeat import kept
from anabranch.activities.rendering import render
from anabranch.cipher import Cipher
from anabranch.graph.expressions.json_text import text_of
from anabranch.graph.model import HttpNode, Node
from anabranch.graph.policies import Concurrency, RateLimit
from anabranch.transport.failures import attempt_now
from anabranch.transport.node_protocol import NodeTask
from anabranch.transport.turn import Limit, Turn

_TURNS: Final = re.compile(r"(?:~\d+)?(?:\[\d+\])?(?=/|$)")
"""Which turn of which attempt of a body a node is in: all of them share the limit."""


def is_limited(node: Node) -> bool:
    """Whether a node has a limit of rate or concurrency."""
    return node.rate_limit is not None or node.concurrency is not None


async def turn_of(task: NodeTask, node: Node, cipher: Cipher | None = None) -> Turn:
    """What an attempt of a node needs before it begins. Raises EvaluationError for its keys."""
    limits: list[Limit] = []
    if (slots := node.concurrency) is not None:  # first: a slot can be given back, a beginning counts
        name = slots.name or _own_name(task)
        limits.append(Limit("concurrency", name, await _id("slots", name, slots, task, cipher), slots.limit))
    if (rate := node.rate_limit) is not None:
        name, per = rate.name or _own_name(task), max(1, int(rate.per.total_seconds() * 1000))
        limits.append(Limit("rate", name, await _id("rate", name, rate, task, cipher), rate.limit, per))
    return Turn(_holder(task, node), tuple(limits))


def _holder(task: NodeTask, node: Node) -> str:
    """Names the attempt, also where it waits meanwhile: its place in line is under it."""
    attempt = attempt_now()
    told = str(attempt)
    if isinstance(node, HttpNode) and node.poll is not None:  # each of its requests is one, and so is each wait
        told = json.dumps(kept(), sort_keys=True)
    return hashlib.sha256(f"{task.key}#{told}".encode()).hexdigest()[:32]


def _own_name(task: NodeTask) -> str:
    """The name of the limit that one node of a graph has by itself; its compensation has another."""
    what, _, address = task.address.rpartition(" ")
    name = f"{task.run.graph}/{_TURNS.sub('', address)}"
    return f"{name}/compensate" if what else name


async def _id(kind: str, name: str, limit: RateLimit | Concurrency, task: NodeTask, cipher: Cipher | None) -> str:
    if limit.key is None:
        return f"{kind}/{name}"
    # As text: graphs that share a limit may have what they say of it in keys of different names and types.
    what = text_of(await render(limit.key, task)).encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(what).hexdigest() if cipher is None else cipher.blinded(what, "key of a limit")
    return f"{kind}/{name}/{digest[:32]}"
