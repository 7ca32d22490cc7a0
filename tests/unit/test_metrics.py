"""What is recorded outside of a server, and how the series are kept few."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import timedelta

from temporalio.runtime import Runtime, TelemetryConfig

from anabranch.activities.guards.breaker import Breakers, InMemoryBreakers
from anabranch.activities.guards.node_cache import InMemoryResults, NodeResults
from anabranch.context.cache.cache import DistributedCache
from anabranch.context.changes import ChangeSet
from anabranch.context.distributed import DistributedContext
from anabranch.context.stores.memory import InMemoryStore
from anabranch.errors import Unavailable
from anabranch.graph.policies import CircuitBreaker
from anabranch.observe import metrics
from anabranch.observe.metrics_otlp import metrics_data
from anabranch.observe.metrics_registry import MAX_SERIES, OTHER, MeterRecorder, Registry, record_on
from tests.metrics_kit import Shown, hearing


def context(name: str) -> DistributedContext:
    return DistributedContext(name, {"n": 1})


async def test_nothing_is_recorded_unless_it_is_asked_for() -> None:
    assert not metrics.is_on()
    metrics.count(metrics.CONFLICTS, "g", "last_write_wins")
    assert metrics.recorder() is None


async def test_each_context_that_is_encoded_or_decoded_is_timed_and_weighed() -> None:
    with hearing() as heard:
        packed = context("s").serialize()
        DistributedContext.deserialize(packed)
        DistributedContext.deserialize_many([packed, packed])
    assert heard.values(metrics.CONTEXT_BYTES) == [(len(packed), ("context",))]
    assert [labels for _, labels in heard.values(metrics.SERIALIZE)] == [("context",)]
    assert [labels for _, labels in heard.values(metrics.DESERIALIZE)] == [("context",)] * 3
    assert all(0 < seconds < math.inf for seconds, _ in heard.values(metrics.DESERIALIZE))


async def test_reads_of_a_cache_are_hits_or_misses_by_tier_and_strategy() -> None:
    cache = DistributedCache(InMemoryStore(), InMemoryStore(), strategy="read_through")
    with hearing() as heard:
        await cache.put(context("a"))
        await cache.get("a")
        await cache.get("a")
        await cache.get_many(["a", "b"])
    assert heard.total(metrics.CACHE_HITS, "cache", "read_through") == cache.stats().hits == 2
    assert heard.total(metrics.CACHE_MISSES, "cache", "read_through") == cache.stats().misses == 2
    await cache.aclose()


async def test_what_write_behind_has_still_to_write_is_a_gauge_of_the_process() -> None:
    cache = DistributedCache(InMemoryStore(), InMemoryStore(), strategy="write_behind", linger=60)
    with hearing() as heard:
        await cache.put_many([context("a"), context("b")])
        assert await cache.get("a") is not None
        assert heard.values(metrics.WRITE_BEHIND)[-1] == (2, ())
        await cache.flush()
        assert heard.values(metrics.WRITE_BEHIND)[-1] == (0, ())
    assert heard.total(metrics.CACHE_HITS, "queue", "write_behind") == 1
    await cache.aclose()


async def test_a_reused_result_of_a_node_is_a_hit() -> None:
    results = NodeResults(InMemoryResults())

    async def compute() -> ChangeSet:
        return ChangeSet(0, {("a",): 1})

    with hearing() as heard:
        for _ in range(3):
            await results.through("key", timedelta(hours=1), compute)
    assert heard.total(metrics.CACHE_HITS, "node", "ttl") == 2
    assert heard.total(metrics.CACHE_MISSES, "node", "ttl") == 1


async def test_a_breaker_shows_how_the_last_call_met_it() -> None:
    clock = [0.0]
    policy = CircuitBreaker.model_validate({"failures": 1, "window": "10s", "reset": "5s"})
    breakers = Breakers(InMemoryBreakers(lambda: clock[0]))
    states: list[float] = []

    async def call(error: Exception | None = None) -> None:
        try:
            async with breakers.guard("bank", policy, graph="pay"):
                if error is not None:
                    raise error
        except Unavailable:
            pass
        states.append(heard.values(metrics.BREAKER_STATE)[-1][0])

    with hearing() as heard:
        await call()
        await call(Unavailable("down"))  # opens it, which the next call meets
        await call()
        clock[0] = 6
        await call(Unavailable("down"))  # the probe
        await call()
        clock[0] = 12
        await call()
    closed, half_open, opened = 0, 1, 2
    assert states == [closed, closed, opened, opened, opened, closed]
    assert half_open in [value for value, _ in heard.values(metrics.BREAKER_STATE)]
    assert heard.total(metrics.BREAKER_REFUSALS, "pay", "bank") == 2


def test_the_address_of_a_node_in_a_body_names_no_turn() -> None:
    assert metrics.node_label("pack[3]/weigh[12]/scale") == "pack/weigh/scale"


async def test_graphs_that_nobody_serves_and_series_beyond_the_limit_are_counted_together() -> None:
    registry = Registry.start()
    recorder = MeterRecorder(registry.runtime.metric_meter)
    served = ["order"]
    recorder.serve(lambda: served)
    for number in range(50):
        recorder.record(metrics.NODE_RUNS, 1, (f"brought{number}", f"n{number}", "rule", "succeeded"))
    recorder.record(metrics.NODE_RUNS, 1, ("order", "check", "rule", "succeeded"))
    for number in range(MAX_SERIES + 7):
        recorder.record(metrics.BREAKER_REFUSALS, 1, ("order", f"b{number}"))
    shown = Shown(await registry.text())
    assert shown.by("anabranch_node_runs_total", "graph", "node") == {(OTHER, OTHER): 50, ("order", "check"): 1}
    refusals = shown.by("anabranch_breaker_refusals_total", "graph", "breaker")
    assert len(refusals) == MAX_SERIES + 1
    assert refusals[OTHER, OTHER] == 7


def test_a_runtime_without_metrics_records_nothing() -> None:
    record_on(Runtime(telemetry=TelemetryConfig()), tuple)
    assert metrics.recorder() is None


async def test_every_metric_is_shown_by_its_name_with_its_labels_and_buckets() -> None:
    registry = Registry.start()
    recorder = MeterRecorder(registry.runtime.metric_meter)
    recorder.serve(lambda: ["g"])
    for metric in metrics.CATALOGUE.values():
        recorder.record(metric, 1, tuple("g" if label == "graph" else f"a {label}" for label in metric.labels))
    shown = Shown(await registry.text())
    for metric in metrics.CATALOGUE.values():
        labels = {label: "g" if label == "graph" else f"a {label}" for label in metric.labels}
        if metric.kind == "histogram":
            found = {float(key[0]) for key in shown.by(f"{metric.name}_bucket", "le")}
            assert found == {*metric.buckets, math.inf}, metric.name
            assert shown.value(f"{metric.name}_sum", **labels) == 1, metric.name
        else:
            assert shown.value(metric.name, **labels) == 1, metric.name


TEXT = """\
# HELP runs_total Runs.
# TYPE runs_total counter
runs_total{graph="order"} 3
# HELP request Of the SDK.
# TYPE request counter
request 5
# HELP pending Pending.
# TYPE pending gauge
pending 2
# HELP node_seconds Time.
# TYPE node_seconds histogram
node_seconds_bucket{graph="a",le="0.5"} 1
node_seconds_bucket{graph="a",le="1"} 3
node_seconds_bucket{graph="a",le="+Inf"} 4
node_seconds_sum{graph="a"} 9.5
node_seconds_count{graph="a"} 4
"""


def test_a_collector_is_told_what_prometheus_sees() -> None:
    (resource,) = metrics_data(TEXT, began=1, now=2).resource_metrics
    sent = {metric.name: asdict(metric.data)["data_points"] for metric in resource.scope_metrics[0].metrics}
    assert resource.resource.attributes["service.name"] == "anabranch"
    (runs,) = sent["runs_total"]
    assert (runs["attributes"], runs["value"]) == ({"graph": "order"}, 3)
    assert (runs["start_time_unix_nano"], runs["time_unix_nano"]) == (1, 2)
    assert [point["value"] for point in sent["request"]] == [5]
    assert [point["value"] for point in sent["pending"]] == [2]
    (times,) = sent["node_seconds"]
    assert times["attributes"] == {"graph": "a"}
    assert (times["count"], times["sum"]) == (4, 9.5)
    assert (times["bucket_counts"], times["explicit_bounds"]) == ([1, 2, 1], [0.5, 1.0])
