"""Limits of rate and concurrency without servers: what they are kept under, and how a run waits for a turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.exceptions import ActivityError, ApplicationError, RetryState, TimeoutType
from temporalio.exceptions import CancelledError as CancelledByServer
from temporalio.exceptions import TimeoutError as TimedOutByServer

from anabranch.activities.guards.limits_of import turn_of
from anabranch.activities.registry import parse_node
from anabranch.cipher import Cipher
from anabranch.errors import InputError, TurnNotYet
from anabranch.graph.dataflow.reads import node_reads, required_reads
from anabranch.graph.model import Graph
from anabranch.graph.policies import Defaults
from anabranch.transport.failures import application_error
from anabranch.transport.node_protocol import NodeTask
from anabranch.transport.turn import Limit, Turn
from anabranch.workflows.interpreter import snapshot, views
from anabranch.workflows.interpreter.commands import RunNode
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.temporal.failures import NeverScheduled, NotTaken, NoTurn, failure_of
from anabranch.workflows.temporal.node_options import Before, local_options, remote_options, turn_options
from anabranch.workflows.temporal.outbox import Ticket
from anabranch.workflows.temporal.turns import Turns
from tests.encryption_keys import cipher
from tests.node_tasks import task_of
from tests.unit.machine_kit import RUN, Play, edge, machine_of, python

SLOT: dict[str, Any] = {"concurrency": {"limit": 1}}


async def turn(task: NodeTask, blinding: Cipher | None = None) -> Turn:
    return await turn_of(task, parse_node(task.node), blinding)


def limited(data: dict[str, Any] | None = None, *, address: str = "reserve", **limits: Any) -> NodeTask:
    return task_of(python(**(limits or SLOT)), data, address=address, key=f"run-1/{address}")


# what a limit is kept under


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("reserve", "orders/reserve"),
        ("pack[3]/weigh", "orders/pack/weigh"),
        ("pack~2[17]/weigh", "orders/pack/weigh"),
        ("undo pack[3]/weigh", "orders/pack/weigh/compensate"),
        ("finally/tell", "orders/finally/tell"),
    ],
)
async def test_a_node_has_its_own_limit_in_all_turns_of_its_body(address: str, name: str) -> None:
    (found,) = (await turn(limited(address=address))).limits
    assert (found.name, found.id) == (name, f"slots/{name}")


async def test_nodes_with_one_name_and_equal_keys_share_a_limit_whatever_the_keys_are_called() -> None:
    here = limited({"customer": 7}, rate_limit={"limit": 3, "name": "bank", "key": "{{ customer }}"})
    there = limited({"who": "7"}, address="other", rate_limit={"limit": 5, "name": "bank", "key": "{{ who }}"})
    (one,), (other,) = (await turn(here)).limits, (await turn(there)).limits
    assert one.id == other.id
    assert one.id.startswith("rate/bank/")
    assert str(one) == "rate limit 'bank' (3 in 1 s)"


@pytest.mark.parametrize(
    "hostile", ["", "x" * 100_000, "\x00\n\x1b[31m", "}{:rate", "ключ", "\ud800", None, [1], {"a": 1}]
)
async def test_whatever_a_key_holds_redis_sees_a_digest_of_one_length(hostile: Any) -> None:
    keyed = {"limit": 1, "name": "bank", "key": "{{ k }}"}
    (found,) = (await turn(limited({"k": hostile}, concurrency=keyed))).limits
    prefix, digest = found.id.rsplit("/", 1)
    assert prefix == "slots/bank"
    assert len(digest) == 32
    assert int(digest, 16) >= 0


async def test_with_a_key_to_encrypt_with_nobody_can_try_which_value_a_digest_is_of() -> None:
    keyed = limited({"k": "ann"}, concurrency={"limit": 1, "key": "{{ k }}"})
    own, other = cipher(), cipher()
    found = [(await turn(keyed, blinding)).limits[0].id for blinding in (None, own, other, own)]
    assert len(set(found)) == 3
    assert found[1] == found[3]


async def test_the_slot_is_asked_for_before_the_rate_counts() -> None:
    found = await turn(limited(rate_limit={"limit": 3, "per": "1m"}, concurrency={"limit": 2}))
    assert [(each.kind, each.limit, each.per) for each in found.limits] == [("concurrency", 2, 0), ("rate", 3, 60_000)]
    assert Turn.from_wire(json.loads(json.dumps(found.to_wire()))) == found


@pytest.mark.parametrize(
    "broken", [{}, {"holder": "a"}, {"holder": "a", "limits": [[1]]}, {"limits": 3, "holder": "a"}]
)
def test_what_is_no_turn_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="not what a node waits for"):
        Turn.from_wire(broken)


def test_the_keys_of_limits_cross_to_the_node() -> None:
    node = parse_node(python(rate_limit={"limit": 1, "key": "{{ a.b }}"}, concurrency={"limit": 1, "key": "{{ c }}"}))
    assert node_reads(node) == frozenset({"a", "c"})
    assert required_reads(node) == {"a", "c"}


# the options of what has waited


def node_of(**fields: Any) -> Any:
    return Graph.model_validate({"name": "g", "nodes": {"a": python(**SLOT, **fields)}}).nodes["a"]


def test_what_waited_has_the_rest_of_its_attempts_and_of_its_time() -> None:
    retry = {"max_attempts": 5, "initial_interval": "1s", "backoff": 2, "max_interval": "6s"}
    node = node_of(retry=retry, total_timeout="60s")
    for options_of in (local_options, remote_options):
        options = options_of(node, Defaults(), undo=False, deadline=None, before=Before(2, 20.0))
        policy = options["retry_policy"]
        assert policy.maximum_attempts == 3
        assert policy.initial_interval == timedelta(seconds=4)
        assert policy.maximum_interval == timedelta(seconds=6)
        assert options["schedule_to_close_timeout"] == timedelta(seconds=40)


def test_attempts_without_end_stay_so() -> None:
    node = node_of(retry={"max_attempts": 0, "backoff": 1})
    policy = local_options(node, Defaults(), undo=False, deadline=None, before=Before(2_000_000))["retry_policy"]
    assert policy.maximum_attempts == 0
    assert policy.initial_interval == timedelta(seconds=1)
    node = node_of(retry={"max_attempts": 0, "backoff": 1000, "initial_interval": "1s"})
    policy = local_options(node, Defaults(), undo=False, deadline=None, before=Before(2_000_000))["retry_policy"]
    assert policy.initial_interval == timedelta(seconds=100)


@pytest.mark.parametrize(
    ("fields", "deadline", "seconds"),
    [
        ({}, None, None),
        ({"queue_timeout": "5s"}, None, 5),
        ({"queue_timeout": "5s", "total_timeout": "30s"}, None, 5),
        ({"queue_timeout": "50s", "total_timeout": "30s"}, None, 20),
        ({"total_timeout": "30s"}, 7.0, 7),
    ],
)
def test_a_turn_is_waited_for_as_long_as_the_node_may_take_to_begin(
    fields: dict[str, Any], deadline: float | None, seconds: float | None
) -> None:
    found = turn_options(node_of(**fields), Defaults(), undo=False, deadline=deadline, before=Before(0, 10.0))
    limit = found["schedule_to_close_timeout"]
    assert (None if limit is None else limit.total_seconds()) == seconds
    assert found["retry_policy"].maximum_attempts == 0


# how a run waits


def error(cause: BaseException) -> ActivityError:
    found = ActivityError(
        "activity",
        scheduled_event_id=1,
        started_event_id=2,
        identity="w",
        activity_type="t",
        activity_id="a",
        retry_state=RetryState.NON_RETRYABLE_FAILURE,
    )
    found.__cause__ = cause
    return found


def refusal(attempt: int = 1) -> ActivityError:
    wire = Turn("me", (Limit("concurrency", "bank", "slots/bank", 1),)).to_wire()
    told = application_error(TurnNotYet("concurrency limit 'bank', 3 before it", turn=wire, retry_after=timedelta(1)))
    detail = {**told.details[0], **({"attempt": attempt} if attempt > 1 else {})}
    return error(ApplicationError(told.message, detail, type=told.type, non_retryable=told.non_retryable))


class Waiting:
    """A run whose attempts and turns come out as they are given."""

    def __init__(self, attempts: list[Any], turns: list[Any], carried: Any = None) -> None:
        self._attempts: Iterator[Any] = iter(attempts)
        self._turns: Iterator[Any] = iter(turns)
        self.before: list[Before] = []
        self.asked: list[dict[str, Any]] = []
        self.told: list[str | None] = []
        self.clock = SimpleNamespace(at=1_000)
        outbox = SimpleNamespace(answered=lambda _: None)
        self.turns = Turns(
            Defaults(),
            cast("Any", self.clock),
            cast("Any", outbox),
            cast("Any", SimpleNamespace(admit=self._admit)),
            self._value,
            tell=lambda _, why: self.told.append(why),
            carried=carried,
            execute=self._execute,
        )

    async def waited(self, **fields: Any) -> str:
        machine = machine_of({"nodes": {"a": python(**SLOT, **fields)}})
        (command,) = machine.start(1)
        assert isinstance(command, RunNode)
        return await self.turns.in_turn(command, Ticket(), 0.0, self._attempt)

    async def _attempt(self, before: Before) -> str:
        self.before.append(before)
        return str(_outcome(next(self._attempts)))

    async def _execute(self, name: str, turn: dict[str, Any], **options: Any) -> Any:
        assert name == "await_turn"
        self.asked.append(options)
        self.clock.at += 1_500
        found = next(self._turns)
        return _outcome(found() if callable(found) else found)

    @staticmethod
    async def _value(result: Any, _: type) -> Any:
        return result

    @staticmethod
    @asynccontextmanager
    async def _admit(_ticket: Ticket, _size: int) -> AsyncGenerator[None]:
        yield


def _outcome(found: Any) -> Any:
    if isinstance(found, BaseException):
        raise found
    return found


async def test_a_node_that_is_refused_waits_for_its_turn_and_tries_again() -> None:
    run = Waiting([refusal(), "done"], [12.5])
    assert await run.waited() == "done"
    assert run.before == [Before(0, 0.0), Before(0, 12.5)]
    assert run.told == ["concurrency limit 'bank', 3 before it", None]
    assert [each["activity_id"] for each in run.asked] == ["turn of a"]


async def test_an_attempt_that_is_refused_is_none_of_those_that_the_policy_allows() -> None:
    run = Waiting([refusal(3), refusal(3), "done"], [1.0, 2.0])
    assert await run.waited() == "done"
    assert run.before == [Before(0, 0.0), Before(2, 1.0), Before(2, 3.0)]


async def test_other_failures_of_an_attempt_are_its_own() -> None:
    broken = error(ApplicationError("none left", {"code": "NO_STOCK"}, type="NO_STOCK"))
    with pytest.raises(ActivityError) as caught:
        await Waiting([refusal(), broken], [1.0]).waited()
    assert caught.value is broken


@pytest.mark.parametrize(
    "ended",
    [
        TimedOutByServer("late", type=TimeoutType.SCHEDULE_TO_CLOSE, last_heartbeat_details=[]),
        ApplicationError("not yet", type="NOT_YET"),
        ApplicationError("no answer", type="UNAVAILABLE"),
    ],
)
@pytest.mark.parametrize(("attempt", "is_unknown"), [(1, False), (2, True)])
async def test_a_turn_that_does_not_come_in_time_ends_the_node(
    ended: BaseException, attempt: int, is_unknown: bool
) -> None:
    run = Waiting([refusal(attempt)], [error(ended)])
    with pytest.raises(NoTurn) as caught:
        await run.waited()
    failure = failure_of(caught.value, "a")
    assert (failure.outcome, failure.code, failure.unknown, failure.is_retryable) == (
        "timeout",
        "NO_TURN",
        is_unknown,
        False,
    )
    assert failure.message == "node 'a': its turn did not come in time: concurrency limit 'bank', 3 before it"
    assert run.told[-1] is None


@pytest.mark.parametrize("cancelled", [asyncio.CancelledError(), error(CancelledByServer("cancelled"))])
async def test_what_is_cancelled_while_it_waits_never_began_unless_an_attempt_did(cancelled: BaseException) -> None:
    with pytest.raises(NeverScheduled):
        await Waiting([refusal()], [cancelled]).waited()
    with pytest.raises(asyncio.CancelledError):
        await Waiting([refusal(2)], [cancelled]).waited()


async def test_what_no_worker_takes_after_its_turn_is_in_doubt_where_an_attempt_began() -> None:
    for attempt in (1, 2):
        with pytest.raises(NotTaken) as caught:
            await Waiting([refusal(attempt), NotTaken("q", is_in_doubt=False)], [1.0]).waited()
        assert caught.value.is_in_doubt == (attempt == 2)


async def test_what_the_worker_that_asks_lacks_is_told_as_it_is() -> None:
    lacks = error(ApplicationError("no REDIS_URL", {"elsewhere_seconds": 120}, type="CONFIGURATION_INVALID"))
    with pytest.raises(ActivityError) as caught:
        await Waiting([refusal()], [lacks]).waited()
    assert caught.value is lacks


async def test_a_run_that_continues_as_new_while_a_node_waits_knows_how_far_it_had_come() -> None:
    run, kept = Waiting([refusal(2), refusal(2)], []), {}

    def hand_on() -> BaseException:
        kept.update(json.loads(json.dumps(run.turns.dump())))
        return asyncio.CancelledError()

    run = Waiting([refusal(2), refusal(2)], [4.0, hand_on])
    with pytest.raises(asyncio.CancelledError):
        await run.waited()
    assert kept == {"a": {"attempts": 1, "seconds": 5.5, "since": None}}
    after = Waiting(["done"], [], kept)
    assert await after.waited() == "done"
    assert after.before == [Before(1, 5.5)]
    assert after.turns.dump() == {}


# what the machine and people see


def test_a_node_that_waits_for_its_turn_holds_back_no_continuing_as_new_and_is_asked_for_again() -> None:
    graph = {"nodes": {"a": python(**SLOT), "b": python()}, "edges": [edge("a", "b")]}
    play = Play(machine_of(graph)).start()
    assert play.state.under_way
    play.state.await_turn("a", "rate limit 'bank'")
    assert not play.state.under_way
    status = views.status(play.state)
    assert status["limited"] == {"a": "rate limit 'bank'"}
    assert cast("Any", status["nodes"])["a"]["status"] == "waiting"
    assert "Node `a` waits for its turn: `rate limit 'bank'`" in views.details(play.state)
    fresh = RunState(play.state.plan, {}, run=RUN)
    snapshot.load(fresh, json.loads(json.dumps(snapshot.dump(play.state))))
    (again,) = Machine(fresh).resume_from_snapshot(5)
    assert isinstance(again, RunNode)
    assert (again.address, again.key) == ("a", "run-1/a")
    assert fresh.under_way


def test_a_node_that_has_its_turn_runs_again() -> None:
    play = Play(machine_of({"nodes": {"a": python(**SLOT)}})).start()
    play.state.await_turn("a", "why")
    play.state.await_turn("a", None)
    assert "limited" not in views.status(play.state)
    assert play.state.under_way
    assert play.finish().failure is None


def test_what_nobody_knows_waits_for_no_turn_in_the_machine() -> None:
    play = Play(machine_of({"nodes": {"a": python(**SLOT)}})).start()
    play.state.await_turn("undo a", "why")
    assert views.status(play.state)["limited"] == {"undo a": "why"}
    play.state.await_turn("undo a", None)
    assert play.finish().failure is None
