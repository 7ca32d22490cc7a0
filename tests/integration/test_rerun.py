"""Runs that take over what another one knew, on a server: what runs again, what is kept, who undoes what."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError
from typer.testing import CliRunner

from anabranch.activities import node
from anabranch.activities.standard import node_activities
from anabranch.cli.main import app
from anabranch.context.distributed import DistributedContext
from anabranch.dev.devserver import temporal_command
from anabranch.errors import NodeError
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.runs import Runs
from anabranch.rerun.starting import plan_rerun, start_rerun
from anabranch.settings import Settings, on_this_machine
from anabranch.transport.node_protocol import NodeTask
from anabranch.transport.rerun import RERUN_OF, RerunRequest
from anabranch.transport.working import working
from anabranch.worker import build_worker
from tests.integration.graph_kit import (
    MODES,
    PATIENCE,
    Handle,
    Served,
    attempts,
    chain,
    diamond,
    edge,
    error_of,
    leaf,
    put,
    scheduled,
    until_status,
    worker_for,
)


@node("counted")
async def counted(context: DistributedContext, name: str, needs: str | None = None, **values: Any) -> dict[str, Any]:
    """Count the call; fail where the context's `needs` says so; write the values."""
    attempts[name] += 1
    if needs is not None and context.get(needs) == "bad":
        raise NodeError(f"{needs} is bad")
    return values


