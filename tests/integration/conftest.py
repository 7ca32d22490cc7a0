"""The worker of tests that run graphs on a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from temporalio.client import Client

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
