"""Why a run failed, as data and for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from temporalio.client import WorkflowFailureError

from anabranch.cli.report import err, show_finding
from anabranch.context.values import Json
from anabranch.display import plain
from anabranch.inspection.closing import describe_cause


def describe(error: WorkflowFailureError) -> dict[str, Json]:
    """Why a run failed: code, message and, if the run named them, node, cause and what was compensated."""
    return describe_cause(error.cause or error)


def show_failure(failure: Mapping[str, Any]) -> None:
    """Print why a run failed, and what its saga undid."""
    node = failure.get("node")
    place, message = f"node {node!r}" if node else None, str(failure["message"])
    show_finding(str(failure["code"]), place, message.removeprefix(f"{place}: "))
    for title, key in (("compensated", "compensated"), ("not compensated", "not_compensated")):
        if failure.get(key):
            err().print(f"  {title}: {plain(', '.join(map(str, failure[key])))}")
    if (last := failure.get("finally_failed")) is not None:
        err().print(plain(f"  the finally failed at {last['node']!r}: {last['code']}: {last['message']}"))
