"""The queries, updates and signals that every graph workflow understands. All of them take and give plain JSON.

Their hints say `Any`: by them the SDK converts what a typed client gets, and it cannot resolve the recursive `Json`.
"""

from __future__ import annotations

from typing import Any

from temporalio import workflow

from anabranch.workflows.interpreter import views
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.temporal import operations, updates
from anabranch.workflows.temporal.driver import GraphRun
from anabranch.workflows.temporal.updates import checked


class Messages:
    """Handlers shared by the dynamic workflow and `GraphWorkflow`."""

    def __init__(self) -> None:
        self.run_of_graph = GraphRun()

    @property
    def _machine(self) -> Machine | None:
        return self.run_of_graph.machine

    @workflow.query
    def context(self) -> dict[str, Any]:
        """The context's data now, its version, and the `number` that `write_context` takes as base_version."""
        if (machine := self._machine) is None:
            return {}
        return views.context(machine.state, machine.context(), self.run_of_graph.info.workflow_id)

    @workflow.query
    def status(self) -> dict[str, Any]:
        """The state of every node."""
        return {"status": "loading"} if self._machine is None else views.status(self._machine.state)

    @workflow.query
    def history(self) -> list[Any]:
        """Versions and merges: who changed what, when, and on top of what."""
        return [] if self._machine is None else views.history(self._machine.state)

    @workflow.query
    def diagram(self) -> str:
        """Mermaid of the graph with states."""
        return "" if self._machine is None else views.diagram(self._machine.state)

    @workflow.signal
    def pause(self) -> None:
        """Start nothing new; what runs goes on."""
        self.run_of_graph.hold(held=True)

    @workflow.signal
    def resume(self) -> None:
        """Go on after `pause`."""
        self.run_of_graph.hold(held=False)

    @workflow.update
    async def resolve_conflict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Settle a conflict: `{node, path, choose: writer or index}`, or `value`, or `remove: true`."""
        return await operations.resolve_conflict(self.run_of_graph, request)

    @resolve_conflict.validator
    def _check_resolve_conflict(self, request: dict[str, Any]) -> None:
        if (machine := self._machine) is not None:
            checked(lambda: updates.conflict_choice(self.run_of_graph, machine, request))

    @workflow.update
    async def complete_task(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer an `approval`: `{node, answer}`."""
        return await operations.complete_task(self.run_of_graph, request)

    @complete_task.validator
    def _check_complete_task(self, request: dict[str, Any]) -> None:
        if self._machine is not None:
            checked(lambda: updates.task_answer(self.run_of_graph, request))

    @workflow.update
    async def write_context(self, request: dict[str, Any]) -> dict[str, Any]:
        """Write from outside: `{changes: {path: value}, removed: [path], base_version, by}`."""
        return await operations.write_context(self.run_of_graph, request)

    @write_context.validator
    def _check_write_context(self, request: dict[str, Any]) -> None:
        if (machine := self._machine) is not None:
            checked(lambda: updates.outside_write(machine, request))

    @workflow.update
    async def retry_node(self, request: dict[str, Any]) -> dict[str, Any]:
        """Try a paused node again: `{node, changes, removed, by}`."""
        return await operations.operate(self.run_of_graph, "retry", request)

    @workflow.update
    async def skip_node(self, request: dict[str, Any]) -> dict[str, Any]:
        """Go on as if a paused node had succeeded and written `changes`: `{node, changes, removed, by}`."""
        return await operations.operate(self.run_of_graph, "skip", request)

    @workflow.update
    async def fail_node(self, request: dict[str, Any]) -> dict[str, Any]:
        """Let a paused node's failure stand: `{node}`."""
        return await operations.operate(self.run_of_graph, "fail", request)

    @retry_node.validator
    def _check_retry_node(self, request: dict[str, Any]) -> None:
        self._check_paused(request)

    @skip_node.validator
    def _check_skip_node(self, request: dict[str, Any]) -> None:
        self._check_paused(request)

    @fail_node.validator
    def _check_fail_node(self, request: dict[str, Any]) -> None:
        self._check_paused(request)

    def _check_paused(self, request: dict[str, Any]) -> None:
        if (machine := self._machine) is not None:
            checked(lambda: updates.paused_node(machine, request))
