"""Arguments that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from anabranch.cli.inputs import context_data

if TYPE_CHECKING:
    from anabranch.context.values import Json

FileArgument: TypeAlias = Annotated[Path | None, typer.Argument(metavar="FILE", help="The graph's YAML file.")]
FileOption: TypeAlias = Annotated[Path | None, typer.Option("--file", "-f", metavar="FILE", help="The same as FILE.")]
InputOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--input", "-i", metavar="JSON-FILE", help="A file with the context's data; `-` is standard input."),
]
ContextOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--context", "-c", metavar="FILE", help="A JSON or YAML file with the context's data."),
]
VerboseOption: TypeAlias = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also show each node and each edge of the graph.")
]
OutcomesOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--outcomes", metavar="FILE", help="YAML: `{node: {set: {…}} | {fail: CODE} | {timeout: true}}`."),
]
SetOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a key or path of the data; wins over --input. The value is JSON or text.",
    ),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print only the result on standard output.")]
TaskQueueOption: TypeAlias = Annotated[
    str | None, typer.Option("--task-queue", metavar="NAME", help="The task queue; wins over ANABRANCH_TASK_QUEUE.")
]
GraphsOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--graphs", metavar="DIR", help="The folder whose graphs are served; wins over ANABRANCH_GRAPHS."),
]

ImportOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        help="A module with handlers (`@node`), workflows or activities of yours; may be given several times, over "
        "ANABRANCH_IMPORT.",
    ),
]


def the_file(argument: Path | None, option: Path | None) -> Path:
    """The one file of a command, as an argument or an option. Raises typer.BadParameter (exit code 2)."""
    if argument is not None and option is not None:
        raise typer.BadParameter("give FILE once, alone or with --file", param_hint="FILE")
    path = argument or option
    if path is None:
        raise typer.BadParameter("which graph? Give its YAML file", param_hint="FILE")
    return path


@dataclass(frozen=True, slots=True)
class Played:
    """A graph that is played, and what its nodes are given."""

    file: FileArgument = None
    file_option: FileOption = None
    source: InputOption = None
    context: ContextOption = None
    assignments: SetOption = None
    outcomes: OutcomesOption = None
    imports: ImportOption = None
    as_json: JsonOption = False

    @property
    def path(self) -> Path:
        """Its file. Raises typer.BadParameter."""
        return the_file(self.file, self.file_option)

    def data(self) -> dict[str, Json]:
        """The data of its context. Raises InputError."""
        return context_data(self.source, self.assignments or [], self.context)
