"""What a graph says of how its nodes run: retries, priorities, breakers, caches, merging, undoing and sharing."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, JsonValue

from anabranch.graph.fields import Duration, FairnessKey, JsonObject, Key, MergePolicy, Model, Strategy, TaskQueue
from anabranch.limits import MAX_ATTEMPTS


class Retry(Model):
    """A Temporal retry policy."""

    max_attempts: int = Field(default=5, ge=0, le=MAX_ATTEMPTS, description="0 is without limit")
    initial_interval: Duration = timedelta(seconds=1)
    backoff: float = Field(default=2.0, ge=1)
    max_interval: Duration | None = None
    non_retryable: tuple[str, ...] = ()


class Priority(Model):
    """Temporal's task priority: 1 (first) to 5, and a key whose runs share the queue fairly."""

    key: int | None = Field(None, ge=1, le=5)
    fairness_key: FairnessKey | None = None
    fairness_weight: float | None = Field(None, gt=0)


class CircuitBreaker(Model):
    """Stop calling what keeps failing: `failures` within `window` open it for `reset`."""

    failures: int = Field(5, ge=1)
    window: Duration = timedelta(minutes=1)
    reset: Duration = timedelta(seconds=30)
    probes: int = Field(1, ge=1)
    name: str | None = None


class NodeCache(Model):
    """Reuse a node's changes for the same key."""

    key: str
    ttl: Duration = timedelta(hours=1)


class Fallback(Model):
    """Values to go on with where a node fails, as if it had succeeded and written them."""

    use: dict[Key, JsonValue] = Field(min_length=1)


class ContextSpec(Model):
    """How parallel writes to the context are settled, and what the context must look like."""

    conflict_resolution: Strategy | None = None
    merge: dict[Key, MergePolicy] = Field(default_factory=dict)
    schema_: JsonObject | None = Field(default=None, alias="schema")
    conflict_timeout: Duration | None = None


class Defaults(Model):
    """The values of fields that nodes do not have. `local` holds for `rule` nodes, all else for those of activities."""

    timeout: Duration = timedelta(seconds=30)
    queue_timeout: Duration | None = None
    total_timeout: Duration | None = None
    retry: Retry = Retry()
    task_queue: TaskQueue | None = None
    local: bool = False


class Saga(Model):
    """How completed steps are undone."""

    compensation: Literal["sequential", "parallel"] = "sequential"
    deadline: Duration | None = None
    on_compensation_failure: Literal["report", "pause"] = "report"


class Share(Model):
    """Publish the run's context for other services."""

    strategy: Literal["write_through", "write_behind", "read_through", "cache_aside"] | None = None
    """None: what CACHE_STRATEGY of the worker says."""
    ttl: Duration | None = None
    at: Literal["every_node", "end"] = "end"
