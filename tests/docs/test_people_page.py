"""The commands of docs/people.md, which are alternatives to one another, each on a run of its own."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from anabranch.dev.devserver import DevServer, temporal_command
from tests.docs.pages import blocks_of
from tests.docs.shell import Step, differs, steps
from tests.inspection.test_live_commands import anabranch
from tests.integration.graph_kit import PATIENCE, Handle, Served, error_of, until_status, worker_for

PAGE = "docs/people.md"
INPUT = {"price": 100, "customer": "Ada"}


@pytest.fixture
async def served(client: Client, task_queue: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with worker_for(client, task_queue, tmp_path) as running:
        for block in blocks_of(PAGE):
            if block.language == "yaml":
                running.write("review_terms", block.text)
        yield running


def commands() -> dict[str, list[str]]:
    """The commands of the page by the name of their message, or what they do to the run (`start`, `cancel`)."""
    found: dict[str, list[str]] = {}
    for block in blocks_of(PAGE):
        for step in steps(block) if block.language == "console" else ():
            if step.command.startswith("anabranch "):
                continue
            name = re.search(r"--name (\w+)|query.*--type (\w+)|(start|cancel)", step.command)
            assert name, step
            found.setdefault(name[name.lastindex or 0], []).append(step.command)
    return found


def in_words() -> dict[str, Step]:
    """The `anabranch` commands of the page, by their names."""
    found = [step for block in blocks_of(PAGE) if block.language == "console" for step in steps(block)]
    return {step.command.split()[1]: step for step in found if step.command.startswith("anabranch ")}


async def say(dev_server: DevServer, handle: Handle, name: str) -> None:
    """Give an `anabranch` command of the page, about this run; it prints what the page shows."""
    step = in_words()[name]
    done = await anabranch(dev_server, *shlex.split(step.command.replace("terms-1", handle.id))[1:])
    assert done.exit_code == 0, (done.output, done.exception)
    assert not differs(step.shown, done.stdout.replace(handle.id, "terms-1")), done.stdout


async def follow(dev_server: DevServer, workflow_id: str, command: str) -> Any:
    """Run a command of the page as a shell would, on this run; its answer."""
    line = command.replace("terms-1", workflow_id).replace("temporal ", f"{temporal_command()} ", 1)
    done = await asyncio.to_thread(
        subprocess.run,
        ["/bin/sh", "-c", f"{line} --address {dev_server.address} --output json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout


async def result_of(handle: Handle) -> dict[str, Any]:
    return await asyncio.wait_for(handle.result(), PATIENCE)


def test_every_command_of_the_page_is_run_here() -> None:
    queries, updates = {"status", "context", "history"}, {"resolve_conflict", "complete_task", "write_context"}
    assert commands().keys() == (
        queries | updates | {"retry_node", "skip_node", "fail_node", "pause", "resume", "start", "cancel"}
    )
    operating = {"retry", "skip", "fail", "cancel"}
    assert in_words().keys() == {"resolve", "answer", "pause", "resume"} | operating


async def test_the_commands_in_words_bring_the_graph_to_its_end(served: Served, dev_server: DevServer) -> None:
    handle = await served.start_type("review_terms", INPUT)
    await until_status(handle, "agree", "conflict")
    await say(dev_server, handle, "resolve")
    await until_status(handle, "agree", "waiting")
    await say(dev_server, handle, "pause")
    await say(dev_server, handle, "answer")
    assert (await until_status(handle, "sign", "ready"))["status"] == "paused"
    await say(dev_server, handle, "resume")
    await until_status(handle, "sign", "paused")
    await say(dev_server, handle, "retry")
    assert (await result_of(handle))["data"]["signed"] == "Grace for Ada: 80"


async def test_the_commands_in_words_for_operators_and_the_cancel_work(served: Served, dev_server: DevServer) -> None:
    for name in ("skip", "fail", "cancel"):
        handle = await served.start_type("review_terms", INPUT)
        await until_status(handle, "agree", "conflict")
        await handle.execute_update("resolve_conflict", {"node": "agree", "path": "price", "choose": 0})
        await handle.execute_update("complete_task", {"node": "agree", "answer": {"agreed": True}})
        await until_status(handle, "sign", "paused")
        await say(dev_server, handle, name)
        if name == "skip":
            assert (await result_of(handle))["data"]["signed"] == "on paper"
        elif name == "fail":
            assert (await error_of(handle)).type == "EXPRESSION_FAILED"


async def test_the_commands_of_the_page_bring_its_graph_to_its_end(served: Served, dev_server: DevServer) -> None:
    (start,) = commands()["start"]
    workflow_id = f"{served.task_queue}-terms"
    await follow(dev_server, workflow_id, start.replace("--task-queue anabranch", f"--task-queue {served.task_queue}"))
    handle: Handle = served.client.get_workflow_handle(workflow_id)

    async def send(name: str) -> Any:
        return await follow(dev_server, workflow_id, commands()[name][0])

    status = await until_status(handle, "agree", "conflict")
    assert (await send("status"))["queryResult"][0] == status
    await send("resolve_conflict")
    await until_status(handle, "agree", "waiting")
    context = (await send("context"))["queryResult"][0]
    assert (context["data"]["price"], context["number"]) == (80, 4)
    await send("write_context")
    await send("pause")
    await send("complete_task")
    assert (await until_status(handle, "sign", "ready"))["status"] == "paused"
    await send("resume")
    await until_status(handle, "sign", "paused")
    await send("retry_node")
    assert (await result_of(handle))["data"] == {
        "price": 80,
        "customer": "Ada Lovelace",
        "legal": "ok",
        "agreed": True,
        "signer": "Grace",
        "signed": "Grace for Ada Lovelace: 80",
    }
    history = (await send("history"))["queryResult"][0]
    assert {"external", "merge"} <= {entry["kind"] for entry in history}


async def test_the_other_ways_to_settle_a_conflict_on_the_page_work_too(served: Served, dev_server: DevServer) -> None:
    _, *others = commands()["resolve_conflict"]
    prices = []
    for command in others:
        handle = await served.start_type("review_terms", INPUT)
        await until_status(handle, "agree", "conflict")
        answer = (await follow(dev_server, handle.id, command))["result"]
        assert answer == {"node": "agree", "path": "price", "open": []}
        await until_status(handle, "agree", "waiting")
        prices.append((await handle.query("context"))["data"].get("price"))
        await handle.terminate()
    assert prices == [110, 95, None]


@pytest.mark.parametrize("name", ["skip_node", "fail_node"])
async def test_the_commands_of_the_page_for_operators_work(served: Served, dev_server: DevServer, name: str) -> None:
    handle = await served.start_type("review_terms", INPUT)
    await until_status(handle, "agree", "conflict")
    await handle.execute_update("resolve_conflict", {"node": "agree", "path": "price", "choose": 0})
    await handle.execute_update("complete_task", {"node": "agree", "answer": {"agreed": True}})
    await until_status(handle, "sign", "paused")
    await follow(dev_server, handle.id, commands()[name][0])
    if name == "skip_node":
        assert (await result_of(handle))["data"]["signed"] == "on paper"
    else:
        assert (await error_of(handle)).type == "EXPRESSION_FAILED"


async def test_the_command_of_the_page_that_cancels_a_run_ends_it(served: Served, dev_server: DevServer) -> None:
    handle = await served.start_type("review_terms", INPUT)
    await until_status(handle, "agree", "conflict")
    await follow(dev_server, handle.id, commands()["cancel"][0])
    await until_status(handle, "agree", "cancelled")
