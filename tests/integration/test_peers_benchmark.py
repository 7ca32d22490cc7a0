"""Every contestant of `make peers` runs the same steps to the same result."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from anabranch.dev.devserver import DevServer
from anabranch.inspection.billing import size_of
from benchmarks.hand_written import check, state_of
from benchmarks.peers.__main__ import measure
from benchmarks.peers.contestants import Cell, Others
from benchmarks.peers.dsl import DslWorkflow, definition_of, increment
from benchmarks.peers.tables import TITLES
from benchmarks.postgres import postgres
from benchmarks.race import Course
from benchmarks.workers import usual_worker
from tests.docs.pages import ROOT

ACTIONS = {"graph": 8, "again": 8, "local": 2, "floor": 7, "usual": 7, "dsl": 7, "langgraph": 7, "dbos": 0}
"""Of a chain: a start, six activities; a graph is loaded too, by a local activity."""
DIAMOND = {name: actions + (actions > 2) for name, actions in ACTIONS.items()}
"""It has one activity more."""


@pytest.mark.parametrize("shape", ["chain", "diamond"])
async def test_hand_written_workflows_and_definitions_come_to_the_same_result(
    dev_server: DevServer, shape: str
) -> None:
    client = await Client.connect(dev_server.address)
    queue, state = uuid.uuid4().hex, state_of(400)
    dsl = Worker(client, task_queue=f"dsl-{queue}", workflows=[DslWorkflow], activities=[increment])
    async with dsl, usual_worker(client, f"usual-{queue}"):
        for name, argument in ((f"usual-{shape}", state), ("dsl", definition_of(shape, state))):
            task_queue = f"{name.partition('-')[0]}-{queue}"
            handle = await client.start_workflow(name, argument, id=f"{name}-{queue}", task_queue=task_queue)
            check(shape, state, await handle.result())
            assert (await size_of(handle)).actions == (7 if shape == "chain" else 8)


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python of the environment that `make peers` builds."""
    subprocess.run(["make", ".venv-peers/.done"], cwd=ROOT, check=True)
    return ROOT / ".venv-peers/bin/python"


@pytest.mark.slow
@pytest.mark.timeout(600)  # other libraries are installed
@pytest.mark.parametrize("cell", [Cell("chain", 0), Cell("diamond", 8_000)], ids=["chain", "diamond"])
async def test_every_contestant_is_measured_in_every_round(python: Path, cell: Cell) -> None:
    with postgres() as database:
        (outcome,) = await measure([cell], Course(rounds=2, alone=1, concurrent=2), Others(python, database))
    assert set(outcome.scores) == set(outcome.sizes) == set(TITLES)
    for score in outcome.scores.values():
        for rounds in (score.latency, score.rate, score.worker, score.server):
            assert len(rounds) == 2
            assert min(rounds) > 0
    actions = {name: size.actions for name, size in outcome.sizes.items()}
    assert actions == (ACTIONS if cell.shape == "chain" else DIAMOND)
    assert outcome.sizes["dbos"].bytes > 300
    assert outcome.sizes["usual"].bytes > outcome.sizes["floor"].bytes