def did(name: str, *, needs: str | None = None, reads: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """A node that counts its calls, and writes `NAME: true`, or its `writes`."""
    writes = more.pop("writes", {name: True})
    read = reads if needs is None else (*reads, needs)
    retry = {"retry": {"max_attempts": 1}}
    return leaf("counted", reads=read, args={"name": name, "needs": needs, **writes}, **(retry | more))


@pytest.fixture(autouse=True)
def _counted_anew() -> None:
    attempts.clear()


@pytest.fixture
async def runs(client: Client) -> AsyncGenerator[Runs]:
    inspector = Inspector(client.data_converter)
    yield Runs(client, inspector)
    inspector.close()


def counts(*names: str) -> tuple[int, ...]:
    return tuple(attempts[name] for name in names)


async def failed(served: Served, graph: Mapping[str, Any], data: Mapping[str, Any]) -> Handle:
    """A run that has failed."""
    handle = await served.start(dict(graph), data)
    await error_of(handle)
    return handle


async def again(served: Served, run: Handle, *nodes: str, **more: Any) -> Handle:
    """A rerun, as any client starts it."""
    request = {"workflow_id": run.id, "from": [*nodes], **more}
    return await served.start_type("GraphWorkflow", {"rerun": request})


async def result(handle: Handle) -> dict[str, Any]:
    return await asyncio.wait_for(handle.result(), PATIENCE)


async def started_by_the_temporal_command(served: Served, request: dict[str, Any]) -> Handle:
    given = ["--type", "GraphWorkflow", "--task-queue", served.task_queue, "--workflow-id", f"{served.task_queue}-cli"]
    given += ["--address", served.client.service_client.config.target_host]
    started = await asyncio.create_subprocess_exec(
        temporal_command(), "workflow", "start", *given, "--input", json.dumps({"rerun": request}), stdout=DEVNULL
    )
    assert await started.wait() == 0
    return served.client.get_workflow_handle(f"{served.task_queue}-cli")


async def test_a_failed_node_runs_again_with_a_corrected_key(served: Served, runs: Runs) -> None:
    graph = {**chain(price=did("price", writes={"price": 120}), pay=did("pay", needs="card"), ship=did("ship"))}
    run = await failed(served, graph, {"card": "bad"})
    rerun = await started_by_the_temporal_command(
        served, {"workflow_id": run.id, "from": ["pay"], "set": {"card": "good"}}
    )
    done = await result(rerun)
    assert done["data"] == {"card": "good", "price": 120, "pay": True, "ship": True}
    assert counts("price", "pay", "ship") == (1, 2, 1)
    described = await rerun.describe()
    assert (await described.memo())[RERUN_OF] == {"workflow_id": run.id, "run_id": run.first_execution_run_id}
    seen = await runs.inspect(rerun.id)
    assert [(each.kind, each.by) for each in seen.lineage] == [
        ("input", "input"),
        ("node", "price"),
        ("external", f"rerun of {run.id}"),
        ("node", "pay"),
        ("node", "ship"),
    ]


async def test_a_run_goes_on_with_another_version_of_its_graph(served: Served, runs: Runs) -> None:
    """Kept nodes keep what they came to; a node that is new runs."""
    before = {"name": "shop", **chain(price=did("price"), pay=did("pay", needs="card"), ship=did("ship"))}
    after = chain(
        price=did("price", writes={"price": "otherwise"}),
        check=did("check", reads=("price",)),
        pay=did("pay", writes={"paid": "{{ price }}"}, reads=("price",)),
        ship=did("ship"),
    )
    served.write("shop", json.dumps(before))
    run = await served.start_type("shop", {"card": "bad"})
    await error_of(run)
    served.write("shop", json.dumps({"name": "shop", **after}))
    rerun = await again(served, run, "pay", graph="shop")
    assert (await result(rerun))["data"] == {"card": "bad", "price": True, "check": True, "paid": True, "ship": True}
    assert counts("price", "check", "pay", "ship") == (1, 1, 2, 1)

    without = {"name": "shop", **chain(pay=did("pay"), ship=did("ship"))}
    refused = await error_of(await again(served, run, "pay", graph=without))
    assert refused.type == "GRAPH_MISMATCH"
    assert "the run has done 'price', and the other graph has no such node" in refused.message
    looped = {"name": "shop", **after, "nodes": {**after["nodes"], "price": {"type": "block", **chain(price=put())}}}
    refused = await error_of(await again(served, run, "pay", graph=looped))
    assert refused.type == "GRAPH_MISMATCH"
    assert "has it as a 'block' node" in refused.message


def two_sides() -> dict[str, Any]:
    """A diamond whose sides read different keys, with a node behind each and behind their join."""
    graph = diamond(did("left", reads=("x",)), did("right", reads=("y",), writes={"right": "{{ y }}"}))
    graph["nodes"] |= {"start": did("start"), "join": did("join", reads=("left", "right")), "end": did("end")}
    graph["edges"] += [edge("join", "end")]
    return graph


async def test_unchanged_nodes_are_kept_where_one_branch_reads_something_else(served: Served, runs: Runs) -> None:
    run = await served.start(two_sides(), {"x": 1, "y": 1})
    await result(run)
    request = RerunRequest(run.id, nodes=("start",), changes={"y": 2}, keep_unchanged=True)
    plan = await plan_rerun(runs, request)
    assert (plan.first, plan.behind) == (("start",), ("left", "right", "join", "end"))
    assert plan.if_unchanged == ("left", "right", "join", "end")
    rerun = await start_rerun(served.client, request, task_queue=served.task_queue)
    assert rerun.id == f"{run.id}-rerun-1"
    done = await result(rerun)
    assert done["data"]["right"] == 2
    assert counts("start", "left", "right", "join", "end") == (2, 1, 2, 2, 1)
    assert (await runs.inspect(rerun.id)).status == "completed"

    second = await start_rerun(served.client, request, task_queue=served.task_queue)
    assert second.id == f"{run.id}-rerun-2"
    await result(second)
    everything = await again(served, run, "start")
    await result(everything)
    assert counts("start", "left", "right", "join", "end") == (4, 2, 4, 4, 2)


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
async def test_of_all_items_those_run_again_that_failed(served: Served, runs: Runs, count: int) -> None:
    """Each is a rule, and ten have an activity behind, of which three fail."""
    bad = [index * count // 10 + 3 for index in (0, 4, 9)]
    weigh = {"type": "rule", "rules": [{"then": {"weight": "{{ item * 2 }}"}}]}
    send = leaf("send", reads=("flaky",), args={"item": "{{ item }}"}, when=f"item % {count // 10} == 3")
    each = {"type": "foreach", "items": "numbers", "max_concurrency": 500, "body": chain(weigh=weigh, send=send)}
    each |= {"on_item_failure": "collect", "failed": "bad", "collect": {"into": "weights", "value": "weight"}}
    end = {"type": "rule", "rules": [{"then": {"count": "{{ size(weights) }}"}}]}
    run = await served.start(chain(each=each, end=end), {"numbers": [*range(count)], "flaky": bad})
    first = (await result(run))["data"]
    assert (first["count"], [each["item"] for each in first["bad"]]) == (count - 3, bad)
    plan = await plan_rerun(runs, RerunRequest(run.id, failed=True, changes={"flaky": []}))
    assert (plan.named, plan.items["each"], plan.behind) == (("each",), (count - 3, count), ("end",))
    attempts.clear()
    rerun = await again(served, run, failed=True, set={"flaky": []})
    done = (await result(rerun))["data"]
    assert (done["count"], done["weights"], done["bad"]) == (count, [2 * each for each in range(count)], [])
    assert dict(attempts) == {f"send {index}": 1 for index in bad}
    seen = await runs.inspect(rerun.id)
    ran = {visit.address for visit in seen.visits} - seen.kept.keys()
    local = {f"each[{index}]/{name}" for index in bad for name in ("weigh", "send")}
    assert {address for address in ran if "/" in address and seen.event_ids.get(address)} <= local


@node("send")
async def send(context: DistributedContext, item: int) -> None:
    attempts[f"send {item}"] += 1
    flaky = context.get("flaky")
    assert isinstance(flaky, list)
    if item in flaky:
        raise NodeError("it cannot be sent")


def undoable(name: str, **more: Any) -> dict[str, Any]:
    return did(name, compensate=did(f"un{name}", output={}), **more)


async def test_what_was_undone_runs_again_and_what_was_not_is_kept(served: Served, runs: Runs) -> None:
    graph = chain(quote=did("quote"), reserve=undoable("reserve"), pay=did("pay", needs="card"))
    run = await failed(served, graph, {"card": "bad"})
    assert counts("reserve", "unreserve") == (1, 1)
    plan = await plan_rerun(runs, RerunRequest(run.id, nodes=("pay",), changes={"card": "good"}))
    assert (plan.kept, plan.first, plan.behind) == (("quote",), ("reserve",), ("pay",))
    assert (plan.undone, plan.stays, plan.taken_over) == (("reserve",), (), ())
    assert plan.again == ("reserve", "pay")
    rerun = await again(served, run, "pay", set={"card": "good"})
    assert (await result(rerun))["data"] == {"card": "good", "quote": True, "reserve": True, "pay": True}
    assert counts("quote", "reserve", "unreserve", "pay") == (1, 2, 1, 2)


async def test_a_cancelled_rerun_undoes_what_it_kept_under_the_key_of_the_run_before(
    served: Served, runs: Runs
) -> None:
    graph = chain(
        quote=did("quote"),
        reserve=undoable("reserve"),
        pay=did("pay"),
        nap={"type": "wait", "for": "1h"},
        ship=did("ship"),
    )
    run = await served.start(graph)
    await until_status(run, "nap", "waiting")
    await run.terminate()
    plan = await plan_rerun(runs, RerunRequest(run.id, nodes=("nap",)))
    assert (plan.taken_over, plan.stays, plan.ended) == (("reserve",), (), "terminated")
    rerun = await again(served, run, "nap")
    await until_status(rerun, "nap", "waiting")
    seen = await runs.inspect(rerun.id)
    assert seen.undo_plan is not None
    assert [step.address for step in seen.undo_plan.steps] == ["reserve"]

    await rerun.terminate()
    second = await again(served, rerun, "nap")
    await until_status(second, "nap", "waiting")
    await second.cancel()
    with pytest.raises(WorkflowFailureError):
        await result(second)
    assert counts("quote", "reserve", "pay", "unreserve") == (1, 1, 1, 1)
    await check_key(served, second, run)

    third = await again(served, run, "quote", unchanged="keep", by="ada")
    await until_status(third, "nap", "waiting")
    assert (await (await third.describe()).memo())[RERUN_OF]["by"] == "ada"
    await third.cancel()
    with pytest.raises(WorkflowFailureError):
        await result(third)
    assert counts("quote", "reserve", "pay", "unreserve") == (2, 1, 1, 2)
    await check_key(served, third, run)


async def check_key(served: Served, handle: Handle, before: Handle) -> None:
    """What a run undid it undid under the key of the run before."""
    event = (await scheduled(served.client, handle))["undo reserve"]
    payloads = event.activity_task_scheduled_event_attributes.input.payloads
    (undoing,) = await served.client.data_converter.decode(payloads, [NodeTask])
    assert undoing.key == f"{before.first_execution_run_id}/reserve/undo"


async def test_a_rerun_of_a_rerun_knows_what_both_knew(served: Served) -> None:
    graph = chain(
        one=did("one", writes={"one": "{{ a }}"}, reads=("a",)),
        two=did("two", needs="b", writes={"two": "{{ b }}"}),
        three=did("three", needs="c", writes={"three": "{{ [a, b, c] }}"}, reads=("a", "b")),
        four=did("four"),
    )
    run = await failed(served, graph, {"a": 1, "b": "bad", "c": "bad"})
    second = await again(served, run, "two", set={"b": "good", "a": 2})
    assert (await error_of(second)).type == "NODE_FAILED"
    third = await again(served, second, failed=True, set={"c": "good"})
    data = (await result(third))["data"]
    assert (data["one"], data["two"], data["three"]) == (1, "good", [2, "good", "good"])
    assert counts("one", "two", "three", "four") == (1, 2, 2, 1)
    fourth = await again(served, third, "four")
    assert (await result(fourth))["data"] == data
    assert counts("one", "two", "three", "four") == (1, 2, 2, 2)


async def test_no_input_of_a_start_brings_a_state(served: Served) -> None:
    run = await failed(served, chain(pay=did("pay", needs="card")), {"card": "bad"})
    request = {"workflow_id": run.id, "from": ["pay"]}
    taken = {"data": {"card": "good"}, "entries": []}
    for given in (
        [{"rerun": {**request, "taken": taken}}],
        [{"rerun": request, "taken": taken}],
        [{"rerun": request}, {"taken": taken, "previous": run.first_execution_run_id}],
        [{"rerun": {"from": ["pay"]}}],
        [{"rerun": {**request, "from": "pay"}}],
        [{"rerun": {**request, "unchanged": "maybe"}}],
        [{"rerun": {"workflow_id": run.id}}],
    ):
        assert (await error_of(await served.start_type("GraphWorkflow", *given))).type == "INPUT_INVALID"
    assert counts("pay") == (1,)


async def test_each_refusal_of_a_rerun_says_what_to_do(served: Served, runs: Runs) -> None:
    graph = chain(
        pay=did("pay", needs="card"),
        each={"type": "foreach", "items": "[1]", "body": chain(step=put(x=1))},
        nap={"type": "wait", "for": "1h"},
    )
    graph["nodes"]["never"] = put()
    graph["edges"].append(edge("pay", "never", when="card == 'none'"))
    open_run = await served.start(graph, {"card": "good"})
    await until_status(open_run, "nap", "waiting")
    error = await error_of(await again(served, open_run, "pay"))
    assert (error.type, "has not ended" in error.message) == ("RUN_OPEN", True)
    await open_run.terminate()
    refusals: list[tuple[str, dict[str, Any], str]] = [
        ("INPUT_INVALID", {"from": ["pay"], "namespace": "another"}, "in the namespace 'another'"),
        ("NODE_UNKNOWN", {"from": ["pya"]}, "has no node 'pya'"),
        ("NODE_UNKNOWN", {"from": ["each[0]/step"]}, "in the body of 'each'"),
        ("RERUN_REFUSED", {"failed": True}, "no node of the run failed"),
        ("RERUN_REFUSED", {"from": ["never"]}, "nothing leads to 'never'"),
        ("INPUT_INVALID", {"from": ["pay"], "set": {"card.number": 1}}, "leads through 'card'"),
        ("INPUT_INVALID", {"from": ["pay"], "run_id": "00000000-0000-4000-8000-000000000000"}, "the server has no run"),
        ("GRAPH_UNKNOWN", {"from": ["pay"], "graph": "nowhere"}, "nowhere"),
    ]
    for code, more, words in refusals:
        error = await error_of(await again(served, open_run, **more))
        assert (error.type, words in error.message) == (code, True), error.message


async def test_what_people_and_services_said_is_taken_over(served: Served) -> None:
    """An answer, a settled conflict, a write from outside: none of them is asked for again."""
    ask = {"type": "approval", "prompt": "well?", "output": {"said": "result.said"}}
    graph = diamond(put(x=1), put(x=2), context={"conflict_resolution": "fail_on_conflict"})
    graph["nodes"] |= {"ask": ask, "pay": did("pay", needs="card", reads=("said", "x", "note"))}
    graph["edges"] += [edge("join", "ask"), edge("ask", "pay")]
    run = await served.start(graph, {"card": "bad"})
    await until_status(run, "join", "conflict")
    await run.execute_update("resolve_conflict", {"node": "join", "path": "x", "choose": "right"})
    await until_status(run, "ask", "waiting")
    number = (await run.query("context"))["number"]
    await run.execute_update("write_context", {"changes": {"note": "urgent"}, "base_version": number, "by": "crm"})
    await run.execute_update("complete_task", {"node": "ask", "answer": {"said": "yes"}})
    await error_of(run)
    rerun = await again(served, run, "pay", set={"card": "good"})
    assert (await result(rerun))["data"] == {"card": "good", "x": 2, "note": "urgent", "said": "yes", "pay": True}


async def test_the_answers_of_several_people_are_taken_over_and_nobody_is_reminded_again(served: Served) -> None:
    remind = {"after": "20ms", "every": "20ms", "times": 2, "node": put()}
    escalate = {"after": "30ms", "to": {"groups": ["chiefs"]}}
    ask = {"type": "approval", "answers": 2, "remind": remind, "escalate": escalate}
    run = await served.start(chain(ask=ask, pay=did("pay", needs="card")), {"card": "bad"})
    told = await until_status(run, "ask", "waiting")
    while told["approvals"]["ask"]["reminders"]["sent"] < 2:
        told = await until_status(run, "ask", "waiting")
    for by in ("ann", "bo"):
        await run.execute_update("complete_task", {"node": "ask", "answer": {by: "yes"}, "by": by})
    await error_of(run)
    rerun = await again(served, run, "pay", set={"card": "good"})
    data = (await result(rerun))["data"]
    assert [(each["by"], each["answer"]) for each in data["answers"]] == [
        ("ann", {"ann": "yes"}),
        ("bo", {"bo": "yes"}),
    ]
    assert not [each for each in await scheduled(served.client, rerun) if "ask" in each]


@pytest.mark.parametrize("mode", [MODES[1]])
async def test_a_rerun_replays_from_its_start_at_every_task(served: Served) -> None:
    """In the strict sandbox, with items that are kept, a block that was tried again, and one that is behind."""
    flaky: dict[str, Any] = {"type": "foreach", "items": "[1, 2, 3]", "on_item_failure": "collect", "failed": "bad"}
    flaky |= {"body": chain(note=undoable("note"), send=did("send", needs="card", when="item == 2"))}
    block: dict[str, Any] = {
        "type": "block",
        **chain(hold=undoable("hold"), go=leaf("break_first", retry={"max_attempts": 1})),
    }
    block |= {"retry": {"max_attempts": 2, "initial_interval": "10ms"}}
    graph = chain(block=block, flaky=flaky, end=did("end"))
    run = await served.start(graph, {"card": "bad"})
    first = (await result(run))["data"]
    assert [each["item"] for each in first["bad"]] == [2]
    rerun = await again(served, run, failed=True, set={"card": "good"})
    done = (await result(rerun))["data"]
    assert (done["bad"], done["arrived"], done["end"]) == ([], "block~2/go", True)
    assert counts("hold", "unhold", "note", "unnote", "send", "end") == (2, 1, 4, 1, 2, 2)


async def test_another_worker_reads_the_histories_where_one_ends_meanwhile(
    client: Client, task_queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = asyncio.Event()

    async def never(*_: object) -> None:
        reading.set()
        await asyncio.Event().wait()

    settings = on_this_machine(Settings(task_queue=task_queue, graphs=tmp_path))
    async with worker_for(client, task_queue, tmp_path) as served:
        run = await failed(served, chain(price=did("price"), pay=did("pay", needs="card")), {"card": "bad"})
    activities = node_activities(settings)
    with monkeypatch.context() as patched:
        patched.setattr("anabranch.rerun.activity.past_of", never)
        worker = build_worker(client, settings, activities, grace=timedelta())
        async with working(worker):
            rerun = await again(served, run, "pay", set={"card": "good"})
            await asyncio.wait_for(reading.wait(), PATIENCE)
    await activities.aclose()
    async with worker_for(client, task_queue, tmp_path):
        assert (await result(rerun))["data"] == {"card": "good", "price": True, "pay": True}
    assert counts("price", "pay") == (1, 2)


async def test_the_command_says_what_a_rerun_would_do_and_starts_it(
    served: Served, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    graph = {"name": "shop", **chain(price=did("price"), reserve=undoable("reserve"), pay=did("pay", needs="card"))}
    served.write("shop", json.dumps(graph))
    run = await served.start_type("shop", {"card": "bad"})
    await error_of(run)

    async def told(*args: str) -> tuple[int, str]:
        environ = {"TEMPORAL_ADDRESS": served.client.service_client.config.target_host}
        done = await asyncio.to_thread(CliRunner().invoke, app, ["rerun", run.id, *args], env=environ)
        return done.exit_code, done.output

    code, said = await told("--failed", "--set", "card=good", "--plan", "--json")
    plan = json.loads(said)
    assert (code, plan["from"], plan["kept"], plan["first"]) == (0, ["pay"], ["price"], ["reserve"])
    assert (plan["undone_before"], plan["effects_again"]) == (["reserve"], ["reserve", "pay"])
    assert await told() == (1, "error[INPUT_INVALID]: --from: from where?\n  help: name nodes, or give --failed\n")
    code, said = await told("--from", "pya")
    assert (code, said.startswith("error[NODE_UNKNOWN]: from: the graph 'shop' has no node 'pya'")) == (1, True)

    other = tmp_path_factory.mktemp("elsewhere") / "shop.yaml"
    other.write_text(json.dumps({**graph, "version": "2"}))
    code, said = await told("--failed", "--graph", str(other), "--json")
    started = served.client.get_workflow_handle(json.loads(said)["workflow_id"])
    assert (await error_of(started)).type == "GRAPH_MISMATCH"
    code, said = await told("--failed", "--set", "card=good", "--graph", str(tmp_path / "shop.yaml"))
    assert (code, f"started {run.id}-rerun-2: reserve and what is behind; 1 node is kept" in said) == (0, True)
    again = served.client.get_workflow_handle(f"{run.id}-rerun-2")
    assert (await result(again))["data"]["pay"] is True


async def test_the_time_of_a_run_begins_anew_in_its_rerun(served: Served) -> None:
    graph = {**chain(price=did("price"), pay=did("pay", needs="card"), ask={"type": "approval", "prompt": "well?"})}
    run = await failed(served, {**graph, "timeout": "1h"}, {"card": "bad"})
    rerun = await again(served, run, "pay", set={"card": "good"})
    await until_status(rerun, "ask", "waiting")
    begun = [event async for event in rerun.fetch_history_events() if event.HasField("timer_started_event_attributes")]
    of_run = [event for event in begun if b"timeout of the run since" in event.user_metadata.summary.data]
    times = [event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta() for event in of_run]
    assert times == [timedelta(hours=1)]
    await rerun.execute_update("complete_task", {"node": "ask", "answer": {}})
    assert (await result(rerun))["data"]["pay"] is True


async def test_what_is_taken_over_has_a_limit(
    client: Client, task_queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anabranch.rerun.activity._INLINE", 1000)
    async with worker_for(client, task_queue, tmp_path) as served:
        graph = chain(fill=leaf("fill", args={"key": "big", "size": 1000}), pay=did("pay", needs="card"))
        run = await failed(served, graph, {"card": "bad"})
        error = await error_of(await again(served, run, "pay"))
        assert error.type == "SIZE_LIMIT_EXCEEDED"
        assert "over the limit of 1000" in error.message
        assert "rerun from an earlier node" in error.message


async def test_events_that_were_sent_before_are_there_again(served: Served) -> None:
    """One that a kept node received stays received; one that nobody has received waits for who runs again."""
    kinds = {"pack": "packed", "pay": "paid"}
    waits = [{"type": "receive", "event": event, "output": {name: "result.data"}} for name, event in kinds.items()]
    graph = chain(price=did("price"), first=waits[0], check=did("check", needs="card"), second=waits[1])
    run = await served.start(graph, {"card": "bad"})
    await until_status(run, "first", "waiting")
    for event in ("paid", "packed"):
        await run.signal("event", {"name": event, "id": f"{event}-1", "data": f"{event}!"})
    await error_of(run)
    rerun = await again(served, run, "check", set={"card": "good"})
    data = (await result(rerun))["data"]
    assert (data["pack"], data["pay"], data["check"]) == ("packed!", "paid!", True)
    assert counts("price", "check") == (1, 2)
    from_there = await again(served, run, "first", set={"card": "good"}, unchanged="keep")
    assert (await result(from_there))["data"] == data
