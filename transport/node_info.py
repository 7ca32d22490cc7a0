"""What the activity of a segment says of itself to each of its nodes: what one of that node alone would say."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from typing import Final

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ActivityOutboundInterceptor, Interceptor

_own: Final[ContextVar[activity.Info | None]] = ContextVar("anabranch_node_info", default=None)


def work_as(activity_id: str, activity_type: str, timeout: timedelta, attempt: int) -> None:
    """To the code of this asyncio task, and what it starts, the activity is an attempt of another one."""
    info = replace(
        activity.info(),
        activity_id=activity_id,
        activity_type=activity_type,
        attempt=attempt,
        start_to_close_timeout=timeout,
    )
    _own.set(info)


class NodeInfo(Interceptor):
    """Makes `work_as` hold in the activities of a worker."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        """What is around each activity."""
        return _Inbound(next)


class _Inbound(ActivityInboundInterceptor):
    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Outbound(ActivityOutboundInterceptor):
    def info(self) -> activity.Info:
        return _own.get() or super().info()
