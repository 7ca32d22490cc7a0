"""Runs that were recorded go on with the current code: the same commands in the same order, and the same result.

After a change that is meant to change them: `python -m tests.replay.record`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.converter import PayloadCodec
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    Replayer,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)
from temporalio.workflow import NondeterminismError

from anabranch.graph.model import NODE_TYPES
from anabranch.plugin import AnabranchPlugin
from anabranch.transport.converter import data_converter
from anabranch.transport.node_protocol import PinnedGraph
from anabranch.transport.workflow_threads import WorkflowThreads
from anabranch.worker import sandbox
from anabranch.workflows.interpreter.scope import Scope
from tests.replay.conversations import goes_on_in_second_task
from tests.replay.plays import PLAYS
from tests.replay.record import HISTORIES

FILES = sorted(HISTORIES.glob("*.json.gz"))
ENDINGS = {"COMPLETED", "FAILED", "CANCELED", "CONTINUED_AS_NEW"}


def name_of(path: Path) -> str:
    return path.name.removesuffix(".json.gz")


def text_of(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode()


def events_of(path: Path) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = json.loads(text_of(path))["events"]
    return events


def history_of(events: list[dict[str, Any]]) -> WorkflowHistory:
    workflow_id = events[0]["workflowExecutionStartedEventAttributes"]["workflowId"]
    return WorkflowHistory.from_json(workflow_id, {"events": events})


def prefixes(events: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The history as far as each workflow task's start.

    That is what the server gives a worker that takes the run over with this task: all that was recorded before is
    replayed, and the task itself is the first that is not.
    """
    for end, event in enumerate(events, 1):
        if event["eventType"] == "EVENT_TYPE_WORKFLOW_TASK_STARTED":
            yield events[:end]


@dataclass
class Results(Interceptor):
    """What replayed runs return."""

    found: list[Any] = field(default_factory=list)

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002 - the SDK's name
    ) -> type[WorkflowInboundInterceptor]:
        found = self.found

        class Noting(WorkflowInboundInterceptor):
            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002 - the SDK's name
                result = await super().execute_workflow(input)
                found.append(result)
                return result

        return Noting


def replayer(*, strict: bool = False, results: Results | None = None) -> Replayer:
    return Replayer(
        workflows=[],
        plugins=[AnabranchPlugin()],
        unsandboxed_workflow_runner=sandbox(strict=strict),
        workflow_task_executor=WorkflowThreads(),
        interceptors=[results] if results else [],
    )


def test_every_play_has_its_history() -> None:
    assert [name_of(path) for path in FILES] == sorted(PLAYS)


@pytest.mark.parametrize("strict", [False, True], ids=["shared", "sandbox"])
@pytest.mark.parametrize("path", FILES, ids=name_of)
async def test_a_recorded_run_replays(path: Path, strict: bool) -> None:
    replayed = await replayer(strict=strict).replay_workflow(history_of(events_of(path)))
    assert replayed.replay_failure is None


@pytest.mark.parametrize("path", FILES, ids=name_of)
async def test_a_recorded_run_replays_as_far_as_each_of_its_workflow_tasks(path: Path) -> None:
    failures = {}
    for events in prefixes(events_of(path)):
        replayed = await replayer().replay_workflow(history_of(events), raise_on_replay_failure=False)
        failures[len(events)] = replayed.replay_failure
    assert failures
    assert {end: failure for end, failure in failures.items() if failure is not None} == {}


@pytest.mark.parametrize("path", FILES, ids=name_of)
async def test_a_recorded_run_ends_with_the_same_result(path: Path) -> None:
    results = Results()
    history = history_of(events_of(path))
    await replayer(results=results).replay_workflow(history)
    recorded = history.events[-1].workflow_execution_completed_event_attributes.result.payloads
    assert results.found == await data_converter().decode(recorded)


async def test_another_order_of_the_same_nodes_does_not_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what passes above is known to be able to fail."""
    _settle_backwards(monkeypatch)
    with pytest.raises(NondeterminismError, match="left"):
        await replayer().replay_workflow(history_of(events_of(HISTORIES / "diamond_with_conflicts.json.gz")))


async def test_another_order_does_not_replay_as_far_as_the_tasks_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _settle_backwards(monkeypatch)
    failed = []
    for events in prefixes(events_of(HISTORIES / "diamond_with_conflicts.json.gz")):
        replayed = await replayer().replay_workflow(history_of(events), raise_on_replay_failure=False)
        failed.append(replayed.replay_failure is not None)
    assert (failed[0], failed[-1]) == (False, True)


def _settle_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = Scope.settle
    monkeypatch.setattr(Scope, "settle", lambda scope, edges: settle(scope, edges)[::-1])


# what the baseline has


async def test_the_histories_have_every_node_type() -> None:
    found: set[str] = set()
    for path in FILES:
        for definition in await _definitions(path):
            found |= set(_values(definition, "type")) & set(NODE_TYPES)
    assert found == set(NODE_TYPES)


async def _definitions(path: Path) -> list[Any]:
    """The graphs that a recorded run pinned."""
    markers = [each.marker_recorded_event_attributes for each in history_of(events_of(path)).events]
    payloads = [each.details["result"].payloads for each in markers if "result" in each.details]
    for recorded in payloads:
        (value,) = await _decoded(recorded)
        if isinstance(value, PinnedGraph):
            return [json.loads(text) for text in (value.definition, *value.graphs.values())]
    return []


async def _decoded(payloads: Any) -> list[Any]:
    converter = data_converter()
    assert isinstance(converter.payload_codec, PayloadCodec)
    return converter.payload_converter.from_payloads(await converter.payload_codec.decode(payloads))


def test_the_histories_have_every_signal_and_update() -> None:
    events = [event for path in FILES for event in events_of(path)]
    assert set(_values(events, "signalName")) == {"pause", "resume", "event"}
    accepted = [each for each in events if "workflowExecutionUpdateAcceptedEventAttributes" in each]
    updates = {
        each["workflowExecutionUpdateAcceptedEventAttributes"]["acceptedRequest"]["input"]["name"] for each in accepted
    }
    assert updates == {"resolve_conflict", "complete_task", "write_context", "retry_node", "skip_node", "fail_node"}


def test_the_histories_have_every_ending() -> None:
    last = {events_of(path)[-1]["eventType"].removeprefix("EVENT_TYPE_WORKFLOW_EXECUTION_") for path in FILES}
    assert last == ENDINGS


def test_one_run_was_asked_just_when_its_graph_was_loaded() -> None:
    history = history_of(events_of(HISTORIES / "asked_while_loading.json.gz"))
    assert goes_on_in_second_task([event.event_type for event in history.events])


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_history_tells_nothing_of_the_machine_that_recorded_it(path: Path) -> None:
    text = text_of(path)
    assert set(_values(json.loads(text), "identity")) == {"anabranch-test"}
    assert "stackTrace" not in text
    assert str(Path(__file__).parents[2]) not in text


def _values(value: Any, name: str) -> list[Any]:
    if isinstance(value, dict):
        return [each for key, each in value.items() if key == name] + _values(list(value.values()), name)
    if isinstance(value, list):
        return [found for each in value for found in _values(each, name)]
    return []
