"""Addresses of nodes in a run, and the nodes of the plan that they lead to.

`pack[3]/weigh` is the node `weigh` in the body of `pack`, for the item 3; `pack/weigh` is it for every item, and in
every attempt of `pack`. `pack~2/weigh` is it in the second attempt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from anabranch.graph.kinds.kinds import has_body, loop_of
from anabranch.graph.kinds.tools import Question
from anabranch.graph.plan import Plan
from anabranch.graph.plan_node import PlanNode
from anabranch.workflows.interpreter.address import attempt_address
from anabranch.workflows.interpreter.afterwards import PREFIX as FINALLY
from anabranch.workflows.interpreter.commands import RunNode, StartChild, Work
from anabranch.workflows.interpreter.people import notice_at
from anabranch.workflows.interpreter.saga import COMPENSATION as UNDO
from anabranch.workflows.interpreter.scope import END
from anabranch.workflows.interpreter.simulation import Evaluated

__all__ = ["END", "FINALLY", "UNDO", "known", "means", "node_at", "of", "static", "walk", "wider"]

_INDEX = re.compile(r"\[\d+\]")
_LAST = FINALLY.removesuffix("/")
_ATTEMPT = re.compile(r"~\d+")
_NUMBER = re.compile(r"^reminder \d+ of ")


def of(work: Work | Evaluated) -> str:
    """The address by which a test names a piece of work: a child workflow's is that of its attempt."""
    return attempt_address(work.address, work.attempt) if isinstance(work, StartChild) else work.address


def static(address: str) -> str:
    """The address without indexes of items and turns, and numbers of attempts: the node's place in the definition."""
    return _ATTEMPT.sub("", _INDEX.sub("", address))


def means(work: Work | Evaluated) -> tuple[str, ...]:
    """The addresses by which a test means a piece of work, the narrowest first: a question is its `ai` node's too."""
    address = of(work)
    if not (isinstance(work, RunNode) and isinstance(work.planned.node, Question) and not work.undo):
        return wider(address)
    return (*wider(address), *wider(address.rpartition("/")[0].rpartition("[")[0]))


def wider(address: str) -> tuple[str, ...]:
    """The address, then those by which a test means it together with others, the narrowest first."""
    found = address, _INDEX.sub("", address), _ATTEMPT.sub("", address), static(address)
    return found if notice_at(address) is None else (*found, *(_NUMBER.sub("reminder of ", each) for each in found))


def walk(plan: Plan, prefix: str = "") -> Iterator[tuple[str, Plan]]:
    """The plan and the plans of all bodies in it, each with what the addresses of its nodes start with."""
    yield prefix, plan
    for name, planned in plan.nodes.items():
        if has_body(planned.node):
            yield from walk(plan.body(name), f"{prefix}{name}/")
        if (loop := loop_of(planned.node)) is not None and loop.last is not None:
            yield from walk(plan.last(name), f"{prefix}{name}/{FINALLY}")
    if plan.afterwards is not None and not prefix:
        yield from walk(plan.afterwards, FINALLY)


def known(plan: Plan) -> list[str]:
    """The addresses of all nodes, in definition order, bodies after the graph around them."""
    return [prefix + name for prefix, inner in walk(plan) for name in inner.nodes]


def node_at(plan: Plan, address: str) -> PlanNode | None:
    """The node that an address leads to; after `undo ` its compensation, after `reminder of ` what reminds of it."""
    if (about := notice_at(address)) is not None:
        owner = node_at(plan, about[1])
        return None if owner is None else owner.notices.get(about[0])
    undo = address.startswith(UNDO)
    if plan.afterwards is not None and address.startswith(FINALLY):
        plan, address = plan.afterwards, address.removeprefix(FINALLY)
    *around, last = address.removeprefix(UNDO).split("/")
    around_block: Plan | None = None
    """The `finally` of the block that the part before names."""
    for name in map(static, around):
        owner = plan.nodes.get(name)
        if name == _LAST and around_block is not None:
            plan, around_block = around_block, None
            continue
        if owner is None or not has_body(owner.node):
            return None
        loop = loop_of(owner.node)
        around_block = None if loop is None or loop.last is None else plan.last(name)
        plan = plan.body(name)
    planned = plan.nodes.get(static(last))
    return planned.compensation if undo and planned is not None else planned
