"""What people see. Results go to standard output, everything else to standard error.

Lines are wrapped at words on a terminal, and not at all in a pipe or a file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from anabranch.display import plain, plain_json
from anabranch.errors import AnabranchError, GraphError, Problem, SourceLocation

_EXCERPT_COLUMNS = 160
_PIPED_WIDTH = 160


def out() -> Console:
    """Standard output as it is now, for results."""
    return _console(stderr=False)


def err() -> Console:
    """Standard error as it is now, for errors, warnings and progress."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.soft_wrap, console.width = True, _PIPED_WIDTH
    return console


def may_ask() -> bool:
    """Whether somebody is there to be shown a question, and to be asked."""
    return sys.stdin.isatty()


def print_block(block: RenderableType) -> None:
    """Print a table or a drawing on standard output; in a pipe or a file without blanks at the ends of its lines."""
    screen = out()
    screen.soft_wrap = False
    if screen.is_terminal:
        screen.print(block)
        return
    with screen.capture() as captured:
        screen.print(block)
    lines = (line.rstrip() for line in captured.get().splitlines())
    screen.file.write("".join(f"{line}\n" for line in lines))


def print_json(value: object) -> None:
    """Print a value as JSON on standard output."""
    out().file.write(plain_json(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


def show_error(error: AnabranchError) -> None:
    """Print an error, or every problem of a `GraphError`, to standard error."""
    if isinstance(error, GraphError):
        show_problems(error.problems)
    else:
        show_finding(error.code, error.place, error.message, error.suggestion)


def show_problems(problems: Iterable[Problem]) -> None:
    """Print findings of the graph checks to standard error, each with the line that it is about."""
    for problem in problems:
        show_finding(problem.code, problem.place, problem.message, problem.suggestion, warning=problem.warning)


def show_finding(
    code: str, place: SourceLocation | str | None, message: str, suggestion: str | None = None, *, warning: bool = False
) -> None:
    """Print one error or warning to standard error."""
    screen = err()
    screen.soft_wrap = True  # places stay whole, to be clicked on
    level = Text("warning", "bold yellow") if warning else Text("error", "bold red")
    where = f"{plain(place)}: " if place else ""
    screen.print(Text.assemble(level, (f"[{code}]", level.style), ": ", (where, "bold"), plain(message)))
    if isinstance(place, SourceLocation) and screen.is_terminal:
        # Only for the author's own eyes: a line of the file may hold what must not get into a log.
        for line in _excerpt(place):
            screen.print(line)
    if suggestion:
        screen.print(Text.assemble(("  help", "bold green"), ": ", plain(suggestion)))


def _excerpt(place: SourceLocation) -> list[Text]:
    """The line of the file and a mark under the column; nothing where the file cannot be read."""
    try:
        with Path(place.file).open(encoding="utf-8") as file:
            line = next(islice(file, place.line - 1, None), "").rstrip()
    except (OSError, ValueError):
        return []
    if not line.strip() or len(line) > _EXCERPT_COLUMNS or not 1 <= place.column <= len(line) + 1:
        return []
    number = f"{place.line:>5} │ "
    mark = " " * 5 + " │ " + " " * (place.column - 1)
    return [
        Text.assemble((number, "cyan"), plain(line.replace("\t", " "))),
        Text.assemble((mark, "cyan"), ("▲", "bold red")),
    ]
