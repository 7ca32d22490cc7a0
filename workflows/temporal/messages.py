"""The queries, updates and signals that every graph workflow understands. All of them take and give plain JSON.

Their hints say `Any`: by them the SDK converts what a typed client gets, and it cannot resolve the recursive `Json`.
They take any number of inputs of any kind: what does not fit a signature would be an error of Python's, in a signal one
that fails the workflow task again and again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from anabranch.context.values import Json
from anabranch.display import code_span
from anabranch.transport.node_protocol import PinnedGraph
from anabranch.workflows.interpreter import views
from anabranch.workflows.interpreter.journal import Journal
from anabranch.workflows.interpreter.taken_over import TakenOver
from anabranch.workflows.interpreter.watcher import Watcher
from anabranch.workflows.temporal import updates
from anabranch.workflows.temporal.driver import Driver
from anabranch.workflows.temporal.identity import Identity
from anabranch.workflows.temporal.loading import LOAD_GRAPH
from anabranch.workflows.temporal.operations import Operations
from anabranch.workflows.temporal.requests import Request, checked, nothing, sender_of_signal, the_object

_NOTHING = RawValue(Payload(metadata={"encoding": b"binary/null"}))
EVENT: Final = "event"
"""The signal that brings an event."""
_RESOLVE = (
    '{"node": …, "path": …, "choose": writer or index, "by": name}, or `value` or `remove: true` instead of `choose`'
)
_COMPLETE = '{"node": …, "answer": …, "by": name}'
_WRITE = '{"changes": {path: value}, "removed": [path], "base_version": number, "by": name}'
_EDIT = '{"node": …, "changes": {path: value}, "removed": [path], "by": name}'
_FAIL = '{"node": …, "by": name}'


class Messages:
    """Handlers shared by the dynamic workflow and `GraphWorkflow`. Until the graph is loaded there is no driver."""

    def __init__(self) -> None:
        self._driver: Driver | None = None
        self._held: tuple[bool, str | None] | None = None
        """What the last signal said, paused or not, and by whom; None where none came."""
        self._lack: str | None = None
        """What a worker said that lacks the graph, while others are asked for it."""
        self.watcher: Watcher | None = None
        """Who hears of the run beside logs, traces and metrics: a replay that looks at it."""
        self.journal: Journal | None = None
        """What notes all that the run is told, for such a replay."""

    @property
    def driver(self) -> Driver | None:
        """What plays the run; None until its graph is loaded."""
        return self._driver

    def details_of_run(self) -> str:
        """Its current details, Markdown for the Web UI; none until its graph is loaded (see `CurrentDetails`)."""
        return "" if self._driver is None else views.details(self._driver.machine.state)

    def note_lack(self, message: str | None) -> None:
        """A worker lacks the graph; None once another has it, or nobody."""
        self._lack = message
        said = "" if message is None else f"The run waits for another worker: {code_span(message)}"
        workflow.set_current_details(said)

    async def play(self, pinned: PinnedGraph, data: Mapping[str, Json], *, is_child: bool = False) -> dict[str, Json]:
        """Run a graph; returns `{session_id, status, version, data}`. Raises ApplicationError, CancelledError."""
        self._driver = driver = Driver(Identity.of_this_run(pinned, is_child=is_child), data, watcher=self.watcher)
        if self._held is not None:
            driver.hold(*self._held)
        self._note(driver)
        driver.start()
        return await driver.run()

    async def play_again(self, pinned: PinnedGraph, taken: TakenOver) -> dict[str, Json]:
        """Run a graph from where another run of it had come to. Until all of that is taken over there is no driver."""
        identity = Identity.of_this_run(pinned)
        driver = Driver(identity, taken.data, watcher=self.watcher, taken=taken)
        self._note(driver)
        await driver.take_over()
        self._driver = driver
        if self._held is not None:
            driver.hold(*self._held)
        driver.start_rest()
        return await driver.run()

    def _note(self, driver: Driver, *, is_continued: bool = False) -> None:
        if self.journal is not None:
            self.journal.follow(driver.machine, is_continued=is_continued)

    async def play_on(self, carried: Mapping[str, Any]) -> dict[str, Json]:
        """Go on where the workflow run before continued as new."""
        self._driver = driver = Driver.continued(carried, self.watcher)
        if self._held is not None:  # a signal came since
            driver.hold(*self._held)
        self._note(driver, is_continued=True)
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
    def pause(self, *given: Any) -> None:
        """Start nothing new; what runs goes on: `{by}`. Any other input means nothing."""
        self._set_paused(True, given)

    @workflow.signal
    def resume(self, *given: Any) -> None:
        """Go on after `pause`: `{by}`."""
        self._set_paused(False, given)

    @workflow.signal(name=EVENT)
    async def event(self, sent: RawValue = _NOTHING) -> None:
        """Something has happened that a `receive` node waits for, or will: `{name, id, data, by}`."""
        while (driver := self._driver) is None:
            await workflow.wait_condition(lambda: self._driver is not None)
        await driver.arrivals.hear(sent.payload)

    def _set_paused(self, is_paused: bool, given: Sequence[object]) -> None:
        self._held = (is_paused, sender_of_signal(given))
        if self._driver is not None:
            self._driver.set_paused(*self._held)

    @workflow.update
    async def resolve_conflict(self, *given: Any) -> dict[str, Any]:
        """Settle a conflict: `{node, path, choose: writer or index, by}`, or `value`, or `remove: true`."""
        return (await self._operations()).resolve_conflict(_request(given, _RESOLVE))

    @resolve_conflict.validator
    def _check_resolve_conflict(self, *given: Any) -> None:
        request = _request(given, _RESOLVE)
        if (driver := self._driver) is not None:
            checked(lambda: updates.conflict_choice(driver.machine, driver.inbox, request))

    @workflow.update
    async def complete_task(self, *given: Any) -> dict[str, Any]:
        """Answer an `approval`: `{node, answer, by}`."""
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
        await driver.heard()
        driver.has_updated = True
        return driver.operations


def _request(given: Sequence[object], expected: str) -> Request:
    return checked(lambda: the_object(given, expected))
