"""What every node has, and the type of a field that holds a node of any type."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from anabranch.graph.fields import Cel, Duration, DurationTemplate, Join, JsonObject, Key, Model, TaskQueueTemplate
from anabranch.graph.node_types import ByType
from anabranch.graph.policies import CircuitBreaker, Concurrency, Fallback, NamedRetry, NodeCache, Priority, RateLimit


class BaseNode(Model):
    """Fields that every node has.

    A node type is a subclass whose `type` is one literal.
    """

    type: Any  # a literal in each subclass, which no type checker lets override a `str`
    """What it does: the name of a node type."""
    description: str = ""
    """For people. Drawings show it."""
    when: Cel | None = None
    """The node is skipped unless it holds."""
    join: Join = "any"
    """When it runs: once its incoming edges are settled, if any, or `all`, were taken; or at the `first` taken, or at
    so many (`2`)."""
    losers: Literal["drop", "cancel"] = "drop"
    """What becomes of the branches that come too late for its `join: first`, or `join: 2`."""
    reads: tuple[Key, ...] | None = None
    """Context keys that it needs, where its fields do not show them."""
    input: JsonObject | None = None
    """Names for this node alone, over the context's keys; of a `graph` node all that it is given."""
    output: dict[Key, Cel] | None = None
    """What it writes: context key → expression over `result`. Without it, as its type says."""
    retry: NamedRetry | None = None
    """How often it is tried, and when. Without it, as `defaults` says; a body is tried once."""
    timeout: DurationTemplate | None = None
    """Of one attempt, from when a worker takes it: by default that of `defaults`. Of a body, of all that is inside."""
    queue_timeout: Duration | None = None
    """How long an attempt waits for a worker. Without it, as `defaults` says."""
    total_timeout: Duration | None = None
    """Of all attempts, with the time that they wait. Without it, as `defaults` says."""
    heartbeat: Duration | None = None
    """The attempt has failed if its worker is not heard of for so long."""
    task_queue: TaskQueueTemplate | None = None
    """The workers that run it. Without it, as `defaults` says, else the run's own."""
    priority: Priority | Annotated[int, Field(ge=1, le=5)] | None = None
    """How soon its task is taken from the queue: 1 (first) to 5, or more by `key` and its fairness."""
    local: bool | None = None
    """Whether it is a local activity, on the run's own worker. Without it, a `rule` as `defaults` says, others not."""
    compensate: Node | None = None
    """The node that undoes it when the run fails. It sees the context as this node left it."""
    on_failure: Literal["fail", "continue", "pause"] | Fallback = "fail"
    """What a failure does that no edge leads on from: it fails the run, is passed over, waits for an operator, or gives
    way to the values of `use`."""
    pivot: bool = False
    """Once it has succeeded, or may have, nothing is compensated any more."""
    effect: bool | None = None
    """Whether it changes something outside of the context; with a body, all inside. Without it, as its type judges."""
    circuit_breaker: CircuitBreaker | None = None
    """Stops calling what keeps failing. For nodes that a handler runs."""
    rate_limit: RateLimit | None = None
    """How many of it may begin within a time, in all runs together; the others wait for their turn. For nodes that a
    handler runs."""
    concurrency: Concurrency | None = None
    """How many of it may be under way at a time, in all runs together; the others wait for their turn. For nodes that
    a handler runs."""
    cache: NodeCache | None = None
    """Reuses what it wrote for the same key, across runs. For nodes without an effect that a handler runs."""


Node = Annotated[BaseNode, ByType()]
"""A node of any type, those of other distributions included."""
