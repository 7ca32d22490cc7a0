"""What the inbox reads: the histories of waiting runs, each once for as long as it does not grow."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.client import Client

from anabranch.console.listing import waiting
from anabranch.console.listing.waiting import Question, Questions, WaitingRuns
from anabranch.errors import HistoryInvalid
from anabranch.inspection.listing import Listed, Listing
from anabranch.inspection.runs import Runs
from anabranch.inspection.selection import Selection


@dataclass
class Server:
    """Waiting runs by the time since which they wait, and how many events each has. It counts what is read."""

    asked: dict[str, int]
    events: dict[str, int] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    read: list[str] = field(default_factory=list)
    described: list[str] = field(default_factory=list)

    def get_workflow_handle(self, workflow_id: str, run_id: str) -> Any:
        async def describe() -> Any:
            self.described.append(run_id)
            info = SimpleNamespace(history_length=self.events.get(run_id, 5))
            return SimpleNamespace(raw_description=SimpleNamespace(workflow_execution_info=info))

        return SimpleNamespace(describe=describe)

    async def newest(self, selection: Selection, limit: int) -> list[Listed]:
        assert set(selection.waiting_for) == {"approval", "conflict", "paused"}
        return [Listed(name, name, "g", "waiting", (), at, None) for name, at in self.asked.items()][:limit]

    async def inspect(self, workflow_id: str, run_id: str) -> str:
        self.read.append(run_id)
        if run_id in self.broken:
            raise HistoryInvalid("it cannot be read")
        return run_id


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server({f"r{number}": 100 - number for number in range(40)})

    def questions(run_id: str, _asked: object) -> list[Question]:
        return [Question(run_id, run_id, "g", "ask", "approval", found.asked[run_id], "same", {})]

    monkeypatch.setattr(waiting, "_questions", questions)
    monkeypatch.setattr(waiting, "_FRESH_SECONDS", 0.0)
    return found


async def settled(runs: WaitingRuns) -> Questions:
    found = await runs.now()
    assert found.unread == 0  # which takes no time here
    return found


def watching(server: Server) -> WaitingRuns:
    fake = cast("Any", server)
    return WaitingRuns(cast("Client", fake), cast("Runs", fake), cast("Listing", fake))


async def test_the_longest_waiting_come_first_and_are_read_first(server: Server) -> None:
    found = await settled(watching(server))
    assert [each.asked for each in found.all] == sorted(server.asked.values())
    assert server.read[0] == "r39"
    assert (found.runs, found.unread) == (40, 0)


async def test_a_history_is_read_again_only_when_it_has_grown(server: Server) -> None:
    runs = watching(server)
    for _ in range(3):
        await settled(runs)
    assert sorted(server.read) == sorted(server.asked)
    server.events["r7"] = 9
    await settled(runs)
    assert server.read[40:] == ["r7"]


async def test_a_run_that_cannot_be_read_hides_no_other(server: Server) -> None:
    server.broken = {"r3"}
    found = await settled(watching(server))
    assert {each.run_id for each in found.all} == server.asked.keys() - {"r3"}


async def test_a_run_that_waits_no_longer_is_forgotten(server: Server) -> None:
    runs = watching(server)
    await settled(runs)
    del server.asked["r0"]
    found = await settled(runs)
    assert found.runs == 39
    assert "r0" not in {each.run_id for each in found.all}


async def test_of_many_known_runs_a_look_asks_about_some_by_turns_and_at_once_about_those_that_were_told(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_KNOWN_A_LOOK", 10)
    runs = watching(server)
    await settled(runs)
    assert len(server.described) == 40
    for _ in range(4):
        await settled(runs)
    assert sorted(server.described) == sorted([*server.asked] * 2)
    server.described.clear()
    last = "r0"
    runs.changed([last, "unknown"])
    await settled(runs)
    assert last in server.described
    assert len(server.described) == 10


async def test_it_is_said_where_not_all_runs_that_wait_are_read(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await settled(watching(server))).is_all
    monkeypatch.setattr(waiting, "MOST_RUNS", 30)
    found = await settled(watching(server))
    assert (found.runs, found.is_all) == (30, False)


async def test_many_who_look_at_once_read_each_history_once(server: Server) -> None:
    runs = watching(server)
    await asyncio.gather(*(runs.now() for _ in range(10)))
    assert len(server.read) == 40
    await runs.close()
