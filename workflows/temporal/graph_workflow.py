"""The workflow whose type is the name of a graph, or `GraphWorkflow`.

It is not sandboxed, whatever the worker does with other workflows: to import it anew for every run costs a tenth of a
worker's CPU. Tests run it in the strictest sandbox all the same (`worker.sandbox`).
"""

from __future__ import annotations

import collections.abc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from anabranch.transport.rerun import RERUN_OF, RerunRequest
    from anabranch.workflows.interpreter.taken_over import TakenOver
    from anabranch.workflows.temporal.loading import pinned_graph, rerun_start
    from anabranch.workflows.temporal.messages import Messages
    from anabranch.workflows.temporal.start import Start
    from anabranch.workflows.temporal.telling import tell_refusal

_BY_INPUT = "GraphWorkflow"


@workflow.defn(name=_BY_INPUT, sandboxed=False)
class GraphWorkflow(Messages):
    """Run a graph that the input names or holds: `{"graph": name or definition, "data": {…}}`.

    Or run again, from some of its nodes on, what another run ran: `{"rerun": {"workflow_id": …, "from": [node]}}`.

    For typed clients alone. A worker runs this type as it runs every other, by `DynamicGraphWorkflow`: of a workflow
    with a name the SDK decodes the input itself, and tries one that it cannot decode again for ever.
    """

    @workflow.run
    async def run(self, *args: Any) -> dict[str, Any]:
        """Returns `{session_id, status, version, data}`."""
        raise NotImplementedError


@workflow.defn(dynamic=True, sandboxed=False)
class DynamicGraphWorkflow(Messages):
    """Run the graph that the workflow's type names, on the one JSON object of the input.

    A second argument is what a parent workflow gives to its child, or a run to the one that it continues as.
    """

    @workflow.run
    async def run(self, args: collections.abc.Sequence[RawValue]) -> dict[str, Any]:
        """Returns `{session_id, status, version, data}`."""
        with _telling_refusals():
            start = await Start.of(args)
        if start.carried is not None:
            return await self.play_on(start.carried)
        name = workflow.info().workflow_type
        with _telling_refusals():
            rerun = start.rerun() if name == _BY_INPUT else None
        if rerun is not None:
            return await self._rerun(rerun)
        with _telling_refusals():
            request, data = start.by_input() if name == _BY_INPUT else start.by_name(name)
            pinned = start.pinned or await pinned_graph(request, self.note_lack)
        return await self.play(pinned, data, is_child=start.pinned is not None)

    async def _rerun(self, request: RerunRequest) -> dict[str, Any]:
        with _telling_refusals():
            start = await rerun_start(request, self.note_lack)
            taken = TakenOver.from_wire(start.taken)
        by = {"by": request.by} if request.by else {}
        workflow.upsert_memo({RERUN_OF: {"workflow_id": taken.workflow_id, "run_id": taken.run_id, **by}})
        return await self.play_again(start.pinned, taken)


@contextmanager
def _telling_refusals() -> Generator[None]:
    try:
        yield
    except ApplicationError as refusal:
        tell_refusal(refusal)
        raise
