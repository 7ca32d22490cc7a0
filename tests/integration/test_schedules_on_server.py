"""`anabranch schedules` on a real server: what it makes, that it changes nothing twice, and what it leaves alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleSpec,
)
from typer.testing import CliRunner, Result

from anabranch.cli.main import app
from anabranch.dev.devserver import DevServer
from anabranch.transport.schedules import find
from tests.integration.graph_kit import PATIENCE, worker_for

NIGHTLY = """
name: nightly
schedule:
  cron: ["30 2 * * *", "0 12 * * MON-FRI"]
  timezone: Europe/Berlin
  overlap: buffer_one
  jitter: 5m
  input: {day: 1, parts: [1.5, null]}
nodes: {a: {type: rule, rules: [{then: {done: "{{ day }}"}}]}}
"""
HOURLY = "{name: hourly, schedule: {every: 1h}, nodes: {a: {type: rule, rules: [{then: {x: 1}}]}}}"


@pytest.fixture
async def queue(task_queue: str, client: Client, tmp_path: Path) -> AsyncIterator[str]:
    """A task queue, whose schedules are deleted behind the test; and a folder with two graphs."""
    (tmp_path / "nightly.yaml").write_text(NIGHTLY, encoding="utf-8")
    (tmp_path / "hourly.yaml").write_text(HOURLY, encoding="utf-8")
    yield task_queue
    for graph in ("nightly", "hourly"):
        if await find(client, f"anabranch:{task_queue}:{graph}") is not None:
            await client.get_schedule_handle(f"anabranch:{task_queue}:{graph}").delete()


@pytest.fixture
def command(dev_server: DevServer, queue: str, tmp_path: Path) -> Any:
    async def run(*args: str) -> Result:
        environment = {"TEMPORAL_ADDRESS": dev_server.address, "ANABRANCH_GRAPHS": str(tmp_path), "COLUMNS": "200"}
        words = ["schedules", *args, "--task-queue", queue]
        return await asyncio.to_thread(CliRunner().invoke, app, words, env=environment)

    return run


def acts(result: Result) -> dict[str, str]:
    return {each["graph"]: each["act"] for each in json.loads(result.stdout)}


async def state_of(client: Client, queue: str, graph: str) -> bytes:
    """What the server changes with every update of a schedule."""
    described = await client.get_schedule_handle(f"anabranch:{queue}:{graph}").describe()
    return described.raw_description.conflict_token


async def eventually(ask: Callable[[], Awaitable[Any]]) -> Any:
    """The first answer that there is: the server lists soon, and not at once, what it has."""
    for _ in range(500):
        if answer := await ask():
            return answer
        await asyncio.sleep(0.02)
    raise AssertionError("nothing in time")


async def recent(handle: ScheduleHandle) -> Any:
    return (await handle.describe()).info.recent_actions


async def both(command: Any) -> Any:
    listed = json.loads((await command("list", "--json")).stdout)
    return listed if len(listed) > 1 else None


async def removed(command: Any) -> dict[str, str]:
    return acts(await command("apply", "--delete-removed", "--json"))


async def test_applying_twice_changes_nothing_and_what_somebody_changed_is_put_right(
    client: Client, command: Any, queue: str, tmp_path: Path
) -> None:
    planned = await command("diff", "--json")
    assert (planned.exit_code, acts(planned)) == (1, {"hourly": "create", "nightly": "create"})
    assert await find(client, f"anabranch:{queue}:nightly") is None
    first = await command("apply")
    assert (first.exit_code, first.output.splitlines()) == (
        0,
        [
            f"create  anabranch:{queue}:hourly  every 3600 s",
            f"create  anabranch:{queue}:nightly  0 12 * * 1-5, 30 2 * * *",
        ],
    )
    before = [await state_of(client, queue, graph) for graph in ("hourly", "nightly")]
    again = await command("apply", "--json")
    assert (again.exit_code, acts(again)) == (0, {"hourly": "keep", "nightly": "keep"})
    assert [await state_of(client, queue, graph) for graph in ("hourly", "nightly")] == before
    assert (await command("diff")).exit_code == 0

    handle = client.get_schedule_handle(f"anabranch:{queue}:hourly")
    await handle.pause(note="by hand")
    assert acts(await command("diff", "--json"))["hourly"] == "keep"  # the graph says nothing of it
    changed = HOURLY.replace("every: 1h", "every: 30m, overlap: allow_all")
    (tmp_path / "hourly.yaml").write_text(changed, encoding="utf-8")
    told = await command("apply")
    assert told.output.splitlines()[:3] == [
        f"change  anabranch:{queue}:hourly  every 1800 s",
        "        every: [3600] → [1800]",
        '        overlap: "skip" → "allow_all"',
    ]
    state = (await handle.describe()).schedule.state
    assert (state.paused, state.note) == (True, "by hand")
    (tmp_path / "hourly.yaml").write_text(changed.replace("every: 30m", "every: 30m, paused: false"), encoding="utf-8")
    assert acts(await command("apply", "--json")) == {"hourly": "change", "nightly": "keep"}
    assert not (await handle.describe()).schedule.state.paused


async def test_what_a_schedule_starts_is_a_run_of_the_graph_with_its_input(
    client: Client, command: Any, queue: str, tmp_path: Path
) -> None:
    assert (await command("apply")).exit_code == 0
    async with worker_for(client, queue, tmp_path):
        handle = client.get_schedule_handle(f"anabranch:{queue}:nightly")
        await handle.trigger()
        run: Any = (await eventually(lambda: recent(handle)))[0].action
        result = await asyncio.wait_for(client.get_workflow_handle(run.workflow_id).result(), PATIENCE)
    assert run.workflow_id.startswith("nightly-")
    assert result["data"] == {"day": 1, "parts": [1.5, None], "done": 1}
    listed = await eventually(lambda: both(command))
    assert [(each["graph"], each["overlap"], each["next"][-1]) for each in listed] == [
        ("hourly", "skip", "Z"),
        ("nightly", "buffer_one", "Z"),
    ]


async def test_what_others_made_is_never_touched_and_what_is_removed_goes_when_asked(
    client: Client, command: Any, queue: str, tmp_path: Path
) -> None:
    action = ScheduleActionStartWorkflow("theirs", id="theirs", task_queue=queue)
    theirs = Schedule(action, ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(hours=1))]))
    await client.create_schedule(f"anabranch:{queue}:hourly", theirs)
    before = await state_of(client, queue, "hourly")
    told = await command("apply")
    assert (told.exit_code, "error[SCHEDULE_TAKEN]" in told.output) == (1, True)
    for name in ("nightly", "hourly"):
        (tmp_path / f"{name}.yaml").write_text(f"{{name: {name}, nodes: {{a: {{type: stop}}}}}}", encoding="utf-8")
    assert (await command("apply", "--json")).stdout == "[]\n"
    assert await eventually(lambda: removed(command)) == {"nightly": "remove"}
    assert await find(client, f"anabranch:{queue}:nightly") is None
    assert await state_of(client, queue, "hourly") == before


async def test_a_folder_with_a_broken_graph_is_not_applied(
    client: Client, command: Any, queue: str, tmp_path: Path
) -> None:
    (tmp_path / "broken.yaml").write_text("name: broken\nschedule: {cron: never}\nnodes: {a: {type: stop}}\n")
    told = await command("apply", "--delete-removed")
    assert (told.exit_code, "error[SCHEDULE_CRON]" in told.output) == (1, True)
    assert await find(client, f"anabranch:{queue}:nightly") is None
