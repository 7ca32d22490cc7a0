"""A run of the tests ends: where a teardown hangs, where a server of the tests has died, where it takes too long."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.watchdog import LEFT

ROOT = Path(__file__).parents[2]
HANGS_IN_ITS_TEARDOWN = """
import threading, pytest

@pytest.fixture
def hanging():
    yield
    threading.Event().wait()

def test_that_fails(hanging):
    assert False
"""
HANGS = "def test_that_hangs():\n    import time\n    while True:\n        time.sleep(0.1)\n"
NEEDS_A_SERVER = """
import subprocess, sys, threading
from tests.watchdog import watchdog

def test_that_needs_a_server():
    server = subprocess.Popen([sys.executable, "-c", "pass"])
    with watchdog.needs("Oracle", server.pid):
        threading.Event().wait()
"""
NEEDS_WHAT_IS_MISSING = """
import pytest
from tests import conftest, servers

@pytest.fixture
def oracle():
    with conftest.or_skipped():
        return servers.program("memcached")

def test_one(oracle): ...
def test_two(oracle): ...
"""


def run(folder: Path, tests: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run tests in a process of their own."""
    file = folder / "test_some.py"
    file.write_text(tests)
    command = [sys.executable, "-m", "pytest", "-p", "tests.whole_run", "-p", "no:cacheprovider", *options]
    return subprocess.run(
        [*command, "--rootdir", str(folder), "-c", str(ROOT / "pyproject.toml"), str(file)],
        cwd=ROOT,
        env={**{name: value for name, value in os.environ.items() if name != "CI"}, **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_a_teardown_that_hangs_behind_a_failure_ends_the_process_and_shows_where(tmp_path: Path) -> None:
    """pytest-timeout alone does not: it gave up its timer when the test failed."""
    ended = run(tmp_path, HANGS_IN_ITS_TEARDOWN, "-o", "timeout=1", "--linger", "1")
    assert ended.returncode == LEFT
    assert "test_some.py::test_that_fails does not end" in ended.stderr
    assert f'File "{tmp_path}/test_some.py", line 7 in hanging' in ended.stderr


def test_a_run_has_an_end(tmp_path: Path) -> None:
    ended = run(tmp_path, HANGS, "--end-after", "1")
    assert ended.returncode == LEFT
    assert "the run does not end" in ended.stderr


@pytest.mark.parametrize("processes", [(), ("-n", "2", "--max-worker-restart", "0")], ids=["alone", "spread"])
def test_a_run_ends_with_failures_where_a_server_has_died(tmp_path: Path, processes: tuple[str, ...]) -> None:
    ended = run(tmp_path, NEEDS_A_SERVER, *processes)
    assert ended.returncode != 0
    assert "the tests' Oracle" in ended.stderr
    if processes:
        assert "crashed while running" in ended.stdout
        assert "1 failed" in ended.stdout


def test_the_last_lines_say_what_was_missing_and_how_to_get_it(tmp_path: Path) -> None:
    ended = run(tmp_path, NEEDS_WHAT_IS_MISSING, PATH=str(tmp_path))
    assert (ended.returncode, ended.stdout.splitlines()[-2:]) == (
        0,
        [
            "Not tested, because it is not installed here: memcached (2 tests).",
            "On Debian: apt-get install --no-install-recommends memcached",
        ],
    )


def test_under_ci_what_is_missing_is_a_failure(tmp_path: Path) -> None:
    ended = run(tmp_path, NEEDS_WHAT_IS_MISSING, PATH=str(tmp_path), CI="true")
    assert ended.returncode == 1
    assert "2 errors" in ended.stdout
