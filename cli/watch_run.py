"""`anabranch watch`: a run as it goes on, whoever started it."""

from __future__ import annotations

import json

from temporalio.service import RPCError

from anabranch.cli.live import LiveRun
from anabranch.cli.opening import inspector_for
from anabranch.cli.report import err, out
from anabranch.cli.show import end_of
from anabranch.display import plain, plain_json
from anabranch.errors import InputError
from anabranch.inspection import reports
from anabranch.inspection.following import follow
from anabranch.inspection.inspection import Inspection, status_of
from anabranch.inspection.runs import refused
from anabranch.settings import settings_from_environment
from anabranch.transport.client import connect

_FAILED = 1


async def watch_run(workflow_id: str, run_id: str | None, *, as_json: bool) -> int:
    """Draw a run until it is over, or print a line of JSON for each frame; the exit code is that of its end."""
    settings = settings_from_environment()
    client = await connect(settings)
    inspector = inspector_for(client.data_converter, settings, client.namespace)
    shows = _Lines() if as_json else _Drawing(workflow_id)
    last: Inspection | None = None
    try:
        async for inspection in follow(client, inspector, workflow_id, run_id):
            shows.show(inspection)
            last = inspection
    except RPCError as error:
        raise refused(error, workflow_id, run_id) from error
    finally:
        shows.end()
    if last is None:
        raise InputError(f"the server has no run {workflow_id!r}")
    if not as_json:
        for line in end_of(last):
            err().print(line)
    return 0 if last.status == "completed" else _FAILED


class _Lines:
    """One line of JSON for each frame that is new."""

    def __init__(self) -> None:
        self._run_id, self._shown = "", 0

    def show(self, inspection: Inspection) -> None:
        if inspection.run_id != self._run_id:
            self._run_id, self._shown = inspection.run_id, 0
        for index in range(self._shown, len(inspection.frames)):
            frame = inspection.frames[index]
            told = {"event": frame.event_id, "at": frame.at, "version": frame.versions, **status_of(inspection, index)}
            out().file.write(plain_json(json.dumps(told, ensure_ascii=False)) + "\n")
        out().file.flush()
        self._shown = len(inspection.frames)

    def end(self) -> None:
        """Nothing is open."""


class _Drawing:
    """The live tree, as soon as the graph is known."""

    def __init__(self, workflow_id: str) -> None:
        self._workflow_id = workflow_id
        self._live: LiveRun | None = None

    def show(self, inspection: Inspection) -> None:
        if inspection.graph is None or not inspection.frames:
            return
        if self._live is None:
            self._live = LiveRun(inspection.graph, plain(self._workflow_id)).__enter__()
        self._live.show({**status_of(inspection), "status": inspection.status})
        self._live.show_history(reports.versions(inspection.lineage))

    def end(self) -> None:
        """Leave the last drawing as it is."""
        if self._live is not None:
            self._live.__exit__(None, None, None)
