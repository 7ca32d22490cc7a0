"""What a graph says of how its nodes run: retries, priorities, breakers, caches, merging, undoing and sharing."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from anabranch.graph.fields import (
    Definable,
    Duration,
    FairnessKeyTemplate,
    JsonObject,
    Key,
    LimitName,
    MergePolicy,
    Model,
    SchemaObject,
    Strategy,
    TaskQueue,
)
from anabranch.graph.parts import Auth
from anabranch.limits import MAX_ATTEMPTS, MAX_PER_TIME


class Retry(Model):
    """A Temporal retry policy."""

    max_attempts: int = Field(default=5, ge=0, le=MAX_ATTEMPTS)
    """How often at most, the first attempt included. 0 is without limit."""
    initial_interval: Duration = timedelta(seconds=1)
    """The pause before the second attempt."""
    backoff: float = Field(default=2.0, ge=1)
    """Each pause is so many times the one before."""
    max_interval: Duration | None = None
    """The longest pause. Without it, a hundred times the first one."""
    non_retryable: tuple[str, ...] = ()
    """Codes of errors after which there is no other attempt."""


NamedRetry = Annotated[Retry, Definable("retries")]


class HttpBase(Model):
    """What `http` nodes of one service share."""

    url: str
    """Stands before the `url` of the node."""
    headers: dict[Key, str] = Field(default_factory=dict)
    """Go with each request. Those of the node win."""
    query: dict[Key, JsonValue] = Field(default_factory=dict)
    """Goes with each request. That of the node wins."""
    auth: Auth | None = None
    """Who asks, with each request. That of the node wins."""


class Definitions(Model):
    """What several places of a graph name, instead of writing it out."""

    schemas: dict[Key, JsonObject] = Field(default_factory=dict)
    """JSON Schemas, for each field that holds one, and for `$ref` in others."""
    retries: dict[Key, Retry] = Field(default_factory=dict)
    """Retry policies, for `retry`."""
    bases: dict[Key, HttpBase] = Field(default_factory=dict)
    """What `http` nodes of one service share, for `base`."""


class Priority(Model):
    """Temporal's task priority: 1 (first) to 5, and a key whose runs share the queue fairly."""

    key: int | None = Field(None, ge=1, le=5)
    """1 (first) to 5."""
    fairness_key: FairnessKeyTemplate | None = None
    """Whose task it is: the queue serves keys in turn."""
    fairness_weight: float | None = Field(None, gt=0)
    """How much of the queue the key gets, beside others."""


class CircuitBreaker(Model):
    """Stop calling what keeps failing: `failures` within `window` open it for `reset`."""

    failures: int = Field(5, ge=1)
    """So many open it."""
    window: Duration = timedelta(minutes=1)
    """Within which time."""
    reset: Duration = timedelta(seconds=30)
    """How long it stays open."""
    probes: int = Field(1, ge=1)
    """How many calls are let through at a time after that, to see whether it works again."""
    name: str | None = None
    """Nodes with the same name share a breaker. Without it, each node of a graph has its own."""


class RateLimit(Model):
    """At most `limit` begin within any time of the length `per`, in all runs and on all workers together."""

    limit: Annotated[int, Field(strict=True, ge=1, le=MAX_PER_TIME)]
    """How many."""
    per: Duration = timedelta(seconds=1)
    """Within which time."""
    key: str | None = None
    """A template: each of its values has a limit of its own. Without it there is one."""
    name: LimitName | None = None
    """Nodes with the same name share the limit, those of other graphs too. Without it, each node has its own."""


class Concurrency(Model):
    """At most `limit` are under way at a time, in all runs and on all workers together."""

    limit: Annotated[int, Field(strict=True, ge=1, le=MAX_PER_TIME)]
    """How many."""
    key: str | None = None
    """A template: each of its values has a limit of its own. Without it there is one."""
    name: LimitName | None = None
    """Nodes with the same name share the limit, those of other graphs too. Without it, each node has its own."""


class NodeCache(Model):
    """Reuse a node's changes for the same key."""

    key: str
    """What its writes depend on."""
    ttl: Duration = timedelta(hours=1)
    """How long they may be reused."""


class Fallback(Model):
    """Values to go on with where a node fails, as if it had succeeded and written them."""

    use: dict[Key, JsonValue] = Field(min_length=1)
    """What is written instead: key → value."""


