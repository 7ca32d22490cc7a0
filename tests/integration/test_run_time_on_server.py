"""`timeout` of a graph on a real server: the run is undone, its `finally` runs, and who waits is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import yaml

from anabranch.workflows.interpreter.commands import DEADLINE
from tests.integration.graph_kit import MODES, Handle, Served, attempts, chain, error_of, events, leaf, put

UNDONE = {**put(x=1), "compensate": put()}
TELL = {"nodes": {"tell": put(told="{{ outcome.error.code }}")}}


@pytest.fixture
def mode() -> str:
    return MODES[1]


async def timers(handle: Handle) -> list[timedelta]:
    """Of a run's time as a whole."""
    of_run = [each for each in await events(handle) if f"{DEADLINE}the run".encode() in each.user_metadata.summary.data]
    return [each.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta() for each in of_run]


async def test_a_run_whose_time_is_up_is_undone_and_tells_its_parent(served: Served) -> None:
    name = served.task_queue
    slow = leaf("dawdle", args={"name": name}, heartbeat="300ms")
    own: dict[str, Any] = {**chain(reserve=UNDONE, slow=slow), "timeout": "{{ limit }}", "finally": TELL}
    served.write("slow_order", yaml.safe_dump({"name": "slow_order", **own}))
    child = {"type": "graph", "graph": "slow_order", "mode": "child_workflow", "retry": {"max_attempts": 1}}
    handle = await served.start(chain(order=child), {"limit": "1s"})
    error = await error_of(handle)
    assert (error.type, error.details[0]["node"]) == ("TIMED_OUT", "order")
    of_child = served.client.get_workflow_handle(f"{handle.id}/order")
    failed = await error_of(of_child)
    details = failed.details[0]
    assert (failed.type, failed.message) == ("TIMED_OUT", "the run did not end within its `timeout`")
    assert (details["outcome"], details["node"], details["compensated"]) == ("timeout", "", ["reserve"])
    assert details["finally"] == {"told": "TIMED_OUT"}
    assert await timers(of_child) == [timedelta(seconds=1)]
    assert attempts[f"{name} cancelled"] == 1
