"""`anabranch cancel`: shows what it would undo, asks, cancels, and follows the run to its end."""

from __future__ import annotations

import asyncio

import typer
from temporalio.service import RPCError

from anabranch.cli.report import err, out, print_json
from anabranch.cli.show import end_of
from anabranch.cli.steered import Steered, Steering
from anabranch.cli.undo_plan import draw_plan
from anabranch.display import plain
from anabranch.errors import InputError, TimedOut
from anabranch.inspection import reports
from anabranch.inspection.following import follow
from anabranch.inspection.inspection import Inspection
from anabranch.steering.sending import cancel, unheard

_OTHERWISE = 1


async def cancel_run(steering: Steering, *, yes: bool, wait: bool) -> int:
    """Cancel a run; the exit code. It is 0 where the run is to be cancelled, or with `wait` was.

    Raises InputError for a run that is over.
    """
    steered = await Steered.open(steering)
    inspection = steered.inspection
    if inspection.closing is not None:
        raise InputError("the run is over", place=steering.run)
    if not steering.as_json:
        _show(inspection)
    if not yes and not typer.confirm(f"Cancel {plain(steering.run)}?", err=True):
        err().print("it goes on")
        return _OTHERWISE
    await cancel(steered.handle, by=steering.name)
    last = await _followed(steered) if wait else None
    _tell(steering, inspection, last)
    return 0 if last is None or last.status == "cancelled" else _OTHERWISE


def _show(inspection: Inspection) -> None:
    if inspection.undo_plan is None:
        out().print("No worker has loaded its graph: a cancel undoes nothing.")
    else:
        draw_plan(inspection.undo_plan)


async def _followed(steered: Steered) -> Inspection:
    steering, last = steered.steering, steered.inspection
    try:
        async with asyncio.timeout(steering.timeout):
            async for inspection in follow(steered.client, steered.inspector, steering.run, steered.history.run_id):
                last = inspection
    except TimeoutError:
        raise TimedOut(
            f"the run has not ended within {steering.timeout:g} s; it is to be cancelled",
            place=steering.run,
            suggestion="follow it with `anabranch watch`",
        ) from None
    except RPCError as error:
        raise unheard(error, steering.run) from error
    return last


def _tell(steering: Steering, before: Inspection, last: Inspection | None) -> None:
    if steering.as_json:
        told = {"workflow_id": steering.run, "run_id": before.run_id}
        plan = {} if before.undo_plan is None else {"plan": reports.plan(before.undo_plan)}
        print_json(told | plan | ({} if last is None else {"end": reports.run(last)["end"]}))
    elif last is None:
        out().print(plain(f"{steering.run} is to be cancelled"), markup=False)
    else:
        for line in end_of(last):
            out().print(line)