class ContextSpec(Model):
    """How parallel writes to the context are settled, and what the context must look like."""

    conflict_resolution: Strategy | None = None
    """The policy for paths that `merge` does not name. Without it, the worker's default, kept with the run."""
    merge: dict[Key, MergePolicy] = Field(default_factory=dict)
    """Path → policy."""
    schema_: SchemaObject | None = Field(default=None, alias="schema")
    """The JSON Schema of the context, checked at every write."""
    conflict_timeout: Duration | None = None
    """How long a join waits for somebody to settle a conflict. Without it, without end; 0 not at all."""


class Defaults(Model):
    """The values of fields that nodes do not have. `local` holds for `rule` nodes, all else for those of activities."""

    timeout: Duration = timedelta(seconds=30)
    """Of one attempt."""
    queue_timeout: Duration | None = None
    """How long an attempt waits for a worker. Without it, without end."""
    total_timeout: Duration | None = None
    """Of all attempts, with the time that they wait. Without it, without end."""
    retry: NamedRetry = Retry()
    """How often an activity is tried, and when."""
    task_queue: TaskQueue | None = None
    """The workers that run activities. Without it, the run's own."""
    local: bool = False
    """Whether `rule` nodes are local activities."""


class Saga(Model):
    """How completed steps are undone."""

    compensation: Literal["sequential", "parallel"] = "sequential"
    """Whether steps are undone one after the other, in reverse order, or at once."""
    deadline: Duration | None = None
    """How long undoing may take. Without it, without end."""
    on_compensation_failure: Literal["report", "pause"] = "report"
    """Whether a compensation that fails is reported, or waits for an operator."""


AttributeType = Literal["keyword", "text", "int", "float", "bool", "datetime", "keyword_list"]


Reuse = Literal["allow_duplicate", "allow_duplicate_failed_only", "reject_duplicate"]
Conflict = Literal["fail", "use_existing", "terminate_existing"]


class RunId(Model):
    """The workflow id of a run, and what becomes of a start whose id another run has. A text alone is the `value`."""

    value: Annotated[str, Field(min_length=1)]
    """A template over the input."""
    reuse: Reuse = "allow_duplicate"
    """Once a run with the id has ended, whether there may be another: always, only where it has failed, or never."""
    conflict: Conflict = "fail"
    """While a run with the id is under way: the start fails, joins that run, or ends it at once and takes its place."""


Overlap = Literal["skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"]


class Schedule(Model):
    """When the namespace starts runs of the graph by itself, once `anabranch schedules apply` has told it."""

    cron: str | tuple[str, ...] | None = None
    """One cron expression of five fields, or several: minute, hour, day of month, month, day of week."""
    every: Duration | None = None
    """The time from one start to the next, counted from the beginning of 1970."""
    timezone: str = "UTC"
    """The zone in which `cron` is meant, such as `Europe/Berlin`."""
    jitter: Duration | None = None
    """Each start is put off by a random time of so much at most."""
    overlap: Overlap = "skip"
    """What becomes of a start while the run before is under way: left out, once or always put off until that has ended,
    that is cancelled or terminated, or both run."""
    catchup: Duration = timedelta(days=365)
    """Starts that the server missed are made up for if they are not older."""
    input: JsonObject = Field(default_factory=dict)
    """What each run is started with, as it is written."""
    paused: bool | None = None
    """Whether it starts nothing. Without it, as somebody left it on the server; a new one starts runs."""

    @property
    def crons(self) -> tuple[str, ...]:
        """Its cron expressions."""
        return () if self.cron is None else (self.cron,) if isinstance(self.cron, str) else self.cron


class SearchAttribute(Model):
    """What a search attribute of the graph's own says of a run. A text alone is the `value` of a keyword."""

    value: str
    """A template over the context. Null, or a key that is not there, is no value."""
    type: AttributeType = "keyword"
    """Its type in the namespace: keywords are compared as they are, texts by their words."""


class Share(Model):
    """Publish the run's context for other services."""

    strategy: Literal["write_through", "write_behind", "read_through", "cache_aside"] | None = None
    """How the store is written and read. Without it, the worker's CACHE_STRATEGY."""
    ttl: Duration | None = None
    """How long it is kept. Without it, the worker's CONTEXT_TTL_SECONDS."""
    at: Literal["every_node", "end"] = "end"
    """When it is published: at the end, or after each node that changed it."""
