"""Every command of the documentation runs, and prints what the page shows."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks, blocks_of, folder_of, pages
from tests.docs.shell import Shell, differs, steps

ELSEWHERE = {
    "docs/extending.md": "tests/acceptance/test_own_project.py",
    "docs/people.md": "tests/docs/test_people_page.py",
}
"""Pages whose commands are not a session from top to bottom."""
MAKE = {
    "bench": "tests/integration/test_overhead_benchmark.py",
    "capacity": "tests/integration/test_capacity_benchmark.py",
    "coverage": ".ci/run",
    "demo": "tests/acceptance/test_demo.py",
    "dev": "tests/acceptance/test_dev.py",
    "docs": "tests/docs/test_site.py",
    "faults": "Makefile",  # it takes 40 minutes; `make storm` runs a twentieth of it
    "attack": ".ci/run",
    "lint": ".ci/run",
    "pages": "tests/docs/test_generated.py",
    "peers": "tests/integration/test_peers_benchmark.py",
    "scale": "tests/integration/test_scale_benchmark.py",
    "setup": ".ci/run",  # `make lint` begins with it
    "slow": ".ci/run",
    "steady": "tests/acceptance/test_steady.py",
    "storm": "Makefile",  # half of it is `make slow`, which .ci/run has; the rest is run before a release
    "test": ".ci/run",
}
"""What runs the targets of make that pages name: here it is only looked at whether they exist."""
LONG = {"README.md"}
"""Whose commands take longest: `make slow` runs them."""
SESSIONS = sorted({block.page for block in blocks("console")} - ELSEWHERE.keys())


@pytest.mark.timeout(300)  # servers are started and stopped, on machines that may be busy
@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.slow if page in LONG else ()) for page in SESSIONS]
)
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
        if (files := folder_of(page)) is not None:
            shutil.copytree(files, tmp_path, dirs_exist_ok=True)
        for block in blocks_of(page):
            if block.title and files is None:
                shell.write(block)
            for step in steps(block) if block.language == "console" else ():
                shell.run(step)
        shell.finish()


def test_every_target_of_make_that_a_page_names_is_run_somewhere() -> None:
    named = set(re.findall(r"(?:`|\$ )make ([a-z]+)", "\n".join(pages().values()))) - {"help"}
    assert {target: MAKE.get(target) for target in named} == {target: MAKE[target] for target in named & MAKE.keys()}
    assert [file for file in MAKE.values() if not (ROOT / file).exists()] == []
    checks = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert [target for target in ("lint", "coverage", "slow", "attack") if f"make {target}" not in checks] == []


def test_output_that_differs_from_the_page_is_told_however_long_it_is() -> None:
    printed = "first\n" + "between\n" * 300
    assert not differs("first\n…\nlast", printed + "last")
    assert differs("first\n…\nlast", printed + "another")
