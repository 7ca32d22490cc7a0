"""Runs that were recorded go on with today's code: the same commands in the same order, and the same result.

After a change that is meant to change them: `python -m tests.replay.record`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    Replayer,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)
from temporalio.workflow import NondeterminismError

from anabranch.plugin import AnabranchPlugin
from anabranch.transport.converter import data_converter
from anabranch.transport.workflow_threads import WorkflowThreads
from anabranch.worker import sandbox
from anabranch.workflows.interpreter.scope import Scope
from tests.replay.record import HISTORIES, PLAYS

FILES = sorted(HISTORIES.glob("*.json"))


def history_of(path: Path) -> WorkflowHistory:
    history = json.loads(path.read_text())
    started = history["events"][0]["workflowExecutionStartedEventAttributes"]
    return WorkflowHistory.from_json(started["workflowId"], history)


@dataclass
class Results(Interceptor):
    """What replayed runs return."""

    found: list[Any] = field(default_factory=list)

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:  # noqa: A002 - SDK
        found = self.found

        class Noting(WorkflowInboundInterceptor):
            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002 - the SDK's
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
    assert [path.stem for path in FILES] == sorted(PLAYS)


@pytest.mark.parametrize("strict", [False, True], ids=["shared", "sandbox"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_a_recorded_run_replays(path: Path, strict: bool) -> None:
    replayed = await replayer(strict=strict).replay_workflow(history_of(path))
    assert replayed.replay_failure is None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_a_recorded_run_ends_with_the_same_result(path: Path) -> None:
    results = Results()
    history = history_of(path)
    await replayer(results=results).replay_workflow(history)
    recorded = history.events[-1].workflow_execution_completed_event_attributes.result.payloads
    assert results.found == await data_converter().decode(recorded)


async def test_another_order_of_the_same_nodes_does_not_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what passes above is known to be able to fail."""
    settle = Scope.settle
    monkeypatch.setattr(Scope, "settle", lambda scope, edges: settle(scope, edges)[::-1])
    with pytest.raises(NondeterminismError, match="left"):
        await replayer().replay_workflow(history_of(HISTORIES / "diamond_with_conflicts.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_history_tells_nothing_of_the_machine_that_recorded_it(path: Path) -> None:
    text = path.read_text()
    assert set(_values(json.loads(text), "identity")) == {"anabranch-test"}
    assert "stackTrace" not in text
    assert str(Path(__file__).parents[2]) not in text


def _values(value: Any, name: str) -> list[Any]:
    if isinstance(value, dict):
        return [each for key, each in value.items() if key == name] + _values(list(value.values()), name)
    if isinstance(value, list):
        return [found for each in value for found in _values(each, name)]
    return []
