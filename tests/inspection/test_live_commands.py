"""The commands that need a server: `runs` and `watch`; no run is asked, and each needs no worker."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from temporalio.client import Client, WorkflowHandle
from typer.testing import CliRunner, Result

from anabranch.cli.main import app
from anabranch.console.run.live import LiveRuns
from anabranch.dev.devserver import FAST, DevServer
from anabranch.inspection.inspect import Inspector
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests.integration.graph_kit import PATIENCE, chain, leaf, put, until_status, worker_for

ASK: dict[str, Any] = {"type": "approval", "prompt": "Ship?"}


def never_asked(*_: Any, **__: Any) -> Any:
    raise AssertionError("a run was asked")


async def anabranch(server: DevServer, *args: object, keys: str | None = None, **environ: str) -> Result:
    """A command in a thread of this process, which may send no query."""

    def invoke() -> Result:
        with patch.object(WorkflowHandle, "query", never_asked):
            return CliRunner().invoke(
                app, [str(each) for each in args], input=keys, env={"TEMPORAL_ADDRESS": server.address} | environ
            )

    return await asyncio.to_thread(invoke)


async def test_runs_lists_what_open_runs_wait_for_and_how_the_others_ended(
    client: Client, dev_server: DevServer, task_queue: str, tmp_path: Path
) -> None:
    async with worker_for(client, task_queue, tmp_path) as served:
        waiting = await served.start({"name": "asking", **chain(a=put(x=1), ask=ASK)})
        done = await served.start(chain(a=put(x=1)))
        failed = await served.start(chain(a=leaf("break", args={"name": task_queue}, retry={"max_attempts": 1})))
        await asyncio.wait_for(done.result(), PATIENCE)
        await until_status(waiting, "ask", "waiting")
        with pytest.raises(Exception, match="Workflow execution failed"):
            await asyncio.wait_for(failed.result(), PATIENCE)
    query = f"TaskQueue = '{task_queue}'"
    listed = await until_listed(dev_server, query, {waiting.id: "waiting", done.id: "completed", failed.id: "failed"})
    assert {each["workflow_id"]: tuple(each["waits_for"]) for each in listed} == {
        waiting.id: ("approval:ask",),
        done.id: (),
        failed.id: (),
    }
    assert {each["workflow_id"]: each["graph"] for each in listed}[waiting.id] == "asking"
    some = await anabranch(dev_server, "runs", "--query", query, "--state", "waiting,failed", "--json")
    assert {each["workflow_id"] for each in json.loads(some.stdout)} == {waiting.id, failed.id}
    table = await anabranch(dev_server, "runs", "--query", query)
    assert table.stdout.splitlines()[0].split() == ["run", "graph", "state", "waits", "for", "started", "took"]
    shown = await anabranch(dev_server, "show", waiting.id)
    assert f"anabranch answer {waiting.id} ask --input" in shown.stdout
    await waiting.terminate()


async def until_listed(server: DevServer, query: str, states: dict[str, str]) -> list[dict[str, Any]]:
    """The runs, as soon as visibility has them as they are."""
    found: list[dict[str, Any]] = []
    for _ in range(200):
        done = await anabranch(server, "runs", "--query", query, "--json")
        assert done.exit_code == 0, done.stderr
        found = json.loads(done.stdout)
        if {each["workflow_id"]: each["state"] for each in found} == states:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"listed are {found}")


async def test_watch_follows_a_run_that_others_started_to_its_end(
    client: Client, dev_server: DevServer, task_queue: str, tmp_path: Path
) -> None:
    async with worker_for(client, task_queue, tmp_path) as served:
        handle = await served.start(chain(a=put(x=1), ask=ASK, b=put(y=2)))
        await until_status(handle, "ask", "waiting")
        watching = asyncio.create_task(anabranch(dev_server, "watch", handle.id, "--json"))
        await asyncio.sleep(0.5)  # it may as well begin later: then it sees the same frames at once
        await handle.execute_update("complete_task", {"node": "ask", "answer": {"ok": True}})
        told = await asyncio.wait_for(watching, PATIENCE)
    drawn = await asyncio.wait_for(anabranch(dev_server, "watch", handle.id), PATIENCE)
    frames = [json.loads(line) for line in told.stdout.splitlines()]
    assert (told.exit_code, drawn.exit_code) == (0, 0), (told.stderr, told.exception)
    assert frames[-1]["status"] == "completed"
    assert [frame["event"] for frame in frames] == sorted(frame["event"] for frame in frames)
    assert "waiting" in {frame["nodes"]["ask"]["status"] for frame in frames}
    assert [line.split()[:2] for line in drawn.stderr.splitlines()[1:4]] == [["✔", "a"], ["✔", "ask"], ["✔", "b"]]
    assert "end completed at" in " ".join(drawn.stderr.split())


async def test_watch_leaves_with_an_error_where_the_run_fails_or_is_not_there(
    client: Client, dev_server: DevServer, task_queue: str, tmp_path: Path
) -> None:
    async with worker_for(client, task_queue, tmp_path) as served:
        handle = await served.start(chain(a=leaf("break", args={"name": task_queue}, retry={"max_attempts": 1})))
        watched = await asyncio.wait_for(anabranch(dev_server, "watch", handle.id), PATIENCE)
    assert (watched.exit_code, "it is broken" in watched.stderr) == (1, True)
    nobody = await anabranch(dev_server, "watch", "nobody")
    assert (nobody.exit_code, "the server has no run 'nobody'" in nobody.stderr) == (1, True)


async def test_a_chain_that_continued_as_new_has_all_of_its_versions(task_queue: str, tmp_path: Path) -> None:
    suggests = {"limit.historyCount.suggestContinueAsNew": "24"}
    async with await DevServer.start(dynamic_config={**FAST, **suggests}) as impatient:
        await see_chain(impatient, task_queue, tmp_path)


async def see_chain(impatient: DevServer, task_queue: str, tmp_path: Path) -> None:
    connected = await connect(Settings(), target_host=impatient.address)
    body = {"nodes": {"up": put(n="{{ n + 1 }}")}}
    async with worker_for(connected, task_queue, tmp_path) as served:
        handle = await served.start(chain(loop={"type": "while", "while": "n < 12", "body": body}), {"n": 0})
        await asyncio.wait_for(handle.result(), PATIENCE)
    told = await anabranch(impatient, "history", handle.id, "--json")
    numbers = [entry["number"] for entry in json.loads(told.stdout)]
    assert numbers == [*range(1, len(numbers) + 1)]
    assert len(numbers) >= 13
    why = json.loads((await anabranch(impatient, "why", handle.id, "n", "--json")).stdout)
    assert {cause["by"] for cause in why["causes"]} >= {"loop", "loop[0]/up", "loop[11]/up", "input"}
    watched = await anabranch(impatient, "watch", handle.id, "--run-id", str(handle.first_execution_run_id), "--json")
    assert json.loads(watched.stdout.splitlines()[-1])["status"] == "completed"
    await see_chain_on_its_page(connected, handle.id, str(handle.first_execution_run_id))


async def see_chain_on_its_page(client: Client, workflow_id: str, run_id: str) -> None:
    inspector = Inspector(client.data_converter)
    live = LiveRuns(client, inspector)
    given = [(each.kind, json.loads(each.data)) async for each in live.messages(workflow_id, run_id, goes_on=True)]
    assert len(given) > 1
    assert {kind for kind, _ in given} == {"snapshot"}
    runs = [message["header"] for _, message in given]
    assert [run["next_run_id"] for run in runs[:-1]] == [run["run_id"] for run in runs[1:]]
    assert [run["status"] for run in runs] == [*["continued"] * (len(runs) - 1), "completed"]
    first = [message["versions"][0]["number"] for _, message in given if message["versions"]]
    assert first[0] == 1
    assert [each async for each in live.messages(workflow_id, run_id, goes_on=False)] != []
    await live.close()
    inspector.close()
