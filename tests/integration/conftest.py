"""The worker of tests that run graphs on a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path

import opentelemetry.trace
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer
from temporalio.client import Client

from anabranch import spans, tracer_provider
from anabranch.dev.devserver import FAST, DevServer
from anabranch.observe.traces import sample_by
from tests import servers
from tests.integration.databases import Bench
from tests.integration.graph_kit import MODES, SUGGESTED_AT, Served, worker_for


@pytest.fixture
def mode() -> str:
    """How the worker runs workflow code; a file whose tests run both ways overrides it."""
    return MODES[0]


@pytest.fixture(scope="session")
def impatient_server() -> Iterator[DevServer]:
    """A server that suggests to continue as new after a handful of events."""
    config = {**FAST, "limit.historyCount.suggestContinueAsNew": str(SUGGESTED_AT)}
    with servers.temporal(dynamic_config=config) as server:
        yield server


@pytest.fixture
async def served(client: Client, task_queue: str, tmp_path: Path, mode: str) -> AsyncGenerator[Served]:
    """A worker that serves a folder of the test's own."""
    async with worker_for(client, task_queue, tmp_path, mode=mode) as running:
        yield running


@pytest.fixture(scope="session")
def recorder() -> tuple[InMemorySpanExporter, Tracer]:
    """What keeps the spans of this process, and what makes them: a process has one provider of spans, for ever."""
    kept = InMemorySpanExporter()
    provider = tracer_provider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    opentelemetry.trace.set_tracer_provider(provider)
    return kept, provider.get_tracer("anabranch")


@pytest.fixture
def exported(recorder: tuple[InMemorySpanExporter, Tracer]) -> Iterator[InMemorySpanExporter]:
    """The spans of one test."""
    kept, tracer = recorder
    kept.clear()
    spans.record_to(tracer)
    sample_by(lambda parent, trace_id: True)
    yield kept
    spans.record_to(None)
    sample_by(None)


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[Bench]:
    bench = Bench(postgres_url)
    await bench.create()
    yield bench
    await bench.run("drop table stock")
    await bench.activity.aclose()


@pytest.fixture
async def mysql(mysql_url: str) -> AsyncIterator[Bench]:
    bench = Bench(mysql_url)
    await bench.create()
    yield bench
    await bench.run("drop table stock", idempotent=False)
    await bench.activity.aclose()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(f"sqlite:///{tmp_path / 'test.sqlite'}")
    await bench.create()
    yield bench
    await bench.activity.aclose()


@pytest.fixture(params=["postgres", "sqlite", "mysql"])
def bench(request: pytest.FixtureRequest) -> Bench:
    chosen: Bench = request.getfixturevalue(request.param)
    return chosen
