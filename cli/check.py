"""`anabranch check`: what a worker would find out before it serves, without a worker."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from anabranch.cli.arguments import GraphsOption, ImportOption, JsonOption, TaskQueueOption
from anabranch.cli.report import err, out, show_finding
from anabranch.display import plain
from anabranch.settings import settings_from_environment

if TYPE_CHECKING:
    from anabranch.preflight.preflight import Report
    from anabranch.settings import Settings


def check(
    *,
    graphs: GraphsOption = None,
    task_queue: TaskQueueOption = None,
    imports: ImportOption = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no server: look at the files and the environment only.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Find what a worker with this environment could not serve: broken graphs, and what they need and it lacks.

    Connections, handlers, activities, keys of models, secrets, Redis, stores and the Temporal server are looked at.
    """
    from anabranch.cli.leaving import run_until_over
    from anabranch.cli.logs import log_to_stderr

    settings = settings_from_environment(task_queue=task_queue, graphs=graphs, imports=imports)
    log_to_stderr(logging.ERROR, of_runs=False)
    report = run_until_over(_checked(settings, ask=not offline))
    if as_json:
        typer.echo(json.dumps(_as_json(report), ensure_ascii=False, indent=2))
    else:
        _show(report)
    if report.findings:
        raise typer.Exit(1)


async def _checked(settings: Settings, *, ask: bool) -> Report:
    from anabranch.activities.standard import node_activities
    from anabranch.imports import import_own
    from anabranch.plugin import check_folder
    from anabranch.preflight.preflight import preflight
    from anabranch.preflight.services import check_settings
    from anabranch.transport.working import closed

    check_folder(settings.graphs)
    check_settings(settings)
    own = import_own(settings.imports)
    activities = node_activities(settings, workflows=own.workflow_names)
    try:
        return await preflight(settings, own, activities, ask=ask, temporal=ask)
    finally:
        await closed(activities.aclose())


def _show(report: Report) -> None:
    screen = out()
    for sort, names in report.served.items():
        if names:
            line = Text.assemble(("✔ ", "green"), (f"{sort.replace('_', ' '):<12} ", "bold"), plain(", ".join(names)))
            screen.print(line)
    for each in report.findings:
        show_finding(each.code, each.place, each.message, each.suggestion)
    if count := len(report.findings):
        err().print(Text(f"{count} finding{'s' * (count != 1)}", "bold red"))


def _as_json(report: Report) -> dict[str, object]:
    findings = [
        {
            "code": each.code,
            "place": None if each.place is None else str(each.place),
            "message": each.message,
            "suggestion": each.suggestion,
            "may_pass": each.may_pass,
        }
        for each in report.findings
    ]
    return {"served": report.served, "findings": findings}
