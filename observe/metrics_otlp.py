"""The metrics of a process, sent to an OpenTelemetry collector (OTLP over HTTP) under the names that Prometheus sees.

The SDK's core sends metrics either to a collector or to Prometheus. So that both can be had, and the probes beside
them, what Prometheus would be shown is what is sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, Final

import structlog
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from anabranch.errors import Unavailable

EVERY: Final = 15.0
"""Seconds from one export to the next."""
_SERVICE: Final = "anabranch"
_UNKNOWN: Final[Any] = None
"""What nobody has kept, and the wire format can do without."""
_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE

log = structlog.get_logger("anabranch.worker")


@asynccontextmanager
async def sending(text: Callable[[], Awaitable[bytes]], url: str, every: float = EVERY) -> AsyncGenerator[None]:
    """Send what `text` gives to a collector while the block runs, and once more at its end.

    `url` is where it takes metrics. The standard variables (`OTEL_EXPORTER_OTLP_HEADERS`, …) say the rest.
    """
    exporter = OTLPMetricExporter(url)
    began = time.time_ns()

    async def send() -> None:
        try:
            found = metrics_data((await text()).decode(), began=began, now=time.time_ns())
        except Unavailable as error:
            log.warning("metrics are not sent", reason=str(error))
        else:
            await asyncio.to_thread(exporter.export, found)  # it logs what fails

    async def send_again_and_again() -> None:
        while True:
            await asyncio.sleep(every)
            await send()

    again = asyncio.create_task(send_again_and_again())
    try:
        yield
    finally:
        again.cancel()
        await send()
        await asyncio.to_thread(exporter.shutdown)


def metrics_data(text: str, *, began: int, now: int) -> MetricsData:
    """Metrics in the text format of Prometheus as OTLP has them. Times are Unix nanoseconds."""
    shown = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    families = text_string_to_metric_families(text)
    metrics = [found for family in families for found in _metrics(family, shown, began, now)]
    scope = ScopeMetrics(InstrumentationScope(_SERVICE), metrics, "")
    return MetricsData([ResourceMetrics(Resource.create({"service.name": _SERVICE}), [scope], "")])


def _metrics(family: Family, shown: Container[str], began: int, now: int) -> Iterable[Metric]:
    if family.type == "histogram":
        points = [_histogram_point(each, began, now) for each in _by_labels(family.samples)]
        return [Metric(family.name, family.documentation, "", Histogram(points, _CUMULATIVE))]
    samples = family.samples
    if not samples:
        return []
    numbers = [NumberDataPoint(sample.labels, began, now, sample.value) for sample in samples]
    data = Sum(numbers, _CUMULATIVE, is_monotonic=True) if family.type == "counter" else Gauge(numbers)
    # The parser gives every counter the name that ends with `_total`.
    name = family.name if family.name in shown else samples[0].name
    return [Metric(name, family.documentation, "", data)]


def _by_labels(samples: Iterable[Sample]) -> Iterable[list[Sample]]:
    """The samples of each series of a histogram."""
    found: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in samples:
        key = tuple((name, value) for name, value in sorted(sample.labels.items()) if name != "le")
        found.setdefault(key, []).append(sample)
    return found.values()


def _histogram_point(samples: list[Sample], began: int, now: int) -> HistogramDataPoint:
    buckets = sorted((float(sample.labels["le"]), sample.value) for sample in samples if "le" in sample.labels)
    totals = [0.0, *(total for _, total in buckets)]
    rest = {sample.name.rpartition("_")[2]: sample.value for sample in samples if "le" not in sample.labels}
    return HistogramDataPoint(
        attributes={name: value for name, value in samples[0].labels.items() if name != "le"},
        start_time_unix_nano=began,
        time_unix_nano=now,
        count=int(rest["count"]),
        sum=rest["sum"],
        bucket_counts=[int(after - before) for before, after in pairwise(totals)],
        explicit_bounds=[bound for bound, _ in buckets[:-1]],
        min=_UNKNOWN,
        max=_UNKNOWN,
    )
