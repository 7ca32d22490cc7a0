"""An update is checked before it is sent: by the validator of the workflow itself, on the run as its history has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from anabranch.errors import InputError
from anabranch.inspection.history import History
from anabranch.inspection.inspect import Inspector
from anabranch.workflows.temporal import updates
from anabranch.workflows.temporal.driver import Driver
from anabranch.workflows.temporal.requests import Request

_CHECKS: Final[Mapping[str, Callable[[Driver, Request], object]]] = {
    "complete_task": lambda driver, request: updates.task_answer(driver.machine, driver.inbox, request),
    "resolve_conflict": lambda driver, request: updates.conflict_choice(driver.machine, driver.inbox, request),
    "retry_node": lambda driver, request: updates.paused_node(driver.machine, request, edited=True),
    "skip_node": lambda driver, request: updates.paused_node(driver.machine, request, edited=True),
    "fail_node": lambda driver, request: updates.paused_node(driver.machine, request, edited=False),
}


async def check(inspector: Inspector, history: History, update: str, request: Request) -> None:
    """Raise what the run would refuse the update with: InputError, SchemaViolation, SizeLimitExceeded, ….

    A run whose graph is not loaded yet is not asked: it takes the update, and judges once it can.
    """
    if history.closed is not None:
        raise InputError("the run is over", place=history.workflow_id)
    await inspector.ask(history, lambda driver: _CHECKS[update](driver, request))
