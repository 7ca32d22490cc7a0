"""Reads what a process shows of its metrics."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from prometheus_client.parser import text_string_to_metric_families

from anabranch.observe.metrics import Metric, record_to

SDK = {
    "temporal_activity_schedule_to_start_latency",
    "temporal_num_pollers",
    "temporal_worker_task_slots_available",
    "temporal_workflow_completed",
    "temporal_workflow_endtoend_latency",
    "temporal_workflow_failed",
    "temporal_workflow_task_schedule_to_start_latency",
}
"""The metrics of the SDK that the dashboard and the rules use."""


class Shown:
    """The samples of a text in the format of Prometheus."""

    def __init__(self, text: bytes) -> None:
        families = text_string_to_metric_families(text.decode())
        samples = [sample for family in families for sample in family.samples]
        self.values = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}

    def value(self, name: str, **labels: str) -> float | None:
        """The value of one series."""
        return self.values.get((name, frozenset(labels.items())))

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The values of a name, by some of its labels; series that differ in others are added."""
        found: dict[tuple[str, ...], float] = {}
        for (each, given), value in self.values.items():
            if each == name:
                key = tuple(dict(given)[label] for label in labels)
                found[key] = found.get(key, 0) + value
        return found


class Heard:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.records: list[tuple[str, float, tuple[str, ...]]] = []

    def record(self, metric: Metric, value: float, labels: tuple[str, ...]) -> None:
        assert len(labels) == len(metric.labels)
        self.records.append((metric.name, value, labels))

    def values(self, metric: Metric) -> list[tuple[float, tuple[str, ...]]]:
        return [(value, labels) for name, value, labels in self.records if name == metric.name]

    def total(self, metric: Metric, *labels: str) -> float:
        return sum(value for value, given in self.values(metric) if given == labels)


@contextmanager
def hearing() -> Generator[Heard]:
    """Hear what is recorded in the block."""
    heard = Heard()
    record_to(heard)
    try:
        yield heard
    finally:
        record_to(None)
