"""The runs of a Temporal server: their histories are fetched and inspected; no query asks a worker."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.failure.v1 import Failure as FailureProto
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import RPCError, RPCStatusCode

from anabranch.errors import InputError, Unavailable
from anabranch.inspection.events import Told, told
from anabranch.inspection.history import History
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.inspection import Inspection
from anabranch.inspection.lineage import Lineage

_MISSING = frozenset({RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT})


@dataclass(frozen=True, slots=True)
class Pending:
    """An activity under way, as the server knows it: what the history tells only once it is over."""

    address: str
    is_running: bool
    """Whether a worker has it. Else it waits for one, or for its next attempt."""
    attempt: int
    max_attempts: int
    """0 is without limit."""
    queue: str
    scheduled: int
    """When its attempt was, or will be, handed out, in Unix milliseconds."""
    started: int | None
    worker: str
    """Who has it, or had the last attempt."""
    failure: Told | None
    """Why the last attempt failed."""


class Runs:
    """Inspects the runs of a client's namespace."""

    def __init__(self, client: Client, inspector: Inspector) -> None:
        self._client = client
        self._inspector = inspector

    async def history(self, workflow_id: str, run_id: str | None = None) -> History:
        """The events so far of a run, the newest one by default. Raises InputError where there is none."""
        try:
            fetched = await self._client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
        except RPCError as error:
            raise refused(error, workflow_id, run_id) from error
        return History.of(workflow_id, fetched.events)

    async def inspect(self, workflow_id: str, run_id: str | None = None) -> Inspection:
        """What the history of a run tells. It is fetched only where it has grown. Raises InputError, HistoryInvalid."""
        described = await self._described(workflow_id, run_id)
        known = self._inspector.known(
            described.run_id, described.raw_description.workflow_execution_info.history_length
        )
        if known is not None:
            return known
        return await self._inspector.inspect(await self.history(workflow_id, described.run_id))

    async def newest(self, workflow_id: str) -> str:
        """The run id of the newest run of a workflow id. Raises InputError where there is none."""
        return (await self._described(workflow_id, None)).run_id

    async def pending(self, inspection: Inspection) -> tuple[Pending, ...]:
        """The activities of a run that are under way."""
        described = await self._described(inspection.workflow_id, inspection.run_id)
        return tuple([await self._pending(each) for each in described.raw_description.pending_activities])

    async def whole(self, inspection: Inspection) -> Lineage:
        """The versions of a run with those of the runs that continued as it, as far as the server still has them."""
        parts, run_id = [inspection.lineage], inspection.previous_run_id
        while run_id is not None:
            try:
                earlier = await self.inspect(inspection.workflow_id, run_id)
            except InputError:
                break
            parts.insert(0, earlier.lineage)
            run_id = earlier.previous_run_id
        return Lineage.joined(*parts) if len(parts) > 1 else parts[0]

    async def _described(self, workflow_id: str, run_id: str | None) -> WorkflowExecutionDescription:
        try:
            return await self._client.get_workflow_handle(workflow_id, run_id=run_id).describe()
        except RPCError as error:
            raise refused(error, workflow_id, run_id) from error

    async def _pending(self, info: PendingActivityInfo) -> Pending:
        failure = None
        if info.HasField("last_failure"):
            copied = FailureProto()
            copied.CopyFrom(info.last_failure)
            failure = told(await self._client.data_converter.decode_failure(copied))
        is_running = info.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
        return Pending(
            info.activity_id,
            is_running,
            info.attempt,
            info.maximum_attempts,
            info.activity_options.task_queue.name,
            info.scheduled_time.ToMilliseconds(),
            info.last_started_time.ToMilliseconds() if is_running else None,
            info.last_worker_identity,
            failure,
        )


def refused(error: RPCError, workflow_id: str, run_id: str | None) -> InputError | Unavailable:
    """What a server's refusal to show a run means."""
    if error.status not in _MISSING:
        return Unavailable(f"the Temporal server refuses: {error.message}")
    which = repr(workflow_id) if run_id is None else f"{workflow_id!r} with the run id {run_id!r}"
    return InputError(f"the server has no run {which}", suggestion="look at `anabranch runs`")
