"""`anabranch validate`, `visualize` and `schema`: look at graphs without running them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from anabranch.cli.arguments import FileArgument, FileOption, ImportOption, VerboseOption, the_file
from anabranch.cli.report import err, out, show_problems
from anabranch.display import plain
from anabranch.errors import GraphError, InputError
from anabranch.settings import settings_from_environment

if TYPE_CHECKING:
    from anabranch.graph.load import LoadedGraph
    from anabranch.graph.model import Graph


class Format(StrEnum):
    """How a graph can be drawn."""

    TREE = "tree"
    BOXES = "boxes"
    MERMAID = "mermaid"
    SVG = "svg"
    PNG = "png"


def validate(
    *,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", help="YAML files, one graph each, or folders of them.")
    ] = None,
    file_options: Annotated[
        list[Path] | None, typer.Option("--file", "-f", metavar="FILE", help="The same as FILE.")
    ] = None,
    verbose: VerboseOption = False,
    imports: ImportOption = None,
) -> None:
    """Find every problem of graphs, each with its file, line, column and a suggestion."""
    from anabranch.cli.structure import show_structure
    from anabranch.graph.load import load_graph
    from anabranch.preflight.handlers import handler_warnings

    paths = [*(files or []), *(file_options or [])]
    if not paths:
        raise typer.BadParameter("which graphs? Give their YAML files", param_hint="FILE")
    chosen = settings_from_environment(imports=imports).imports
    invalid = 0
    for path in _each_file(paths):
        try:
            loaded = load_graph(path)
        except GraphError as error:
            show_problems(error.problems)
            found = sum(not problem.warning for problem in error.problems)
            err().print(Text.assemble(f"{plain(path)}: ", (f"{found} error{'s' * (found != 1)}", "bold red")))
            invalid += 1
        else:
            show_problems((*loaded.warnings, *handler_warnings(loaded, chosen)))
            _summarise(path, loaded)
            if verbose:
                show_structure(loaded.graph)
    if invalid:
        raise typer.Exit(1)


def _each_file(paths: Iterable[Path]) -> Iterator[Path]:
    """The files, and of a folder those of its graphs. A usage error where a folder has none."""
    from anabranch.graph.source.index import graph_files

    for path in paths:
        if not path.is_dir():
            yield path
        elif found := graph_files(path):
            yield from found
        else:
            raise typer.BadParameter(f"the folder {str(path)!r} has no YAML file", param_hint="FILE")


def visualize(
    *,
    file: FileArgument = None,
    file_option: FileOption = None,
    boxes: Annotated[bool, typer.Option("--graph", help="The same as --format boxes.")] = False,
    details: Annotated[
        bool, typer.Option("--details", "-d", help="Also conditions, connections, prompts, policies.")
    ] = False,
    form: Annotated[
        Format | None, typer.Option("--format", help="By default what the name of --output says, else a tree.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PATH", help="Write to this file instead of standard output."),
    ] = None,
) -> None:
    """Draw a graph: as a tree or boxes for a terminal, as Mermaid text, as an SVG or PNG picture."""
    path = the_file(file, file_option)
    from anabranch.graph.load import load_graph

    loaded = load_graph(path)
    chosen = form or (Format.BOXES if boxes else _format_of(output))
    if boxes and chosen is not Format.BOXES:
        raise typer.BadParameter(f"it contradicts --format {chosen}", param_hint="--graph")
    if chosen is Format.PNG and output is None and out().is_terminal:
        raise typer.BadParameter("a PNG picture needs --output, or a pipe", param_hint="--format png")
    drawn = _drawn(loaded.graph, chosen, details=details)
    if output is None:
        _write_out(drawn)
        _hint_if_too_wide(drawn, chosen)
        return
    try:
        output.write_bytes(drawn)
    except OSError as error:
        raise InputError(f"the file cannot be written: {error.strerror}", place=str(output)) from None


def schema() -> None:
    """Print the JSON Schema of graph files, for editors that complete and check while you write."""
    from anabranch.graph.checks.schemas import graph_json_schema

    typer.echo(json.dumps(graph_json_schema(), indent=2))


def _summarise(path: Path, loaded: LoadedGraph) -> None:
    from anabranch.graph.dataflow.dataflow import graph_inputs
    from anabranch.graph.drawing.summary import of_runs

    graph, screen = loaded.graph, out()
    kinds = Counter(node.type for node in graph.nodes.values())
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    nodes, edges = _counted(len(graph.nodes), "node"), _counted(len(graph.edges), "edge")
    screen.print(Text.assemble(("✔ ", "green"), f"{plain(path)}: ", ("graph is valid", "bold green")))
    about = f"  {plain(graph.description)}" if graph.description else ""
    screen.print(Text.assemble("  ", (graph.name, "bold"), f" {plain(graph.version)}", (about, "dim")))
    screen.print(Text(f"  {nodes} ({counts}), {edges}"))
    inputs = sorted(graph_inputs(graph, loaded.graphs))
    defaults = {name: schema["default"] for name, schema in (graph.inputs or {}).items() if "default" in schema}
    inputs += [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in defaults.items()]
    screen.print(Text(f"  inputs: {plain(', '.join(inputs) or 'none')}"))
    if graph.result is not None:
        screen.print(Text(f"  result: {plain(', '.join(graph.result) or 'nothing')}"))
    for line in of_runs(graph):
        screen.print(Text(f"  {plain(line)}"))
    if loaded.graphs:
        screen.print(Text(f"  graphs: {', '.join(sorted(loaded.graphs))}"))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


_SUFFIXES = {".mmd": Format.MERMAID, ".svg": Format.SVG, ".png": Format.PNG}


def _format_of(output: Path | None) -> Format:
    """The format that a file's name says. Raises typer.BadParameter for one that no drawing has."""
    if output is None or (suffix := output.suffix.lower()) in {"", ".txt"}:
        return Format.TREE
    if (found := _SUFFIXES.get(suffix)) is None:
        known = ", ".join((*_SUFFIXES, ".txt"))
        raise typer.BadParameter(f"no drawing is {suffix!r}: {known}, or --format", param_hint="--output")
    return found


def _drawn(graph: Graph, form: Format, *, details: bool) -> bytes:
    from anabranch.graph.drawing import mermaid, png, svg
    from anabranch.graph.drawing.boxes import boxes
    from anabranch.graph.drawing.tree import tree

    draw: dict[Format, Callable[..., str | bytes]] = {
        Format.TREE: tree,
        Format.BOXES: partial(boxes, columns=out().width if out().is_terminal else None),
        Format.MERMAID: mermaid.mermaid,
        Format.SVG: svg.svg,
        Format.PNG: png.png,
    }
    drawn = draw[form](graph, details=details)
    if isinstance(drawn, bytes):
        return drawn
    return (drawn if drawn.endswith("\n") else drawn + "\n").encode()


def _hint_if_too_wide(drawn: bytes, form: Format) -> None:
    screen = out()
    if form is not Format.BOXES or not screen.is_terminal:
        return
    if max(map(len, drawn.decode().splitlines()), default=0) > screen.width:
        err().print(
            "The drawing is wider than the terminal: pipe it into `less -S`, or draw it with --output graph.svg."
        )


def _write_out(drawn: bytes) -> None:
    stream = typer.get_binary_stream("stdout")
    stream.write(drawn)
    stream.flush()
