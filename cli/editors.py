"""`anabranch lsp` and `anabranch mcp`: servers for editors and for assistants, over standard input and output."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Annotated

import typer

from anabranch.cli.arguments import GraphsOption, ImportOption, TaskQueueOption
from anabranch.cli.leaving import collect_as_ever
from anabranch.errors import ConfigurationError
from anabranch.settings import settings_from_environment


def lsp(*, imports: ImportOption = None) -> None:
    """Serve an editor over standard input and output: the problems, meanings and names of the graph that is written.

    It speaks the Language Server Protocol. docs/editors.md says how editors start it.
    """
    try:
        from anabranch.editor.server import serve
    except ImportError as error:
        raise missing(error, "editor") from error
    from anabranch.editor.project import Project

    collect_as_ever()
    serve(Project(settings_from_environment(imports=imports).imports))


def mcp(
    *,
    graphs: GraphsOption = None,
    imports: ImportOption = None,
    task_queue: TaskQueueOption = None,
    allow_writes: Annotated[
        bool,
        typer.Option("--allow-writes", help="Also start runs and answer approvals. Without it nothing is changed."),
    ] = False,
) -> None:
    """Serve an assistant over standard input and output: it may validate, try and draw graphs, and look at runs.

    It speaks the Model Context Protocol. docs/assistants.md says how assistants start it.
    """
    try:
        from anabranch.assistant.server import assistant_server
    except ImportError as error:
        raise missing(error, "mcp") from error
    from anabranch.cli.logs import log_to_stderr
    from anabranch.imports import import_own
    from anabranch.plugin import check_folder

    log_to_stderr(logging.ERROR, of_runs=False)
    settings = settings_from_environment(graphs=graphs, imports=imports, task_queue=task_queue)
    check_folder(settings.graphs)
    with contextlib.redirect_stdout(sys.stderr):  # what modules print is no message of the protocol
        import_own(settings.imports)
    collect_as_ever()
    assistant_server(settings, allow_writes=allow_writes).run("stdio")


def missing(error: ImportError, extra: str) -> ConfigurationError:
    """The error where the library of an extra is not installed."""
    return ConfigurationError(
        f"this command needs a library that is not installed: {error.name}",
        suggestion=f"pip install 'anabranch[{extra}]'",
    )
