"""Every command of the documentation runs, and prints what the page shows."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.docs.pages import blocks, blocks_of
from tests.docs.shell import Shell, steps

ELSEWHERE = {"docs/people.md": "tests/docs/test_people_page.py"}
"""Pages whose commands are alternatives to one another, not a session from top to bottom."""
SESSIONS = sorted({block.page for block in blocks("console")} - ELSEWHERE.keys())


@pytest.mark.parametrize("page", SESSIONS)
def test_a_page_s_commands_print_what_it_shows(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TEMPORAL_ADDRESS", "ANABRANCH_GRAPHS", "POSTGRES_URL"):
        monkeypatch.delenv(name, raising=False)

    def server(argument: str) -> str:
        if argument == "temporal":
            return str(request.getfixturevalue("dev_server").address)
        if argument.startswith("nats://"):
            return argument.replace("nats://127.0.0.1:4222", request.getfixturevalue("nats_url"))
        return argument

    with contextlib.ExitStack() as stack:
        shell = Shell(tmp_path, stack, server)
        for block in blocks_of(page):
            if block.title:
                shell.write(block)
            for step in steps(block) if block.language == "console" else ():
                shell.run(step)
