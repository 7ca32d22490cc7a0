"""How long, and how, a run looks for a worker that has what another lacks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from temporalio.exceptions import ActivityError, ApplicationError, RetryState

from anabranch.workflows.temporal.elsewhere import on_any_worker
from anabranch.workflows.temporal.failures import InDoubt, NeverScheduled, failure_of


def failed(detail: dict[str, Any] | None = None, *, message: str = "it is missing", code: str = "X") -> ActivityError:
    error = ActivityError(
        "activity",
        scheduled_event_id=1,
        started_event_id=2,
        identity="stale",
        activity_type="t",
        activity_id="a",
        retry_state=RetryState.NON_RETRYABLE_FAILURE,
    )
    error.__cause__ = ApplicationError(message, *([] if detail is None else [detail]), type=code)
    return error


class Looking:
    """Answers attempts one after the other; pauses take no time."""

    def __init__(self, *answers: Any, cancelled_in: int | None = None) -> None:
        self._answers: Iterator[Any] = iter(answers)
        self._cancelled_in = cancelled_in
        self.pauses: list[float] = []
        self.spent: list[float] = []
        self.told: list[str | None] = []

    async def attempt(self, spent: float) -> str:
        self.spent.append(spent)
        answer = next(self._answers)
        if isinstance(answer, BaseException):
            raise answer
        return str(answer)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) == self._cancelled_in:
            raise asyncio.CancelledError

    async def found(self, within: float = float("inf")) -> str:
        return await on_any_worker(self.attempt, pause=self.pause, tell=self.told.append, within=within)


def lacking(seconds: float, **more: Any) -> ActivityError:
    return failed({"elsewhere_seconds": seconds, **more})


def forever(error: ActivityError) -> list[ActivityError]:
    return [error] * 100


async def test_what_one_worker_lacks_is_done_by_another_and_who_lacks_it_is_told_meanwhile() -> None:
    looking = Looking(lacking(120), lacking(120), "done")
    assert await looking.found() == "done"
    assert (looking.pauses, looking.spent) == ([0.25, 0.5], [0, 0.25, 0.75])
    assert looking.told == ["it is missing", "it is missing", None]


async def test_the_failure_of_a_local_activity_comes_without_a_wrapper() -> None:
    error = ApplicationError("it is missing", {"elsewhere_seconds": 1.0}, type="X")
    assert await Looking(error, "done").found() == "done"
    with pytest.raises(ApplicationError, match=r"it is missing; no worker was found within 1 s that has it"):
        await Looking(*[error] * 100).found()


async def test_what_succeeds_at_once_tells_nothing() -> None:
    looking = Looking("done")
    assert (await looking.found(), looking.told, looking.pauses) == ("done", [], [])


@pytest.mark.parametrize("seconds", [0.1, 10, 120])
async def test_the_pauses_add_up_to_the_time_that_the_worker_names(seconds: float) -> None:
    looking = Looking(*forever(lacking(seconds)))
    with pytest.raises(ApplicationError, match=rf"it is missing; no worker was found within {seconds:g} s that has it"):
        await looking.found()
    assert sum(looking.pauses) == pytest.approx(seconds)
    assert max(looking.pauses) <= max(1, seconds / 12)
    assert looking.told[-1] is None


async def test_nobody_looks_longer_than_the_deadline_allows() -> None:
    looking = Looking(*forever(lacking(120)))
    with pytest.raises(ApplicationError, match="within 3 s"):
        await looking.found(within=3)
    assert sum(looking.pauses) == 3


@pytest.mark.parametrize(
    "error",
    [
        failed(),
        failed({"code": "NODE_FAILED"}),
        lacking(0),
        lacking(120, happened=True),
        failed(message="NotFoundError of a user's own", code="NotFoundError"),
    ],
    ids=["no details", "no lack", "a worker alone", "it has happened", "another's name"],
)
async def test_any_other_failure_stands(error: ActivityError) -> None:
    looking = Looking(error)
    with pytest.raises(ActivityError) as raised:
        await looking.found()
    assert (raised.value, looking.pauses) == (error, [])


async def test_an_activity_that_a_worker_of_the_sdk_does_not_know_is_looked_for() -> None:
    unknown = failed(
        message="Activity function print for workflow w is not registered on this worker, available activities: ",
        code="NotFoundError",
    )
    looking = Looking(unknown, "done")
    assert await looking.found() == "done"
    assert looking.told[0] is not None
    assert looking.told[0].startswith("worker 'stale': Activity function print for workflow w is not registered")


async def test_a_definite_failure_after_an_attempt_without_answer_is_in_doubt() -> None:
    looking = Looking(lacking(120, attempt=2), failed({"code": "NO_STOCK"}, message="none left", code="NO_STOCK"))
    with pytest.raises(InDoubt) as raised:
        await looking.found()
    failure = failure_of(raised.value, "a")
    assert (failure.outcome, failure.code, failure.unknown) == ("failure", "NO_STOCK", True)


def test_a_poll_that_the_server_does_not_try_again_has_run_out_of_time() -> None:
    failure = failure_of(failed({"happened": False}, message="`until` does not hold yet", code="NOT_YET"), "job")
    assert (failure.outcome, failure.code, failure.message) == ("timeout", "TIMEOUT", "`until` does not hold yet")


async def test_what_every_worker_lacked_has_not_happened() -> None:
    looking = Looking(*forever(lacking(1)))
    with pytest.raises(ApplicationError) as raised:
        await looking.found()
    assert failure_of(raised.value, "a").unknown is False


@pytest.mark.parametrize(
    ("first", "raised"), [({}, NeverScheduled), ({"attempt": 2}, asyncio.CancelledError)], ids=["certain", "in doubt"]
)
async def test_work_that_is_cancelled_between_two_attempts_was_not_begun(
    first: dict[str, Any], raised: type[BaseException]
) -> None:
    looking = Looking(lacking(120, **first), cancelled_in=1)
    with pytest.raises(raised):
        await looking.found()
    assert looking.told[-1] is None


async def test_work_that_is_cancelled_while_a_worker_finds_what_it_lacks_goes_to_no_other() -> None:
    """The SDK keeps the cancellation from an activity that ends otherwise."""
    looking, running = Looking(lacking(120), "done"), asyncio.Event()

    async def attempt(spent: float) -> str:
        running.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return await looking.attempt(spent)

    work = asyncio.create_task(on_any_worker(attempt, pause=looking.pause, tell=looking.told.append))
    await running.wait()
    work.cancel()
    with pytest.raises(NeverScheduled):
        await work
    assert (looking.spent, looking.pauses) == ([0], [])
