"""Where the metrics of a process are kept: in the runtime of Temporal's SDK, beside the SDK's own.

So ours and the SDK's come out together, at one address or to one OpenTelemetry collector, and recording costs about a
microsecond. What workflow code records is counted once: nothing is recorded while a history is replayed.
"""

from __future__ import annotations

import asyncio
import http.client
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Final, Self

from temporalio import workflow
from temporalio.common import MetricMeter
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from anabranch.errors import AnabranchError, Unavailable
from anabranch.loopback import LOOPBACK, free_port
from anabranch.observe.metrics import Metric, buckets, record_to, recorder

OTHER: Final = "(other)"
"""The label of what is not known to be one of few."""
MAX_SERIES: Final = 2000
"""Of one metric. What comes later is counted together."""
_KNOWN_SECONDS: Final = 5.0
_STARTS: Final = 5
_ANSWER_SECONDS: Final = 5.0

Names = Callable[[], Iterable[str]]
"""The graphs that a worker serves, as they are now."""


class MeterRecorder:
    """Records to a meter of the SDK.

    A graph that no worker of the process serves (a start brought it) is counted as `(other)`, with all of its nodes:
    whoever starts runs does not decide how many series there are.
    """

    def __init__(self, meter: MetricMeter) -> None:
        self.meter = meter
        self._names: list[Names] = []
        self._known: frozenset[str] = frozenset()
        self._looked = -_KNOWN_SECONDS
        self._series: dict[tuple[str, tuple[str, ...]], Callable[[float], None]] = {}
        self._counts: Counter[str] = Counter()
        self._turn = Lock()

    def serve(self, names: Names) -> None:
        """Runs of these graphs too are counted under their names."""
        self._names.append(names)
        self._looked = time.monotonic() - _KNOWN_SECONDS

    def record(self, metric: Metric, value: float, labels: tuple[str, ...]) -> None:
        """See `Recorder`."""
        if not (workflow.in_workflow() and workflow.unsafe.is_replaying()):
            self._of(metric, labels)(value)

    def _of(self, metric: Metric, labels: tuple[str, ...]) -> Callable[[float], None]:
        if metric.of_graph and labels[0] not in self._known and not self._is_served(labels[0]):
            labels = tuple(
                OTHER if name in _GRAPHS_OWN else each for name, each in zip(metric.labels, labels, strict=True)
            )
        found = self._series.get((metric.name, labels))
        return self._open(metric, labels) if found is None else found

    def _is_served(self, graph: str) -> bool:
        """Whether a graph has come to be known: its file may be new."""
        now = time.monotonic()
        if now - self._looked < _KNOWN_SECONDS:
            return False
        self._looked = now
        try:
            self._known = frozenset(name for names in self._names for name in names())
        except AnabranchError:  # the folder is gone for now
            return False
        return graph in self._known

    def _open(self, metric: Metric, labels: tuple[str, ...]) -> Callable[[float], None]:
        with self._turn:
            if self._counts[metric.name] >= MAX_SERIES:
                labels = (OTHER,) * len(labels)
            key = (metric.name, labels)
            if key not in self._series:
                self._counts[metric.name] += 1
                self._series[key] = _series(self.meter, metric, dict(zip(metric.labels, labels, strict=True)))
            return self._series[key]


_GRAPHS_OWN: Final = frozenset({"graph", "node", "breaker", "model"})
"""The labels whose values the author of a graph chooses."""


def _series(meter: MetricMeter, metric: Metric, labels: dict[str, str]) -> Callable[[float], None]:
    """What takes the values of one series."""
    if metric.kind == "counter":
        counter = meter.create_counter(metric.name, metric.meaning).with_additional_attributes(labels)
        return lambda value: counter.add(int(value))
    if metric.kind == "gauge":
        gauge = meter.create_gauge(metric.name, metric.meaning).with_additional_attributes(labels)
        return lambda value: gauge.set(int(value))
    if metric.unit == "seconds":
        times = meter.create_histogram_float(metric.name, metric.meaning).with_additional_attributes(labels)
        return times.record
    sizes = meter.create_histogram(metric.name, metric.meaning).with_additional_attributes(labels)
    return lambda value: sizes.record(int(value))


def record_on(runtime: Runtime, names: Names) -> None:
    """Record to the runtime's metrics, if it has any; `names` are those of the graphs that its worker serves."""
    meter = runtime.metric_meter
    if meter is MetricMeter.noop:
        return
    known = recorder()
    if not isinstance(known, MeterRecorder) or known.meter is not meter:
        record_to(known := MeterRecorder(meter))
    known.serve(names)


@dataclass(frozen=True, slots=True)
class Registry:
    """A runtime of the SDK with metrics, and where it shows them to this process."""

    runtime: Runtime
    port: int

    @classmethod
    def start(cls) -> Self:
        """Start a runtime. Raises Unavailable where no port can be had for it."""
        for _ in range(_STARTS):
            port = free_port()
            config = PrometheusConfig(
                bind_address=f"{LOOPBACK}:{port}", durations_as_seconds=True, histogram_bucket_overrides=buckets()
            )
            try:
                return cls(Runtime(telemetry=TelemetryConfig(metrics=config, attach_service_name=False)), port)
            except ValueError:  # another process was faster to take the port
                continue
        raise Unavailable("no port could be had for the metrics of Temporal's SDK", place=LOOPBACK)

    async def text(self) -> bytes:
        """Every metric, in the text format of Prometheus. Raises Unavailable."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> bytes:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=_ANSWER_SECONDS)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"the SDK does not show its metrics: {error}", place=f"{LOOPBACK}:{self.port}") from error
        finally:
            connection.close()
