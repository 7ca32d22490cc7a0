"""`anabranch demo`, as `make demo` runs it."""

from __future__ import annotations

import re
import signal

import pytest

from tests.command import ROOT, Command, anabranch
from tests.docs.pages import blocks_of
from tests.docs.shell import differs


@pytest.fixture(scope="module")
def demo() -> Command:
    """A demo with PostgreSQL that has come to its end."""
    with anabranch("demo") as command:
        assert command.leave(110) == 0, command.stderr
        return command


def outcomes(command: Command) -> list[str]:
    return [line.split()[1] for line in command.stdout.splitlines() if line.startswith("  → ")]


def test_three_orders_end_in_three_ways(demo: Command) -> None:
    assert outcomes(demo) == ["approved", "declined", "out_of_stock"]


def test_it_says_which_database_and_which_model_it_uses_and_where_the_web_ui_is(demo: Command) -> None:
    assert "The database is a PostgreSQL of this demo's own." in demo.stdout
    assert "stand-in" in demo.stdout
    assert "Web UI: http://127.0.0.1:" in demo.stdout


def test_it_draws_each_run_and_lists_the_versions_of_its_context(demo: Command) -> None:
    trees = [line for line in demo.stderr.splitlines() if "order_processing · ord-" in line]
    assert [line.split()[-1] for line in trees] == ["completed"] * 3
    approved = demo.stdout.partition("declined: order")[0]
    assert re.findall(r"^ +(\d+)  (\w+)  ", approved, re.MULTILINE) == [
        ("1", "input"),
        ("2", "validate_order"),
        ("3", "check_inventory"),
        ("4", "calculate_shipping"),
        ("5", "process_payment"),
        ("6", "decide_order"),
        ("7", "send_notification"),
    ]


def test_the_readme_shows_what_it_draws(demo: Command) -> None:
    shown = next(block.text for block in blocks_of("README.md") if block.language == "text")
    lines = demo.stderr.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("order_processing · ord-1001"))
    assert not differs(shown, "\n".join(lines[first : first + len(shown.splitlines())]))


def test_nothing_of_it_is_left_running(demo: Command) -> None:
    assert demo.processes() == set()


def test_sqlite_takes_the_place_of_postgresql_and_is_named() -> None:
    with anabranch("demo", "--sqlite") as command:
        assert command.leave(110) == 0
        assert "The database is SQLite, in place of PostgreSQL" in command.stdout
        assert outcomes(command) == ["approved", "declined", "out_of_stock"]


def test_an_interrupted_demo_leaves_nothing_behind() -> None:
    with anabranch("demo") as command:
        command.wait_for("Web UI: ")
        assert len(command.processes()) > 1
        command.signal(signal.SIGINT)
        assert command.leave() == 130
        assert command.processes() == set()


def test_make_demo_is_the_command() -> None:
    assert "@$(BIN)/anabranch demo\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
