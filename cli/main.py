"""The `anabranch` command: parse, call, print. Heavy modules are imported by the command that needs them."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from anabranch.cli import (
    check,
    commands,
    convert,
    cost,
    editors,
    events,
    inspect,
    run_commands,
    steer_commands,
)
from anabranch.cli.report import show_error
from anabranch.cli.schedules import schedules
from anabranch.errors import AnabranchError

_INTERNAL_ERROR = 70
_OUTPUT_LOST = 1
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Commands(TyperGroup):
    """The commands; an error that Anabranch knows is printed, and ends the command with exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Raises typer.Exit."""
        try:
            return super().invoke(ctx)
        except AnabranchError as error:
            show_error(error)
            raise typer.Exit(1) from None


app = typer.Typer(
    name="anabranch",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="YAML graphs on Temporal, with one versioned context that branches and rejoins by three-way merge.",
)
app.command()(inspect.validate)
app.command()(inspect.visualize)
app.command()(inspect.schema)
app.command("convert")(convert.convert)
app.command()(commands.dry_run)
app.command()(commands.profile)
app.command()(cost.cost)
app.command("test")(commands.test_graphs)
app.command()(commands.run)
app.command()(run_commands.runs)
app.command()(run_commands.show)
app.command()(run_commands.watch)
app.command()(run_commands.history)
app.command()(run_commands.diff)
app.command()(run_commands.blame)
app.command()(run_commands.why)
app.command("undo-plan")(run_commands.undo_plan)
app.command("replay-check")(run_commands.replay_check)
app.command()(steer_commands.answer)
app.command()(steer_commands.resolve)
app.command()(steer_commands.retry)
app.command()(steer_commands.skip)
app.command()(steer_commands.fail)
app.command()(steer_commands.pause)
app.command()(steer_commands.resume)
app.command()(steer_commands.cancel)
app.command()(steer_commands.rerun)
app.command()(commands.worker)
app.command()(check.check)
app.command()(events.events)
app.command()(commands.dev)
app.command()(commands.console)
app.command()(editors.lsp)
app.command()(editors.mcp)
app.command()(commands.codec)
app.command("setup-namespace")(commands.setup_namespace)
app.add_typer(schedules, name="schedules")
app.command()(commands.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"anabranch {version('anabranch')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """YAML graphs on Temporal, with one versioned context that branches and rejoins by three-way merge."""


def main() -> None:
    """Run the command of this process and leave with its exit code.

    Leaves without tearing the interpreter down: after Temporal's client was used that can crash, and replace the exit
    code by a signal's.
    """
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a character that the terminal lacks must not fail the command
    code = _exit_code()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            code = code or _not_written(error)
    os._exit(code)


def _open_closed_streams() -> None:
    """Open the null device for each standard stream that the caller closed (`command <&-`): Python leaves None."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - open as long as we run


def _not_written(error: OSError) -> int:
    """Report why the output is incomplete, unless its reader has gone."""
    if error.errno != errno.EPIPE:
        sys.stderr.write(f"error[OUTPUT_LOST]: the output cannot be written: {error.strerror}\n")
    return _OUTPUT_LOST


def _exit_code() -> int:
    try:
        app()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            return _not_written(error)
        traceback.print_exc()
        return _INTERNAL_ERROR
    return 0
