"""Which nodes follow one that starts, as far as that is certain now: then they can run in one go with it.

Once it has succeeded each of them would be started next, on the context that the one before leaves, and nothing else
that happens to the run has a part in that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from anabranch.graph.plan_node import PlanNode
from anabranch.limits import SEGMENT_BYTES
from anabranch.workflows.interpreter.node_run import NodeRun, Status
from anabranch.workflows.interpreter.scope import Scope, Started
from anabranch.workflows.interpreter.state import RunState

_ROOM: Final = 8 * SEGMENT_BYTES
"""Bytes that a segment may write, as JSON: a byte of MessagePack may become six."""


class Follower(NamedTuple):
    """A node that starts when the one before it has succeeded."""

    address: str
    planned: PlanNode
    key: str


def followers(state: RunState, address: str, takes: Callable[[PlanNode], bool]) -> Iterator[Follower]:
    """The nodes that follow the one under way at an address, one behind the other, as far as `takes` is true of them.

    None follows a node after which the run has something to decide: a condition, a join, a schema of the context.
    """
    node = state.work.get(address)
    if not isinstance(node, Started) or not _is_undisturbed(state, node, address):
        return
    scope, run = node.scope, node.run
    while (following := _only_follower(scope, run)) is not None and takes(following.planned):
        own = scope.address(following)
        yield Follower(own, following.planned, f"{state.run['id']}/{own}")
        run = following


def _is_undisturbed(state: RunState, node: Started, address: str) -> bool:
    """Whether what follows a node is nothing but what its plan says."""
    scope, run = node.scope, node.run
    if (
        not state.may_start
        or state.has_answers
        or state.is_aborting(address)
        or scope.has_lost(run)
        or run.planned.knows_error
    ):
        return False
    if scope.plan.graph.context.schema_ is not None or not state.size.has_room(_ROOM):
        return False
    return bool(scope.prefix) or state.outside.line is None


def _only_follower(scope: Scope, run: NodeRun) -> NodeRun | None:
    """The node that is certain to start when `run` has succeeded, and the only one."""
    leaving = run.planned.outgoing
    if len(leaving) != 1 or "success" not in leaving[0].ends:
        return None
    edge = leaving[0].edge
    following = scope.nodes[edge.target]
    planned, undoing = following.planned, following.planned.compensation
    is_sure = edge.when is None and len(planned.incoming) == 1 and planned.node.when is None
    is_plain = not (planned.is_routed or planned.knows_error or (undoing is not None and undoing.is_routed))
    is_next = following.status is Status.PENDING and following.line is None and planned.fires_at is None
    return following if is_sure and is_plain and is_next else None
