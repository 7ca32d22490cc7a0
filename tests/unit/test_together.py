"""Options that several commands have together, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from anabranch.cli.together import together


@dataclass(frozen=True)
class Shared:
    run: Annotated[str, typer.Argument(metavar="RUN")]
    by: Annotated[str | None, typer.Option("--by")] = None


def test_a_command_has_the_arguments_of_both_and_gets_the_shared_ones_as_one_value() -> None:
    told: list[object] = []

    @together(Shared)
    def answer(shared: Shared, *, node: Annotated[str | None, typer.Argument(metavar="NODE")] = None) -> None:
        """Answer it."""
        told.append((shared, node))

    app = typer.Typer()
    app.command()(answer)
    assert CliRunner().invoke(app, ["trip-1", "ask", "--by", "ada"]).exit_code == 0
    assert CliRunner().invoke(app, ["trip-1"]).exit_code == 0
    assert told == [(Shared("trip-1", "ada"), "ask"), (Shared("trip-1"), None)]
    assert CliRunner().invoke(app, []).exit_code == 2
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "Answer it." in shown
    assert shown.index("RUN") < shown.index("NODE")
