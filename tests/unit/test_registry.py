"""The dispatcher: handlers by type, `output`, what is checked, and how errors reach Temporal."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from anabranch.activities.load_graph import GraphLoader
from anabranch.activities.node_result import NodeResult, own_key
from anabranch.activities.registry import NodeActivities, parse_node
from anabranch.context.changes import ChangeSet
from anabranch.errors import (
    AnabranchError,
    ConfigurationError,
    GraphError,
    InputError,
    NodeError,
    Problem,
    SizeLimitExceeded,
    Unavailable,
    WireFormatError,
)
from anabranch.limits import NodeLimits
from anabranch.transport.converter import data_converter
from anabranch.transport.failures import application_error
from anabranch.transport.node_protocol import NodeTask
from tests.json_values import unchecked
from tests.node_tasks import task_of

DB = {"type": "db", "connection": "DB", "query": "select 1"}


class Answer:
    """A handler that answers what it was made with, and notes what it was asked."""

    def __init__(self, outcome: NodeResult | Exception) -> None:
        self.outcome = outcome
        self.tasks: list[NodeTask] = []
        self.closed = False

    async def __call__(self, task: NodeTask, node: Any) -> NodeResult:
        self.tasks.append(task)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    async def aclose(self) -> None:
        self.closed = True


def activities_with(handler: Answer, **limits: Any) -> NodeActivities:
    return NodeActivities({"db": lambda: handler}, GraphLoader(Path("examples")), **limits)


async def run(activities: NodeActivities, task: NodeTask, attempt: int = 1) -> ChangeSet:
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, attempt=attempt)
    return await environment.run(activities.run_node, task)


async def test_without_output_the_handler_s_writes_become_top_level_paths() -> None:
    outcome = NodeResult({"row": {}}, {"in_stock": True, "order": {"id": 1}}, ("draft",))
    changes = await activities_with(Answer(outcome)).execute(task_of(DB))
    assert changes == ChangeSet(7, {("in_stock",): True, ("order",): {"id": 1}}, (("draft",),), "reserve", 2)


async def test_output_writes_its_own_keys_from_result_context_and_run_instead() -> None:
    outcome = NodeResult({"row": {"left": 3}, "row_count": 1}, {"left": 3})
    node = {
        **DB,
        "output": {"in_stock": "result.row.left >= quantity", "who": "run.session_id", "n": "result.row_count"},
    }
    changes = await activities_with(Answer(outcome)).execute(task_of(node, {"quantity": 2}))
    assert changes.set == {("in_stock",): True, ("who",): "session-1", ("n",): 1}


async def test_the_attempt_is_visible_as_run_attempt() -> None:
    node = {**DB, "output": {"tried": "run.attempt"}}
    assert (await run(activities_with(Answer(NodeResult({}))), task_of(node), attempt=3)).set == {("tried",): 3}


async def test_what_is_no_json_value_is_refused_with_its_path() -> None:
    outcome = NodeResult({}, {"order": {"when": unchecked(object())}})
    with pytest.raises(WireFormatError, match=r"order\.when"):
        await activities_with(Answer(outcome)).execute(task_of(DB))


@pytest.mark.parametrize(("key", "wrong"), [(1, "the key 1, which is not a string"), ("\ud800", "a lone surrogate")])
async def test_a_key_that_is_no_text_is_refused(key: Any, wrong: str) -> None:
    with pytest.raises(WireFormatError, match=wrong):
        await activities_with(Answer(NodeResult({}, {key: 1}))).execute(task_of(DB))


async def test_writes_over_the_limit_are_refused_naming_the_largest_key() -> None:
    outcome = NodeResult({}, {"small": 1, "large": "x" * 2000})
    with pytest.raises(SizeLimitExceeded, match=r"over the limit of 1000; the largest key is 'large'"):
        await activities_with(Answer(outcome), limits=NodeLimits(written_bytes=1000)).execute(task_of(DB))


async def test_a_body_that_is_no_node_is_refused_naming_the_field() -> None:
    with pytest.raises(InputError, match="connection: Field required"):
        await activities_with(Answer(NodeResult({}))).execute(task_of({"type": "db", "query": "select 1"}))


async def test_a_type_that_is_no_activity_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="a 'wait' node does not run as an activity"):
        await activities_with(Answer(NodeResult({}))).execute(task_of({"type": "wait", "for": "1s"}))


def test_the_same_body_is_parsed_once() -> None:
    assert parse_node(dict(DB)) is parse_node(dict(DB))


async def test_a_handler_is_built_once_and_closed_at_the_end() -> None:
    built: list[Answer] = []

    def build() -> Answer:
        built.append(Answer(NodeResult({})))
        return built[-1]

    activities = NodeActivities({"db": build}, GraphLoader(Path("examples")))
    await activities.execute(task_of(DB))
    await activities.execute(task_of(DB))
    await activities.aclose()
    assert len(built) == 1
    assert len(built[0].tasks) == 2
    assert built[0].closed


@pytest.mark.parametrize(
    ("error", "kind", "non_retryable"),
    [
        (NodeError("no", suggestion="do"), "NODE_FAILED", True),
        (Unavailable("busy"), "UNAVAILABLE", False),
        (ConfigurationError("unset"), "CONFIGURATION_INVALID", True),
    ],
)
async def test_errors_become_application_errors_of_their_code(
    error: AnabranchError, kind: str, non_retryable: bool
) -> None:
    error.__cause__ = ValueError("postgres://user:secret@host")
    with pytest.raises(ApplicationError) as caught:
        await run(activities_with(Answer(error)), task_of(DB))
    failure = caught.value
    assert (failure.type, failure.non_retryable) == (kind, non_retryable)
    assert failure.message.startswith("node 'reserve': ") == error.elsewhere
    looked_for = {"elsewhere_seconds": 120} if error.elsewhere else {}
    told = {"code": kind, "place": "node 'reserve'", "suggestion": error.suggestion}
    assert failure.details[0] == told | looked_for
    assert failure.__cause__ is None
    assert failure.__suppress_context__


def test_the_pause_that_a_service_asked_for_is_the_next_retry_delay() -> None:
    failure = application_error(Unavailable("busy", retry_after=timedelta(seconds=7)))
    assert failure.next_retry_delay == timedelta(seconds=7)


def test_a_graph_error_tells_every_problem() -> None:
    failure = application_error(GraphError((Problem("A", "one"), Problem("B", "two"))))
    assert failure.details[0]["problems"] == ["error[A]: one", "error[B]: two"]
    assert failure.type == "GRAPH_INVALID"


async def test_an_unforeseen_exception_keeps_temporal_s_defaults() -> None:
    with pytest.raises(ZeroDivisionError, match="by accident"):
        await run(activities_with(Answer(ZeroDivisionError("by accident"))), task_of(DB))


@pytest.mark.parametrize(
    ("outcome", "output"),
    [
        (NodeResult({}, {"receipt": unchecked(object())}), None),
        (NodeResult({}, {"receipt": "x" * 2000}), None),
        (NodeResult({}), {"receipt": "result.none"}),
    ],
)
async def test_a_result_that_cannot_be_used_says_that_the_effect_has_happened(
    outcome: NodeResult, output: dict[str, Any] | None
) -> None:
    task = task_of({**DB, "output": output} if output else DB)
    with pytest.raises(ApplicationError) as caught:
        await run(activities_with(Answer(outcome), limits=NodeLimits(written_bytes=1000)), task)
    assert caught.value.details[0]["happened"] is True


async def test_an_unforeseen_exception_of_a_later_attempt_tells_that_there_were_others() -> None:
    """What those did, nobody knows: the saga undoes the node."""
    with pytest.raises(ApplicationError, match="by accident") as caught:
        await run(activities_with(Answer(ZeroDivisionError("by accident"))), task_of(DB), attempt=2)
    failure = caught.value
    assert (failure.type, failure.non_retryable) == ("ZeroDivisionError", False)
    assert failure.details[0] == {"code": "ZeroDivisionError", "attempt": 2}
    assert isinstance(failure.__cause__, ZeroDivisionError)


def test_a_worker_registers_load_graph_the_node_types_and_a_dynamic_activity() -> None:
    functions = activities_with(Answer(NodeResult({}))).activities()
    names = [unchecked(function).__temporal_activity_definition.name for function in functions]
    assert names == ["load_graph", "record_history", "record_reason", "await_turn", "db", None]


async def test_the_dynamic_activity_runs_a_node_whatever_its_name() -> None:
    local = activities_with(Answer(NodeResult({}, {"a": 1}))).activities()[-1]
    environment = ActivityEnvironment()
    environment.payload_converter = data_converter().payload_converter
    payload = environment.payload_converter.to_payload(task_of(DB))
    changes = await environment.run(local, [RawValue(payload)])
    assert changes.set == {("a",): 1}


async def test_an_activity_that_nobody_has_is_refused_by_the_dynamic_one() -> None:
    local = activities_with(Answer(NodeResult({}))).activities()[-1]
    with pytest.raises(ApplicationError, match="this worker has no activity") as caught:
        await ActivityEnvironment().run(local, [])
    assert caught.value.non_retryable


@pytest.mark.parametrize(
    ("address", "key"),
    [("reserve", "reserve"), ("pack[3]/weigh", "weigh"), ("undo reserve", "reserve"), ("undo pack[3]/weigh", "weigh")],
)
def test_a_single_value_is_written_under_the_node_s_id(address: str, key: str) -> None:
    assert own_key(task_of(address=address)) == key
