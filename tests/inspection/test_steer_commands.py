"""The commands that tell a run something, on a real server; no run is asked by a query."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from typer.testing import Result

from anabranch.cli import report, steer, steered
from anabranch.cli.steered import Steered, Steering
from anabranch.dev.devserver import FAST, DevServer
from anabranch.errors import InputError
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests.command import ROOT
from tests.inspection.test_live_commands import anabranch
from tests.integration.graph_kit import (
    PATIENCE,
    Handle,
    Served,
    chain,
    diamond,
    error_of,
    events,
    leaf,
    put,
    until_status,
    worker_for,
)

ASK = {"context": {"conflict_resolution": "fail_on_conflict"}}
SHIP: dict[str, Any] = {
    "type": "approval",
    "prompt": "Ship {{ item }}?",
    "schema": {
        "type": "object",
        "required": ["approved"],
        "properties": {"approved": {"type": "boolean"}, "note": {"type": "string"}},
    },
}
FORGETFUL = {"type": "rule", "on_failure": "pause", "rules": [{"then": {"done": "{{ context.by_whom }}"}}]}
ACCEPTED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED


@pytest.fixture
async def served(client: Client, task_queue: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with worker_for(client, task_queue, tmp_path) as running:
        yield running


async def data_of(handle: Handle) -> dict[str, Any]:
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    data: dict[str, Any] = result["data"]
    return data


async def said(handle: Handle, kind: EventType.ValueType) -> list[HistoryEvent]:
    return [event for event in await events(handle) if event.event_type == kind]


async def refused(server: DevServer, handle: Handle, *args: object) -> str:
    """What a command says that is refused: nothing of it enters the history."""
    before = len(await events(handle))
    done = await anabranch(server, *args)
    assert done.exit_code == 1, (args, done.output, done.exception)
    assert len(await events(handle)) == before
    return " ".join(done.stderr.split())


def told(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, (done.output, done.exception)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


async def test_answer_takes_the_only_approval_and_names_who_answered(served: Served, dev_server: DevServer) -> None:
    handle = await served.start(chain(ask=SHIP, b=put(y=2)), {"item": "tea"})
    await until_status(handle, "ask", "waiting")
    answer = await anabranch(dev_server, "answer", handle.id, "--approve", "note=with care", "--by", "ada", "--json")
    assert told(answer).items() >= {"workflow_id": handle.id, "node": "ask"}.items()
    assert await data_of(handle) == {"item": "tea", "approved": True, "note": "with care", "y": 2}
    shown = " ".join((await anabranch(dev_server, "show", handle.id)).stdout.split())
    assert "answered by ada approved, note" in shown
    table = (await anabranch(dev_server, "history", handle.id)).stdout
    assert "answered by ada" in table
    assert "answered by ada" in (await anabranch(dev_server, "why", handle.id, "note")).stdout
    (accepted,) = await said(handle, ACCEPTED)
    meta = accepted.workflow_execution_update_accepted_event_attributes.accepted_request.meta
    assert (meta.identity, meta.update_id) == ("ada", told(answer)["update_id"])


async def test_wrong_answers_are_refused_before_they_are_sent(served: Served, dev_server: DevServer) -> None:
    handle = await served.start(chain(a=put(x=1), ask=SHIP), {"item": "tea"})
    await until_status(handle, "ask", "waiting")

    async def refusal(*args: object) -> str:
        return await refused(dev_server, handle, "answer", handle.id, *args)

    assert await refusal("approved=perhaps") == (
        "error[SCHEMA_VIOLATION]: node 'ask': approved: 'perhaps' is not of type 'boolean' "
        "help: the answer must match the schema in the graph"
    )
    assert "error[INPUT_INVALID]: node 'a' is not an approval help: waiting are: ask" in await refusal("a", "--reject")
    assert "error[INPUT_INVALID]: no approval 'b' is under way" in await refusal("b", "x=1")
    assert "error[INPUT_INVALID]: --input: this is not JSON" in await refusal("--input", "{approved")
    assert await refusal() == (
        "error[INPUT_INVALID]: node 'ask': the answer is missing "
        f'help: anabranch answer {handle.id} ask --input \'{{"approved": true, "note": "…"}}\''
    )
    assert "no conflict waits" in await refused(dev_server, handle, "resolve", handle.id, "--choose", "a")
    assert f"anabranch answer {handle.id} ask" in await refused(dev_server, handle, "retry", handle.id)
    told(await anabranch(dev_server, "answer", handle.id, "ask", "--input", '{"approved": false}', "--json"))
    assert (await data_of(handle))["approved"] is False
    assert "the run is over" in await refusal("ask", "--approve")
    nobody = await anabranch(dev_server, "answer", "nobody", "--approve")
    assert (nobody.exit_code, "the server has no run 'nobody'" in nobody.stderr) == (1, True)


async def test_of_two_answers_that_race_one_is_taken(
    served: Served, dev_server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", dev_server.address)
    handle = await served.start(chain(ask=SHIP, b=put(y=2)), {"item": "tea"})
    await until_status(handle, "ask", "waiting")
    told = [await Steered.open(Steering(handle.id, None, by)) for by in ("ada", "bob")]
    answers: list[dict[str, Any]] = [{"node": "ask", "answer": {"approved": each}} for each in (True, False)]
    done = await asyncio.gather(
        *(each.update("complete_task", answer) for each, answer in zip(told, answers, strict=True)),
        return_exceptions=True,
    )
    (lost,) = [each for each in done if isinstance(each, BaseException)]
    assert isinstance(lost, InputError)
    assert (await data_of(handle))["approved"] is (lost is done[1])
    assert len(await said(handle, ACCEPTED)) == 1


async def test_an_update_that_was_sent_before_is_taken_once(served: Served, dev_server: DevServer) -> None:
    handle = await served.start(chain(ask=SHIP, more=SHIP), {"item": "tea"})
    await until_status(handle, "ask", "waiting")
    command = ("answer", handle.id, "ask", "--approve", "--update-id", "mine", "--json")
    first = told(await anabranch(dev_server, *command))
    await until_status(handle, "more", "waiting")
    assert told(await anabranch(dev_server, *command)) == first
    assert len(await said(handle, ACCEPTED)) == 1
    await handle.terminate()
    assert told(await anabranch(dev_server, *command)) == first


async def test_an_answer_goes_to_the_run_that_was_looked_at_and_to_no_later_one(
    served: Served, dev_server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", dev_server.address)
    handle = await served.start(chain(ask=SHIP), {"item": "tea"})
    await until_status(handle, "ask", "waiting")
    looked_at = await Steered.open(Steering(handle.id, None, "ada"))
    await handle.terminate()
    graph = {"name": "g", **chain(ask=SHIP)}
    later: Handle = await served.client.start_workflow(
        "GraphWorkflow", {"graph": graph, "data": {"item": "gold"}}, id=handle.id, task_queue=served.task_queue
    )
    await until_status(later, "ask", "waiting")
    with pytest.raises(InputError, match="the run is over"):
        await looked_at.update("complete_task", {"node": "ask", "answer": {"approved": True}})
    assert await said(later, ACCEPTED) == []
    await later.terminate()


async def test_a_child_workflow_is_answered_at_itself(served: Served, dev_server: DevServer) -> None:
    served.write("inner", json.dumps({"name": "inner", "nodes": {"ask": SHIP}}))
    handle = await served.start(
        {"nodes": {"sub": {"type": "graph", "graph": "inner", "mode": "child_workflow"}}}, {"item": "x"}
    )
    child: Handle = served.client.get_workflow_handle(f"{handle.id}/sub")
    await until_status(child, "ask", "waiting")
    await until_status(handle, "sub", "running")
    at_parent = await refused(dev_server, handle, "answer", handle.id, "--approve")
    assert f"a child workflow asks at itself; under way are '{child.id}'" in at_parent
    told(await anabranch(dev_server, "answer", child.id, "--approve", "--json"))
    assert (await data_of(handle))["approved"] is True


async def test_a_cancel_that_cannot_undo_everything_is_told_by_its_exit_code(
    served: Served, dev_server: DevServer
) -> None:
    undo = leaf("break", args={"name": served.task_queue}, retry={"max_attempts": 1})
    handle = await served.start({"saga": {}, **chain(book=put(x=1) | {"compensate": undo}, ask=SHIP)}, {"item": "tea"})
    await until_status(handle, "ask", "waiting")
    named = await anabranch(dev_server, "cancel", handle.id, "--yes", "--by", " ada")
    assert (named.exit_code, "`by` is a name of at most 100 printable characters" in named.stderr) == (1, True)
    done = await anabranch(dev_server, "cancel", handle.id, "--yes", "--wait", "--json")
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["end"]["kind"], answer["end"]["error"]["code"]) == (1, "failed", "CANCELLED")
    assert [step["node"] for step in answer["plan"]["undo"]] == ["book"]


async def test_resolve_settles_the_only_conflict_and_one_of_several(served: Served, dev_server: DevServer) -> None:
    handle = await served.start(diamond(put(x=1, z=1), put(x=2, z=2), **ASK))
    await until_status(handle, "join", "conflict")
    several = await refused(dev_server, handle, "resolve", handle.id, "--choose", "left")
    assert several == (
        f"error[INPUT_INVALID]: {handle.id}: 2 conflicts wait: say which help: one of "
        f"anabranch resolve {handle.id} join x --choose left anabranch resolve {handle.id} join z --choose left"
    )
    wrong = await refused(dev_server, handle, "resolve", handle.id, "join", "x", "--choose", "start")
    assert "'start' is none of the candidates help: choose one of ['left', 'right'] or its index" in wrong
    both = await refused(dev_server, handle, "resolve", handle.id, "join", "x", "--choose", "left", "--remove")
    assert "`choose` and `remove` contradict each other" in both
    first = await anabranch(
        dev_server, "resolve", handle.id, "join", "z", "--value", "[9007199254740993]", "--by", "bob", "--json"
    )
    assert (told(first)["path"], told(first)["open"]) == ("z", ["x"])
    second = await anabranch(dev_server, "resolve", handle.id, "join", "x", "--choose", "1", "--by", "ada")
    assert second.stdout == "x is settled at join\n"
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"] == {"x": 2, "z": [9007199254740993]}
    assert {each["path"]: each["settled_by"] for each in result["conflicts"]} == {"x": "ada", "z": "bob"}
    assert "merged x by fail_on_conflict, chosen by ada" in (await anabranch(dev_server, "why", handle.id, "x")).stdout


async def test_a_paused_node_is_retried_skipped_or_failed_on_an_edited_context(
    served: Served, dev_server: DevServer
) -> None:
    retried, skipped, failed = [await served.start(chain(a=FORGETFUL, b=put(y=2))) for _ in range(3)]
    for handle in (retried, skipped, failed):
        await until_status(handle, "a", "paused")
    wrong = await refused(dev_server, retried, "retry", retried.id, "--set", "by_whom.name.=x")
    assert "error[INPUT_INVALID]" in wrong
    assert "node 'b' is not paused help: waiting are: a" in await refused(dev_server, retried, "skip", retried.id, "b")
    done = await anabranch(dev_server, "retry", retried.id, "--set", "by_whom=ada", "--by", "grace")
    assert done.stdout == "a is tried again\n"
    assert await data_of(retried) == {"by_whom": "ada", "done": "ada", "y": 2}
    assert "operator:grace" in {entry["by"] for entry in await retried.query("history")}
    assert (await anabranch(dev_server, "skip", skipped.id, "a", "--set", "done=7")).stdout == "a is skipped\n"
    assert await data_of(skipped) == {"done": 7, "y": 2}
    assert (await anabranch(dev_server, "fail", failed.id)).stdout == "a fails\n"
    assert (await error_of(failed)).type == "EXPRESSION_FAILED"


async def test_an_approval_of_an_item_is_answered_by_its_address(served: Served, dev_server: DevServer) -> None:
    each = {"type": "foreach", "items": "[1, 2]", "body": {"nodes": {"ask": SHIP}}}
    handle = await served.start({"nodes": {"each": each}}, {"item": "tea"})
    for address in ("each[0]/ask", "each[1]/ask"):
        await until_status(handle, address, "waiting")
    several = await refused(dev_server, handle, "answer", handle.id, "--approve")
    assert "2 approvals wait: say which" in several
    assert f"anabranch answer {handle.id} 'each[1]/ask' --input" in several
    for address in ("each[1]/ask", "each[0]/ask"):
        assert told(await anabranch(dev_server, "answer", handle.id, address, "--approve", "--json"))["node"] == address
    assert (await asyncio.wait_for(handle.result(), PATIENCE))["status"] == "completed"


async def test_a_run_is_paused_goes_on_and_is_cancelled_after_its_undo_plan(
    served: Served, dev_server: DevServer
) -> None:
    booked = put(booked=True) | {"compensate": put(released=True)}
    handle = await served.start({"saga": {}, **chain(book=booked, ask=SHIP, b=put(y=2))}, {"item": "tea"})
    await until_status(handle, "ask", "waiting")
    assert "pauses" in (await anabranch(dev_server, "pause", handle.id, "--by", "ada")).stdout
    told(await anabranch(dev_server, "answer", handle.id, "--approve", "--json"))
    assert (await until_status(handle, "b", "ready"))["status"] == "paused"
    assert "paused by ada" in " ".join((await anabranch(dev_server, "show", handle.id)).stdout.split())
    unasked = await anabranch(dev_server, "cancel", handle.id)
    assert (unasked.exit_code, "--yes" in unasked.stderr) == (2, True)
    done = await anabranch(dev_server, "cancel", handle.id, "--yes", "--wait", "--by", "grace")
    assert done.exit_code == 0, (done.output, done.exception)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == "A cancel would undo 1 step:"
    assert lines[2].startswith("1 book python yes")
    assert any(line.startswith("end cancelled at") for line in lines)
    assert any(line == "CANCELLED the run was cancelled: by grace" for line in lines), lines
    (signal,) = await said(handle, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
    (request,) = await said(handle, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
    assert signal.workflow_execution_signaled_event_attributes.identity == "ada"
    assert request.workflow_execution_cancel_requested_event_attributes.identity == "grace"
    over = await anabranch(dev_server, "resume", handle.id)
    assert (over.exit_code, "the run is over" in over.stderr) == (1, True)


async def test_where_somebody_is_there_the_question_is_shown_and_a_cancel_asks(
    served: Served, dev_server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "may_ask", lambda: True)
    monkeypatch.setattr(steer, "may_ask", lambda: True)
    asking = await served.start(chain(ask=SHIP, b=put(y=2)), {"item": "tea"})
    torn = await served.start(diamond(put(x=1), put(x=2), **ASK))
    await until_status(asking, "ask", "waiting")
    await until_status(torn, "join", "conflict")
    before = [len(await events(handle)) for handle in (asking, torn)]
    asked = " ".join((await anabranch(dev_server, "answer", asking.id)).stdout.split())
    assert asked.startswith('ask asks: Ship tea? the answer fits { "type": "object", "required": [ "approved" ]')
    assert f"answer it with anabranch answer {asking.id} ask --input" in asked
    shown = " ".join((await anabranch(dev_server, "resolve", torn.id)).stdout.split())
    command = f"anabranch resolve {torn.id} join x --choose left"
    assert shown == f"join must know what x is: 0 left: 1 1 right: 2 settle it with {command}"
    declined = await anabranch(dev_server, "cancel", asking.id, keys="n\n")
    assert (declined.exit_code, declined.stdout.splitlines()[0]) == (1, "A cancel would undo nothing.")
    assert f"Cancel {asking.id}? [y/N]:" in declined.stderr
    assert "it goes on" in declined.stderr
    assert [len(await events(handle)) for handle in (asking, torn)] == before
    agreed = await anabranch(dev_server, "cancel", asking.id, keys="y\n")
    assert (agreed.exit_code, f"{asking.id} is to be cancelled" in agreed.stdout) == (0, True)
    await until_status(asking, "ask", "cancelled")
    await torn.terminate()


@pytest.mark.slow
async def test_a_terminal_is_somebody_who_is_asked(served: Served, dev_server: DevServer) -> None:
    handle = await served.start(chain(ask=SHIP, b=put(y=2)), {"item": "tea"})
    await until_status(handle, "ask", "waiting")

    def on_terminal() -> tuple[int, str]:
        ours, theirs = pty.openpty()
        os.write(ours, b"n\n")
        command = [sys.executable, "-m", "anabranch", "cancel", handle.id]
        environ = os.environ | {"TEMPORAL_ADDRESS": dev_server.address, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ) as process:
            os.close(theirs)
            seen = b""
            with contextlib.suppress(OSError):  # by which a terminal says that nobody writes to it any more
                while part := os.read(ours, 4096):
                    seen += part
        os.close(ours)
        return process.returncode, seen.decode()

    code, seen = await asyncio.to_thread(on_terminal)
    assert (code, "[y/N]" in seen, "it goes on" in seen) == (1, True, True)
    await handle.terminate()


async def test_resume_lets_a_paused_run_go_on(served: Served, dev_server: DevServer) -> None:
    handle = await served.start(chain(ask=SHIP, b=put(y=2)), {"item": "tea"})
    await until_status(handle, "ask", "waiting")
    for command in (("pause",), ("answer", "--approve"), ("resume",)):
        name, *more = command
        told(await anabranch(dev_server, name, handle.id, *more, "--json"))
    assert (await data_of(handle))["y"] == 2


async def test_an_answer_waits_for_a_worker_that_is_away(
    client: Client, dev_server: DevServer, task_queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_looked = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def looked(*_: object) -> bool:
        loop.call_soon_threadsafe(has_looked.set)
        return False

    monkeypatch.setattr(steered, "is_served", looked)
    async with worker_for(client, task_queue, tmp_path) as served:
        handle = await served.start(chain(ask=SHIP, b=put(y=2)), {"item": "tea"})
        await until_status(handle, "ask", "waiting")
    late = await anabranch(dev_server, "answer", handle.id, "--approve", "--timeout", "0.5", "--update-id", "kept")
    assert (late.exit_code, "error[TIMEOUT]" in late.stderr, "--update-id kept" in late.stderr) == (1, True, True)
    waiting = asyncio.create_task(anabranch(dev_server, "answer", handle.id, "--approve", "--update-id", "kept"))
    await asyncio.wait_for(has_looked.wait(), PATIENCE)
    async with worker_for(client, task_queue, tmp_path):
        done = await asyncio.wait_for(waiting, PATIENCE)
        assert (done.exit_code, done.stdout) == (0, "ask is answered\n"), (done.stderr, done.exception)
        assert await data_of(handle) == {"item": "tea", "approved": True, "y": 2}
    assert f"no worker listens on the task queue '{task_queue}'" in done.stderr
    assert len(await said(handle, ACCEPTED)) == 1


async def test_a_run_that_continued_as_new_is_answered(task_queue: str, tmp_path: Path) -> None:
    suggests = {"limit.historyCount.suggestContinueAsNew": "24"}
    async with await DevServer.start(dynamic_config={**FAST, **suggests}) as impatient:
        connected = await connect(Settings(), target_host=impatient.address)
        loop = {"type": "while", "while": "n < 12", "body": {"nodes": {"up": put(n="{{ n + 1 }}")}}}
        async with worker_for(connected, task_queue, tmp_path) as served:
            handle = await served.start(chain(loop=loop, ask=SHIP), {"n": 0, "item": "tea"})
            await until_status(handle, "ask", "waiting")
            assert (await handle.describe()).run_id != handle.first_execution_run_id
            older = await anabranch(
                impatient, "answer", handle.id, "--approve", "--run-id", str(handle.first_execution_run_id)
            )
            assert (older.exit_code, "no approval waits" in older.stderr) == (1, True)
            told(await anabranch(impatient, "answer", handle.id, "--approve", "--json"))
            assert (await data_of(handle))["approved"] is True


async def test_a_paused_handler_of_an_activity_is_retried(served: Served, dev_server: DevServer) -> None:
    broken = leaf("break", args={"name": served.task_queue}, retry={"max_attempts": 1}, on_failure="pause")
    handle = await served.start(chain(a=broken, b=put(y=2)))
    await until_status(handle, "a", "paused")
    assert told(await anabranch(dev_server, "retry", handle.id, "--json"))["node"] == "a"
    await until_status(handle, "a", "paused")
    assert told(await anabranch(dev_server, "skip", handle.id, "--json"))["node"] == "a"
    assert await data_of(handle) == {"y": 2}
