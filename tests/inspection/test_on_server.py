"""Inspected from a server: runs by chance, with their worker and without it; what only the server knows."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHistory

from anabranch.dev.devserver import DevServer
from anabranch.errors import EncryptionKeyMissing, InputError, PayloadMissing
from anabranch.inspection.history import History
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.inspection import Inspection, status_of
from anabranch.inspection.runs import Runs
from anabranch.inspection.why import Why
from anabranch.settings import Settings
from anabranch.testkit.rules import rule_evaluator
from anabranch.transport.client import connect, converter_for
from anabranch.transport.converter import data_converter
from anabranch.transport.search_attributes import SEARCH_ATTRIBUTES, key_of
from anabranch.workflows.interpreter.commands import RunNode
from anabranch.workflows.interpreter.run_time import TIMED_OUT
from tests import servers
from tests.encryption_keys import key
from tests.inspection.test_frames import compare
from tests.integration import trials
from tests.integration.graph_kit import PATIENCE, chain, gate, leaf, put, until_status, worker_for
from tests.integration.hurried import hurried
from tests.integration.rehearsed import Rehearsed, rehearse
from tests.integration.stage import NOT_OVER, stage
from tests.unit.varied import ATTRIBUTES

BRINGING = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
    EventType.EVENT_TYPE_TIMER_FIRED,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
}
"""Events by which a run goes on."""


@pytest.fixture(scope="module")
def dev_server() -> Iterator[DevServer]:
    """A server that has the search attributes of the graphs; other tests count on one that has none."""
    keys = (*SEARCH_ATTRIBUTES, *(key_of(name, kind) for name, kind in ATTRIBUTES.items()))
    with servers.temporal(search_attributes=keys) as server:
        yield server


@pytest.fixture
async def runs(client: Client) -> AsyncIterator[Runs]:
    inspector = Inspector(client.data_converter)
    yield Runs(client, inspector)
    inspector.close()


def by_chance(count: int, seed: int) -> dict[str, Rehearsed]:
    """Random graphs with much around them, and of those that undo something the same, cancelled at some moment."""
    chance, found = random.Random(seed), dict[str, Rehearsed]()
    with rule_evaluator(Settings()) as evaluate:
        for name, trial in trials.varied(count, seed):
            plain = rehearse(hurried(trial, evaluate), evaluate)
            ended = [step.work.address for step in plain.played.timeline if isinstance(step.work, RunNode)]
            if plain.played.refused is None and ended:
                script = replace(plain.trial.script, cancel_after=chance.choice(ended))
                cancelled = rehearse(replace(plain.trial, script=script), evaluate)
                if cancelled.played.undone:
                    found[f"{name} cancelled"] = cancelled
            found[name] = plain
    return found


def some(rehearsed: dict[str, Rehearsed], count: int) -> dict[str, Rehearsed]:
    """The first so many, and so many of those that are cancelled."""
    cancelled = [name for name in rehearsed if name.endswith(" cancelled")][:count]
    return {name: rehearsed[name] for name in (*cancelled, *[*rehearsed][:count])}


async def played(client: Client, queue: str, rehearsed: dict[str, Rehearsed]) -> list[str]:
    """Play them on a server; the workflow ids of those for which a busy machine had the time. No worker is left."""
    async with stage(client, queue) as staged:
        ends = await asyncio.gather(*(staged.run(name, each) for name, each in rehearsed.items()))
    return [f"{name} on {queue}" for name, end in zip(rehearsed, ends, strict=True) if end.status != NOT_OVER]


async def check_frames(runs: Runs, workflow_ids: Sequence[str], *, every: int) -> list[Inspection]:
    """Compare frames of each run with what a worker answers, and the run with its exported file."""
    found = []
    for workflow_id in workflow_ids:
        history = await runs.history(workflow_id)
        inspection = await runs.inspect(workflow_id)
        await compare(inspection, history, [*range(len(inspection.frames))][::-every])
        exported = History.from_json(_exported(history))
        assert (exported.workflow_id, exported.run_id) == (workflow_id, inspection.run_id)
        again = await Inspector(data_converter()).inspect(exported)
        assert [status_of(again, index) for index in range(len(again.frames))] == [
            status_of(inspection, index) for index in range(len(inspection.frames))
        ]
        found.append(inspection)
    return found


def _exported(history: History) -> str:
    return WorkflowHistory(history.workflow_id, history.events).to_json()


async def check_undo(runs: Runs, workflow_ids: Sequence[str]) -> int:
    """Compare the plan at the cancel of each run with what was undone; returns how many steps that were."""
    count = 0
    inspector = Inspector(data_converter())
    for workflow_id in workflow_ids:
        history = await runs.history(workflow_id)
        if (cancel := cancelled_alone(history)) is None:
            continue
        before = await inspector.inspect(history.until(cancel))
        if (plan := before.undo_plan) is None or plan.is_over:
            continue
        whole = await runs.inspect(workflow_id)
        later = [visit.address for visit in whole.visits[len(before.visits) :]]
        undone = [address.removeprefix("undo ") for address in later if address.startswith("undo ")]
        begun = {f"undo {step.address}" for step in plan.steps} & {visit.address for visit in before.visits}
        steps = [step for step in plan.steps if f"undo {step.address}" not in begun]  # it had failed by itself before
        planned, certain = [step.address for step in steps], {step.address for step in steps if step.is_certain}
        assert certain <= set(undone) <= set(planned), (workflow_id, whole.status)
        # Those under way are cancelled by the server, and tell in an order of their own that they are.
        assert [each for each in undone if each in certain] == [each for each in planned if each in certain], (
            workflow_id
        )
        count += len(undone)
    return count


def cancelled_alone(history: History) -> int | None:
    """The event of a run's cancel; None where there is none, or where something else came in the same workflow task."""
    kinds = [event.event_type for event in history.events]
    if EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED not in kinds:
        return None
    cancel = kinds.index(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
    begins = [index for index, kind in enumerate(kinds) if kind == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED]
    before, after = max(each for each in begins if each < cancel), min(each for each in begins if each > cancel)
    return None if any(kind in BRINGING for kind in kinds[before:after]) else cancel + 1


async def test_random_graphs_are_seen_as_their_workers_saw_them_and_undone_as_planned(
    client: Client, runs: Runs, task_queue: str
) -> None:
    workflow_ids = await played(client, task_queue, some(await asyncio.to_thread(by_chance, 60, 1), 3))
    found = await check_frames(runs, workflow_ids, every=3)
    assert {inspection.status for inspection in found} >= {"completed", "cancelled"}
    assert await check_undo(runs, workflow_ids) > 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_two_hundred_random_graphs_are_seen_and_undone_so(client: Client, runs: Runs, task_queue: str) -> None:
    workflow_ids = await played(client, task_queue, await asyncio.to_thread(by_chance, 520, 2))
    assert len(workflow_ids) >= 200
    await check_frames(runs, workflow_ids, every=1)
    assert await check_undo(runs, workflow_ids) > 100
    counted = await around(runs, workflow_ids)
    wanted = {"receive", "emit", "ai", "graph", "foreach", "block", "while", "retried", "finally", "undo python"}
    wanted |= {"spent", "time is up", "events left", "search attributes"}
    assert {what: counted[what] for what in wanted if counted[what] < 5} == {}


async def around(runs: Runs, workflow_ids: Sequence[str]) -> Counter[str]:
    """In how many of these runs there was what happens around one."""
    counted = Counter[str]()
    for workflow_id in workflow_ids:
        inspection, history = await runs.inspect(workflow_id), await runs.history(workflow_id)
        ended = [visit for visit in inspection.visits if visit.ended is not None]
        counted.update({visit.type for visit in ended if visit.failure is None})
        counted.update({f"undo {visit.type}" for visit in ended if visit.address.startswith("undo ")})
        counted.update({"retried" for visit in ended if "~2" in visit.address})
        counted.update({"finally" for visit in ended if "/finally/" in visit.address})
        counted.update({"spent" for _ in inspection.last.usage[:1]})
        failure, warned = inspection.last.failure, {by for by, _ in inspection.last.warnings}
        counted.update({"time is up"} if failure is not None and failure.code == TIMED_OUT else ())
        counted.update({"events left"} if "(events)" in warned else ())
        kind = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
        counted.update({"search attributes" for event in history.events if event.event_type == kind})
    return counted


async def test_a_run_in_flight_is_seen_as_its_worker_answers_and_the_server_tells_of_its_attempts(
    client: Client, runs: Runs, task_queue: str, tmp_path: Path
) -> None:
    retry = {"max_attempts": 3, "initial_interval": "1h"}
    async with worker_for(client, task_queue, tmp_path) as served, gate("inspected"):
        graph = chain(first=put(x=1), slow=leaf("pass_gate", args={"name": "inspected"}))
        graph["nodes"]["broken"] = leaf("break", args={"name": "inspected", "how": "unavailable"}, retry=retry)
        handle = await served.start(graph)
        told = await until_status(handle, "slow", "running")
        inspection = await runs.inspect(handle.id)
        assert status_of(inspection) == told
        pending = await until_pending(runs, inspection)
        assert [(each.address, each.is_running, each.attempt) for each in pending] == [
            ("broken", False, 2),
            ("slow", True, 1),
        ]
        assert pending[0].failure is not None
        assert (pending[0].failure.code, pending[0].max_attempts, pending[0].queue) == ("UNAVAILABLE", 3, task_queue)
        await handle.terminate(reason="enough")
    ended = await runs.inspect(handle.id)
    assert (ended.status, ended.last.status) == ("terminated", "running")
    assert ended.closing is not None
    assert ended.closing.error == {"code": "TERMINATED", "message": "the run was terminated: enough"}


async def until_pending(runs: Runs, inspection: Inspection) -> list[Any]:
    found: list[Any] = []
    for _ in range(400):
        found = sorted(await runs.pending(inspection), key=lambda each: each.address)
        if [each.attempt for each in found] == [2, 1]:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"the attempts are others: {found}")


