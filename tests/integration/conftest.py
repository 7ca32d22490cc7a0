"""The worker of tests that run graphs on a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.integration.databases import Bench
from tests.integration.graph_kit import MODES, Served, worker_for


@pytest.fixture
def mode() -> str:
    """How the worker runs workflow code; a file whose tests run both ways overrides it."""
    return MODES[0]


@pytest.fixture
async def served(client: Client, task_queue: str, tmp_path: Path, mode: str) -> AsyncGenerator[Served]:
    """A worker that serves a folder of the test's own."""
    async with worker_for(client, task_queue, tmp_path, mode=mode) as running:
        yield running


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
