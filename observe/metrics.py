"""The catalogue of metrics, and how the code records them. docs/observability.md says what each one is for.

Nothing is recorded until `record_to` names a recorder; before that, `count` and `note` return at once. Who measures
a time asks `is_on` first. Labels are given in the order of the metric's `labels`; the recorder keeps their values few.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, Protocol

Kind = Literal["counter", "gauge", "histogram"]
_TURN: Final = re.compile(r"\[\d+\]")
_REMINDER: Final = re.compile(r"^reminder \d+ of ")

SECONDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    3600.0,
)
"""From a rule to a person's answer."""
MICROSECONDS: Final = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)
"""What code takes that only computes, in seconds."""
BYTES: Final = (256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 524_288.0, 1_048_576.0, 2_097_152.0)
HISTORY_BYTES: Final = (4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 52_428_800.0)
EVENTS: Final = (10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 4_096.0, 10_000.0, 51_200.0)
DEPTH: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 10_000.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. Where there is a `graph` label it is the first, and `node` is the second."""

    name: str
    kind: Kind
    unit: str
    """As people write it; the name ends with it where Prometheus's rules ask for that."""
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """The upper bounds of a histogram."""

    @property
    def of_graph(self) -> bool:
        """Whether its series are those of a graph."""
        return self.labels[:1] == ("graph",)


class Recorder(Protocol):
    """What keeps the numbers."""

    def record(self, metric: Metric, value: float, labels: tuple[str, ...]) -> None:
        """Add to a counter, set a gauge, or note one value of a histogram."""
        ...


CATALOGUE: Final[dict[str, Metric]] = {}
"""Every metric, by its name."""


def _metric(name: str, kind: Kind, unit: str, meaning: str, *labels: str, buckets: tuple[float, ...] = ()) -> Metric:
    CATALOGUE[name] = metric = Metric(name, kind, unit, meaning, labels, buckets)
    return metric


