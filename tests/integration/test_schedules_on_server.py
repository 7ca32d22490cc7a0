"""`anabranch schedules` on a real server: what it makes, that it changes nothing twice, and what it leaves alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleSpec,
    WorkflowExecutionStatus,
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


@contextmanager
def sending() -> Generator[list[str]]:
    """Note what changes a schedule on the server, as it is sent."""
    sent: list[str] = []

    def noted(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **given: Any) -> Any:
            sent.append(name)
            return method(*args, **given)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("update", "delete", "pause", "unpause"):
            patch.setattr(ScheduleHandle, name, noted(name, getattr(ScheduleHandle, name)))
        patch.setattr(Client, "create_schedule", noted("create", Client.create_schedule))
        yield sent


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


async def lost(command: Any) -> dict[str, str]:
    """What `apply` tells of schedules whose graphs have none any more; it does nothing with them."""
    with sending() as sent:
        told = await command("apply", "--json")
    assert (told.exit_code, sent) == (0, [])
    assert ("SCHEDULE_LOST" in told.stderr) == bool(acts(told))
    assert (await command("diff")).exit_code == 0
    return acts(told)


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
    with sending() as sent:
        again = await command("apply", "--json")
    assert (again.exit_code, acts(again), sent) == (0, {"hourly": "keep", "nightly": "keep"}, [])
    assert [await state_of(client, queue, graph) for graph in ("hourly", "nightly")] == before
    assert (await command("diff")).exit_code == 0

    handle = client.get_schedule_handle(f"anabranch:{queue}:hourly")
    await handle.pause(note="by hand")
    assert acts(await command("diff", "--json"))["hourly"] == "keep"  # the graph says nothing of it
    changed = HOURLY.replace("every: 1h", "every: 30m, overlap: allow_all")
    (tmp_path / "hourly.yaml").write_text(changed, encoding="utf-8")
    fields = ["        every: [3600] → [1800]", '        overlap: "skip" → "allow_all"']
    for name in ("diff", "apply"):
        with sending() as sent:
            told = await command(name)
        assert told.output.splitlines()[:3] == [f"change  anabranch:{queue}:hourly  every 1800 s", *fields]
        assert sent == (["update"] if name == "apply" else [])
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
    assert await eventually(lambda: lost(command)) == {"nightly": "lost"}
    assert await find(client, f"anabranch:{queue}:nightly") is not None
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


async def test_times_are_those_of_the_zone_on_both_sides_of_its_change(
    client: Client, command: Any, queue: str
) -> None:
    """The server plans by the zone: half past two in Berlin, whatever that is in UTC."""
    assert (await command("apply")).exit_code == 0
    described = await client.get_schedule_handle(f"anabranch:{queue}:nightly").describe()
    zone = ZoneInfo("Europe/Berlin")
    coming = [each.astimezone(zone) for each in described.info.next_action_times]
    jitter = timedelta(minutes=5)
    for each in coming:
        planned = (
            each.replace(hour=hour, minute=minute, second=0, microsecond=0) for hour, minute in ((2, 30), (12, 0))
        )
        assert any(timedelta(0) <= each - at < jitter for at in planned), each
    policy = described.schedule.policy
    assert (policy.overlap.name, policy.catchup_window) == ("BUFFER_ONE", timedelta(days=365))


OVERLAPPING = {"skip": (1, 1), "allow_all": (2, 0), "buffer_one": (1, 0), "terminate_other": (1, 0)}
"""How many runs there are, and how many were left out, when a second one is due."""


@pytest.mark.parametrize("overlap", OVERLAPPING)
async def test_a_run_that_is_due_while_another_one_runs_is_treated_as_the_graph_says(
    client: Client, command: Any, queue: str, tmp_path: Path, overlap: str
) -> None:
    """No worker serves them: they run until somebody ends them."""
    said = f"{{every: 1h, overlap: {overlap}, catchup: 30m}}"
    (tmp_path / "hourly.yaml").write_text(f"{{name: hourly, schedule: {said}, nodes: {{a: {{type: stop}}}}}}")
    assert (await command("apply")).exit_code == 0
    handle = client.get_schedule_handle(f"anabranch:{queue}:hourly")
    assert (await handle.describe()).schedule.policy.catchup_window == timedelta(minutes=30)
    await handle.trigger()
    first = (await eventually(lambda: recent(handle)))[0].action.workflow_id
    await asyncio.sleep(1.1)  # the ids of runs end with the second in which they were due
    await handle.trigger()
    found = await eventually(lambda: overlapping(client, handle, *OVERLAPPING[overlap]))
    assert (first not in found) == (overlap == "terminate_other")
    if overlap == "buffer_one":
        await client.get_workflow_handle(first).terminate()
        found = await eventually(lambda: overlapping(client, handle, 1, 0))
        assert first not in found
    for each in found:
        await client.get_workflow_handle(each).terminate()


async def overlapping(client: Client, handle: ScheduleHandle, running: int, skipped: int) -> list[str] | None:
    """The ids of the runs, when so many run, so many were left out, and the second one has come, or waits."""
    described = await handle.describe()
    info, waiting = described.info, described.raw_description.info.buffer_size
    if info.num_actions_skipped_overlap != skipped or info.num_actions + skipped + waiting < 2:
        return None
    started: list[Any] = [each.action for each in info.recent_actions]
    handles = [client.get_workflow_handle(each.workflow_id) for each in started]
    found = [each.id for each in handles if (await each.describe()).status is WorkflowExecutionStatus.RUNNING]
    return found if len(found) == running else None