async def test_a_run_that_the_server_does_not_have_is_refused(runs: Runs) -> None:
    with pytest.raises(InputError, match="the server has no run 'nobody'"):
        await runs.inspect("nobody")


async def test_what_is_encrypted_needs_the_key(dev_server: DevServer, task_queue: str, tmp_path: Path) -> None:
    settings = Settings(encryption_keys=SecretStr(key()))
    client = await connect(settings, target_host=dev_server.address, namespace="default", api_key=None, tls=False)
    async with worker_for(client, task_queue, tmp_path, encryption_keys=settings.encryption_keys) as served:
        handle = await served.start(chain(a=put(x=1)))
        await asyncio.wait_for(handle.result(), PATIENCE)
    inspector = Inspector(client.data_converter)
    assert (await Runs(client, inspector).inspect(handle.id)).last.context == {"x": 1}
    with pytest.raises(EncryptionKeyMissing):
        await Runs(client, Inspector(converter_for(Settings()))).inspect(handle.id)


async def test_what_is_offloaded_needs_the_store(
    dev_server: DevServer, valkey_url: str, task_queue: str, tmp_path: Path
) -> None:
    stored: dict[str, Any] = {"payload_store_url": valkey_url, "payload_store_threshold_bytes": 1024}
    settings = Settings(**stored)
    client = await connect(settings, target_host=dev_server.address, namespace="default", api_key=None, tls=False)
    async with worker_for(client, task_queue, tmp_path, **stored) as served:
        fill = leaf("fill", args={"key": "k", "size": 20_000, "seed": 1})
        handle = await served.start(chain(fill=fill))
        await asyncio.wait_for(handle.result(), PATIENCE)
    inspection = await Runs(client, Inspector(client.data_converter)).inspect(handle.id)
    assert len(str(inspection.last.context["k"])) == 20_000
    storage = client.data_converter.external_storage
    assert storage is not None
    driver: Any = storage.drivers[0]
    await driver._redis.aclose()
    with pytest.raises(PayloadMissing):
        await Runs(client, Inspector(converter_for(Settings()))).inspect(handle.id)


