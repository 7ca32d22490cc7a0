"""`share:` publishes the run's context for other services: at its end, or after every node that changed it.

Publications do not queue up: while one is under way, what changes meanwhile goes out with the next. One that finally
fails never fails the run; the result says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError

from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.context.merge.lineage import Line
from anabranch.graph.policies import Share
from anabranch.spans import code_of
from anabranch.workflows.temporal.clock import Clock
from anabranch.workflows.temporal.flow_control import FlowControl
from anabranch.workflows.temporal.identity import Identity
from anabranch.workflows.temporal.outbox import Outbox, Ticket

_TIMEOUT = timedelta(seconds=10)
_RETRY = RetryPolicy(maximum_attempts=8, maximum_interval=timedelta(seconds=5))
"""A store that is down holds the result back for half a minute."""


class Sharing:
    """The publications of one run."""

    def __init__(self, share: Share, identity: Identity, clock: Clock, outbox: Outbox, flow: FlowControl) -> None:
        self._share = share
        self._identity = identity
        self._clock = clock
        self._outbox = outbox
        self._flow = flow
        self._options = share.model_dump(mode="json", include={"strategy", "ttl"})
        self._wanted = self._sent = 0
        self._task: asyncio.Task[None] | None = None
        self.failed: str | None = None
        """Why the newest publication did not succeed."""

    @property
    def idle(self) -> bool:
        """Whether no publication is under way."""
        return self._task is None

    def changed(self, number: int, now: Callable[[], Line]) -> None:
        """The run has made version `number`; `now` gives the context when it is to be published."""
        if self._share.at == "every_node" and number > self._wanted:
            self._wanted = number
            if self._task is None:
                self._task = asyncio.create_task(self._publish_all(now))

    async def finish(self, line: Line, number: int) -> None:
        """Publish the final context, after what is under way."""
        if self._task is not None:
            await self._task
        if self._sent != number or self.failed is not None:
            await self._publish(line, number)

    async def _publish_all(self, now: Callable[[], Line]) -> None:
        while self._sent < self._wanted:
            await self._publish(now(), self._wanted)
        self._task = None

    async def _publish(self, line: Line, number: int) -> None:
        metadata = ContextMetadata(self._identity.created_at, self._clock.now, number)
        context = DistributedContext(self._identity.session_id, data=line.data, metadata=metadata)
        payloads = workflow.payload_converter().to_payloads([context, self._options])
        ticket = Ticket()
        try:
            async with self._flow.admit(ticket, sum(len(payload.data) for payload in payloads)):
                await workflow.execute_activity(
                    "share_context",
                    args=[RawValue(payload) for payload in payloads],
                    result_type=RawValue,  # so that nobody decodes it
                    start_to_close_timeout=_TIMEOUT,
                    retry_policy=_RETRY,
                    summary=f"share version {number}",
                )
            self.failed = None
        except ActivityError as error:
            cause = error.cause or error
            self.failed = str(cause)
            # Its words may hold what the store was given; they are in the result.
            workflow.logger.warning("the context could not be shared", extra={"code": code_of(cause)})
        self._outbox.answered(ticket)
        self._sent = number
