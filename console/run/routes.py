"""The routes of one run's page.

What is asked for stands before the workflow id: an id may have any name at its end, and slashes.
"""

from __future__ import annotations

from html import escape
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from anabranch.console.access.caller import Role
from anabranch.console.pages.shell import page
from anabranch.console.routes import reads, writes
from anabranch.console.run import again, reading, steering
from anabranch.console.services import services_of

_ID: Final = "{workflow_id:path}"


def run_routes() -> list[Route]:
    """The page, what it reads, and what it writes."""
    operator = {
        "retry": steering.operates("retry_node", edits=True),
        "skip": steering.operates("skip_node", edits=True),
        "fail": steering.operates("fail_node", edits=False),
        "deliver": steering.deliver_event,
        "pause": steering.signals("pause"),
        "resume": steering.signals("resume"),
        "cancel": steering.cancel_run,
        "rerun-plan": again.plan,
        "rerun": again.rerun,
    }
    return [
        Route(f"/runs/{_ID}", _page),
        Route(f"/api/run/snapshot/{_ID}", reading.snapshot),
        Route(f"/api/run/live/{_ID}", reading.live),
        reads(f"/api/run/canvas/{_ID}", reading.opened),
        reads(f"/api/run/node/{_ID}", reading.node),
        reads(f"/api/run/context/{_ID}", reading.context),
        reads(f"/api/run/blame/{_ID}", reading.blamed),
        reads(f"/api/run/why/{_ID}", reading.why),
        reads(f"/api/run/undo-plan/{_ID}", reading.undo_plan),
        writes(f"/api/run/answer/{_ID}", steering.answer, role=Role.ANSWERER),
        writes(f"/api/run/resolve/{_ID}", steering.resolve, role=Role.ANSWERER),
        *(writes(f"/api/run/{verb}/{_ID}", write, role=Role.OPERATOR) for verb, write in operator.items()),
    ]


async def _page(request: Request) -> Response:
    services, workflow_id = services_of(request), request.path_params["workflow_id"]
    facts = {"workflow-id": workflow_id, "namespace": services.client.namespace, "web-ui": services.web_ui or ""}
    attributes = "".join(f' data-{name}="{escape(value)}"' for name, value in facts.items())
    styles = ("drawing.css", "run.css")
    return page(workflow_id, "run.js", active="runs", styles=styles, body=f'<div id="run"{attributes}></div>')