async def test_why_an_order_was_declined_names_the_rule_the_score_the_model_call_and_the_inputs(
    client: Client, runs: Runs, task_queue: str
) -> None:
    rehearsed = await asyncio.to_thread(order)
    (workflow_id,) = await played(client, task_queue, {"declined": rehearsed})
    inspection = await runs.inspect(workflow_id)
    why = Why(inspection, inspection.lineage)
    found = why.path(("order_status",))
    by_writer = {cause.by: cause for cause in found.causes}
    assert found.value == "declined"
    rule, judged = by_writer["decide_order"], by_writer["process_payment"]
    assert rule.did[0].endswith("otherwise")
    assert rule.did[1].endswith("did not hold")
    assert {read.path: read.value for read in rule.reads}["action"] == "DECLINE"
    assert judged.wrote["fraud_score"] == 97
    assert judged.did[0] == "model openai:gpt-4"
    assert judged.did[-1].startswith("prompt Customer CUST-103 pays by prepaid card")
    assert {read.path for read in judged.reads} >= {"customer_id", "order_total", "payment_method"}
    assert by_writer["input"].wrote["order_total"] == 48999.0
    skipped = why.node("mark_out_of_stock")
    (edge,) = skipped.conditions
    assert (edge.source, edge.held) == ("check_inventory", False)
    assert [(value.path, value.value) for value in edge.values] == [("in_stock", True)]


def order() -> Rehearsed:
    """The order of the examples that is declined."""
    with rule_evaluator(Settings()) as evaluate:
        trial = dict(trials.examples())["order_processing-1"]
        return rehearse(hurried(trial, evaluate), evaluate)
