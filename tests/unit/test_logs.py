"""What a command writes to standard error of what is logged, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

HEAD = "import logging, structlog, warnings\nfrom anabranch.cli.logs import log_to_stderr\n"


def logged(level: str, script: str) -> list[str]:
    """The lines of a process that logs at this level, without their times."""
    program = f"{HEAD}log_to_stderr(logging.{level})\n{script}"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == ""
    return [line.partition(" ")[2].rstrip() for line in ended.stderr.splitlines()]


def test_our_entries_and_those_of_libraries_look_alike() -> None:
    script = """
structlog.get_logger("anabranch.worker").info("worker started", graphs="examples")
logging.getLogger("temporalio").info("polling %s", "now")
"""
    ours, theirs = logged("INFO", script)
    assert " ".join(ours.split()) == "[info ] worker started [anabranch.worker] graphs=examples"
    assert " ".join(theirs.split()) == "[info ] polling now [temporalio]"


def test_what_is_below_the_level_is_left_out() -> None:
    script = """
structlog.get_logger("anabranch").warning("no")
logging.getLogger("temporalio").warning("no")
structlog.get_logger("anabranch").error("yes")
logging.getLogger("temporalio").error("yes")
"""
    assert [" ".join(line.split()) for line in logged("ERROR", script)] == [
        "[error ] yes [anabranch]",
        "[error ] yes [temporalio]",
    ]


def test_a_warning_of_python_is_an_entry() -> None:
    (line, *_) = logged("WARNING", "warnings.warn('old')")
    assert "[warning  ] <string>:4: UserWarning: old" in line
    assert "[py.warnings]" in "".join(logged("WARNING", "warnings.warn('old')"))


def test_no_url_of_a_request_is_logged() -> None:
    script = """
import asyncio, httpx2
async def answer(request):
    return httpx2.Response(200)
async def ask():
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        await client.get("https://example.com/?token=s3cret")
asyncio.run(ask())
logging.getLogger("httpx2").warning("heard")
"""
    (line,) = logged("INFO", script)
    assert "heard" in line
    assert "s3cret" not in "".join(logged("DEBUG", script))


def test_a_traceback_is_python_s_own_and_shows_no_values() -> None:
    script = """
def fail(password):
    raise ValueError("no")
try:
    fail("s3cret")
except ValueError:
    logging.getLogger("temporalio").exception("failed")
"""
    told = logged("ERROR", script)
    assert told[-1] == "no"  # behind "ValueError: "
    assert any("in fail" in line for line in told)
    assert "s3cret" not in "".join(told)
