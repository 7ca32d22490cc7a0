"""The queries, updates and signals that every graph workflow understands. All of them take and give plain JSON.

Their hints say `Any`: by them the SDK converts what a typed client gets, and it cannot resolve the recursive `Json`.
They take any number of inputs of any kind: what does not fit a signature would be an error of Python's, in a signal one
that fails the workflow task again and again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from temporalio import workflow

from anabranch.context.values import Json
from anabranch.display import code_span
from anabranch.transport.node_protocol import PinnedGraph
from anabranch.workflows.interpreter import views
from anabranch.workflows.temporal import updates
from anabranch.workflows.temporal.driver import Driver
from anabranch.workflows.temporal.identity import Identity
from anabranch.workflows.temporal.loading import LOAD_GRAPH
from anabranch.workflows.temporal.operations import Operations
from anabranch.workflows.temporal.requests import Request, checked, nothing, the_object

_RESOLVE = '{"node": …, "path": …, "choose": writer or index}, or `value` or `remove: true` instead of `choose`'
_COMPLETE = '{"node": …, "answer": …}'
_WRITE = '{"changes": {path: value}, "removed": [path], "base_version": number, "by": name}'
_EDIT = '{"node": …, "changes": {path: value}, "removed": [path], "by": name}'
_FAIL = '{"node": …, "by": name}'


class Messages:
    """Handlers shared by the dynamic workflow and `GraphWorkflow`. Until the graph is loaded there is no driver."""

    def __init__(self) -> None:
        self._driver: Driver | None = None
        self._is_paused: bool | None = None
        """What the last signal said; None where none came."""
        self._lack: str | None = None
        """What a worker said that lacks the graph, while others are asked for it."""

    def note_lack(self, message: str | None) -> None:
        """A worker lacks the graph; None once another has it, or nobody."""
        self._lack = message
        said = "" if message is None else f"The run waits for another worker: {code_span(message)}"
        workflow.set_current_details(said)

    async def play(self, pinned: PinnedGraph, data: Mapping[str, Json], *, is_child: bool = False) -> dict[str, Json]:
        """Run a graph; returns `{session_id, status, version, data}`. Raises ApplicationError, CancelledError."""
        self._driver = driver = Driver(Identity.of_this_run(pinned, is_child=is_child), data)
        driver.machine.state.is_paused = bool(self._is_paused)
        driver.start()
        return await driver.run()

    async def play_on(self, carried: Mapping[str, Any]) -> dict[str, Json]:
        """Go on where the workflow run before continued as new."""
        self._driver = driver = Driver.continued(carried)
        if self._is_paused is not None:  # a signal came since
            driver.machine.state.is_paused = self._is_paused
        driver.resume()
        return await driver.run()

    @workflow.query
    def context(self, *given: Any) -> dict[str, Any]:
        """The context's data now, its version, and the `number` that `write_context` takes as base_version."""
        checked(lambda: nothing(given))
        if (driver := self._driver) is None:
            return {}
        machine, session_id = driver.machine, driver.identity.session_id
        return views.context(machine.state, machine.context(), session_id, machine.unsettled())

    @workflow.query
    def status(self, *given: Any) -> dict[str, Any]:
        """The state of every node."""
        checked(lambda: nothing(given))
        if (driver := self._driver) is not None:
            return views.status(driver.machine.state)
        return {"status": "loading"} | ({} if self._lack is None else {"lacking": {LOAD_GRAPH: self._lack}})

    @workflow.query
    def history(self, *given: Any) -> list[Any]:
        """Versions and merges: who changed what, when, and on top of what."""
        checked(lambda: nothing(given))
        return [] if self._driver is None else views.history(self._driver.machine.state)

    @workflow.query
    def diagram(self, *given: Any) -> str:
        """Mermaid of the graph with states."""
        checked(lambda: nothing(given))
        return "" if self._driver is None else views.diagram(self._driver.machine.state)

    @workflow.signal
    def pause(self, *_ignored: Any) -> None:
        """Start nothing new; what runs goes on. An input means nothing: nobody would hear of a refusal."""
        self._set_paused(True)

    @workflow.signal
    def resume(self, *_ignored: Any) -> None:
        """Go on after `pause`."""
        self._set_paused(False)

    def _set_paused(self, is_paused: bool) -> None:
        self._is_paused = is_paused
        if self._driver is not None:
            self._driver.set_paused(is_paused)

    @workflow.update
    async def resolve_conflict(self, *given: Any) -> dict[str, Any]:
        """Settle a conflict: `{node, path, choose: writer or index}`, or `value`, or `remove: true`."""
        return (await self._operations()).resolve_conflict(_request(given, _RESOLVE))

    @resolve_conflict.validator
    def _check_resolve_conflict(self, *given: Any) -> None:
        request = _request(given, _RESOLVE)
        if (driver := self._driver) is not None:
            checked(lambda: updates.conflict_choice(driver.machine, driver.inbox, request))

    @workflow.update
    async def complete_task(self, *given: Any) -> dict[str, Any]:
        """Answer an `approval`: `{node, answer}`."""
        return (await self._operations()).complete_task(_request(given, _COMPLETE))

    @complete_task.validator
    def _check_complete_task(self, *given: Any) -> None:
        request = _request(given, _COMPLETE)
        if (driver := self._driver) is not None:
            checked(lambda: updates.task_answer(driver.machine, driver.inbox, request))

    @workflow.update
    async def write_context(self, *given: Any) -> dict[str, Any]:
        """Write from outside: `{changes: {path: value}, removed: [path], base_version, by}`."""
        return (await self._operations()).write_context(_request(given, _WRITE))

    @write_context.validator
    def _check_write_context(self, *given: Any) -> None:
        request = _request(given, _WRITE)
        if (driver := self._driver) is not None:
            checked(lambda: updates.outside_write(driver.machine, request))

    @workflow.update
    async def retry_node(self, *given: Any) -> dict[str, Any]:
        """Try a paused node again: `{node, changes, removed, by}`."""
        return (await self._operations()).operate("retry", _request(given, _EDIT))

    @workflow.update
    async def skip_node(self, *given: Any) -> dict[str, Any]:
        """Go on as if a paused node had succeeded and written `changes`: `{node, changes, removed, by}`."""
        return (await self._operations()).operate("skip", _request(given, _EDIT))

    @workflow.update
    async def fail_node(self, *given: Any) -> dict[str, Any]:
        """Let a paused node's failure stand: `{node, by}`."""
        return (await self._operations()).operate("fail", _request(given, _FAIL))

    @retry_node.validator
    def _check_retry_node(self, *given: Any) -> None:
        self._check_paused(_request(given, _EDIT), edited=True)

    @skip_node.validator
    def _check_skip_node(self, *given: Any) -> None:
        self._check_paused(_request(given, _EDIT), edited=True)

    @fail_node.validator
    def _check_fail_node(self, *given: Any) -> None:
        self._check_paused(_request(given, _FAIL), edited=False)

    def _check_paused(self, request: Request, *, edited: bool) -> None:
        if (driver := self._driver) is not None:
            checked(lambda: updates.paused_node(driver.machine, request, edited=edited))

    async def _operations(self) -> Operations:
        """What an update does, once the graph is loaded: it may arrive together with the start."""
        while (driver := self._driver) is None:
            await workflow.wait_condition(lambda: self._driver is not None)
        driver.has_updated = True
        return driver.operations


def _request(given: Sequence[object], expected: str) -> Request:
    return checked(lambda: the_object(given, expected))
