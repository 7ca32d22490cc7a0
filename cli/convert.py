"""`anabranch convert`: a graph file of rust-logic-graph, written in our own language."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anabranch.cli.arguments import FileArgument, FileOption, the_file
from anabranch.cli.report import err, show_problems
from anabranch.errors import InputError


def convert(
    *,
    file: FileArgument = None,
    file_option: FileOption = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write to this new file instead of standard output.")
    ] = None,
) -> None:
    """Write a graph file in our own language, with its comments; what had to be assumed is a comment too."""
    path = the_file(file, file_option)
    from anabranch.graph.dialect.convert import converted
    from anabranch.graph.load import load_as, load_graph

    show_problems(load_graph(path).warnings)  # which also refuses what does not run
    text = converted(path, lists=True)
    if load_as(text, to or path).warnings:  # a list may leave out a key that a text of rules is trusted to write
        text = converted(path, lists=False)
    if to is None:
        typer.echo(text, nl=False)
        return
    try:
        with to.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise InputError("the file exists already", place=str(to), suggestion="give `--to` a new name") from None
    except OSError as error:
        raise InputError(f"the file cannot be written: {error.strerror}", place=str(to)) from None
    err().print(f"{path} is written as {to}: run `anabranch validate {to}`, and read its comments.")