SERIALIZE: Final = _metric(
    "anabranch_context_serialize_seconds",
    "histogram",
    "seconds",
    "Time to encode a context.",
    "of",
    buckets=MICROSECONDS,
)
DESERIALIZE: Final = _metric(
    "anabranch_context_deserialize_seconds",
    "histogram",
    "seconds",
    "Time to decode and check a context.",
    "of",
    buckets=MICROSECONDS,
)
CONTEXT_BYTES: Final = _metric(
    "anabranch_context_bytes",
    "histogram",
    "bytes",
    "Size of an encoded context, before compression.",
    "of",
    buckets=BYTES,
)
CACHE_HITS: Final = _metric(
    "anabranch_cache_hits_total", "counter", "reads", "Reads that a cache answered.", "tier", "strategy"
)
CACHE_MISSES: Final = _metric(
    "anabranch_cache_misses_total", "counter", "reads", "Reads that a cache did not answer.", "tier", "strategy"
)
CONFLICTS: Final = _metric(
    "anabranch_conflicts_total", "counter", "conflicts", "Conflicts that merges settled.", "graph", "strategy"
)
VERSION_DEPTH: Final = _metric(
    "anabranch_version_history_depth",
    "histogram",
    "versions",
    "Versions of the context that a run made until its end.",
    "graph",
    buckets=DEPTH,
)
NODE_RUNS: Final = _metric(
    "anabranch_node_runs_total", "counter", "nodes", "Nodes that ended.", "graph", "node", "type", "outcome"
)
NODE_SECONDS: Final = _metric(
    "anabranch_node_seconds",
    "histogram",
    "seconds",
    "Time from a node's start to its end, with queues, retries and waiting.",
    "graph",
    "node",
    "type",
    "outcome",
    buckets=SECONDS,
)
NODE_RETRIES: Final = _metric(
    "anabranch_node_retries_total", "counter", "attempts", "Attempts after a node's first.", "graph", "node", "type"
)
AI_TOKENS: Final = _metric(
    "anabranch_ai_tokens_total",
    "counter",
    "tokens",
    "Tokens of prompts (`input`) and answers (`output`) of `ai` nodes, those of failed attempts too.",
    "graph",
    "node",
    "model",
    "direction",
)
AI_COST: Final = _metric(
    "anabranch_ai_cost_total", "counter", "cost", "What they cost, by ANABRANCH_AI_PRICES.", "graph", "node", "model"
)
COMPENSATIONS: Final = _metric(
    "anabranch_compensations_total",
    "counter",
    "steps",
    "Steps of failed runs, undone or not.",
    "graph",
    "node",
    "result",
)
BREAKER_STATE: Final = _metric(
    "anabranch_breaker_state",
    "gauge",
    "state",
    "0 closed, 1 half-open, 2 open, as the worker's last call met it.",
    "graph",
    "breaker",
)
BREAKER_REFUSALS: Final = _metric(
    "anabranch_breaker_refusals_total", "counter", "calls", "Calls that an open breaker refused.", "graph", "breaker"
)
LIMIT_WAITS: Final = _metric(
    "anabranch_limit_waits_total",
    "counter",
    "attempts",
    "Attempts of nodes that had to wait for their turn, by what for: `rate`, `concurrency`, `redis`.",
    "graph",
    "node",
    "limit",
)
LEASES_LOST: Final = _metric(
    "anabranch_limit_leases_lost_total",
    "counter",
    "leases",
    "Leases of limits of concurrency that ran out while their node was under way.",
    "graph",
    "node",
)
WRITE_BEHIND: Final = _metric(
    "anabranch_write_behind_pending", "gauge", "contexts", "Contexts that write-behind has not brought to the store."
)
INTERPRETER: Final = _metric(
    "anabranch_interpreter_seconds",
    "histogram",
    "seconds",
    "Time that workflow code took for one activation; a workflow task has one or several.",
    "graph",
    buckets=MICROSECONDS,
)
HISTORY_EVENTS: Final = _metric(
    "anabranch_history_events",
    "histogram",
    "events",
    "Events of a workflow run's history at its end.",
    "graph",
    buckets=EVENTS,
)
HISTORY_SIZE: Final = _metric(
    "anabranch_history_bytes",
    "histogram",
    "bytes",
    "Size of a workflow run's history at its end.",
    "graph",
    buckets=HISTORY_BYTES,
)
EVENTS_CONSUMED: Final = _metric(
    "anabranch_events_consumed_total", "counter", "events", "Events taken from a broker.", "graph", "outcome"
)
EVENTS_RECEIVED: Final = _metric(
    "anabranch_events_received_total",
    "counter",
    "events",
    "Events that were sent to runs: taken by a node, repeated, or refused.",
    "graph",
    "outcome",
)
EVENTS_PUBLISHED: Final = _metric(
    "anabranch_events_published_total",
    "counter",
    "events",
    "Results, events of graphs and dead letters that a broker has taken.",
    "graph",
    "kind",
)

_recorder: Recorder | None = None


def record_to(recorder: Recorder | None) -> None:
    """Record to this from now on, in the whole process; None records nothing."""
    global _recorder  # noqa: PLW0603 - a process has one set of metrics
    _recorder = recorder


def recorder() -> Recorder | None:
    """What this process records to."""
    return _recorder


def is_on() -> bool:
    """Whether anything is recorded."""
    return _recorder is not None


def count(metric: Metric, *labels: str, by: int = 1) -> None:
    """Add to a counter."""
    if _recorder is not None and by:
        _recorder.record(metric, by, labels)


def note(metric: Metric, value: float, *labels: str) -> None:
    """Note a value of a histogram, or set a gauge."""
    if _recorder is not None:
        _recorder.record(metric, value, labels)


def node_label(address: str) -> str:
    """A node's address without the turns around it: `pack/weigh` for `pack[3]/weigh`, `reminder of ask` for each."""
    if address.startswith("reminder "):
        address = _REMINDER.sub("reminder of ", address)
    return _TURN.sub("", address) if "[" in address else address


def buckets() -> dict[str, tuple[float, ...]]:
    """The upper bounds of every histogram, by name: the `histogram_bucket_overrides` of a Runtime of your own."""
    return {metric.name: metric.buckets for metric in CATALOGUE.values() if metric.buckets}
