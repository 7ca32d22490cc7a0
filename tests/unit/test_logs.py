"""What a command writes to standard error of what is logged, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest

HEAD = "import logging, structlog, warnings\nfrom anabranch.cli.logs import log_to_stderr\n"


def logged(level: str, script: str, **environ: str) -> list[str]:
    """The lines of a process that logs at this level, without their times."""
    program = f"{HEAD}log_to_stderr(logging.{level}, own=['my_handlers.more'])\n{script}"
    around = {**os.environ, **environ}
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True, env=around
    )
    assert ended.stdout == ""
    return [line.partition(" ")[2].rstrip() for line in ended.stderr.splitlines()]


def test_our_entries_and_those_of_the_user_s_modules_and_of_libraries_look_alike() -> None:
    script = """
structlog.get_logger("anabranch.worker").info("worker started", graphs="examples")
logging.getLogger("my_handlers").info("charged %s", "now")
logging.getLogger("temporalio").warning("polling %s", "now")
"""
    ours, own, theirs = logged("INFO", script)
    assert " ".join(ours.split()) == "[info ] worker started [anabranch.worker] graphs=examples"
    assert " ".join(own.split()) == "[info ] charged now [my_handlers]"
    assert " ".join(theirs.split()) == "[warning ] polling now [temporalio]"


def test_every_library_logs_warnings_and_above_only() -> None:
    script = """
for name in ("httpx", "httpx2", "openai", "temporalio", "aiokafka", "sqlalchemy.engine", "anything"):
    logging.getLogger(name).info("no")
    logging.getLogger(name).warning("yes")
"""
    assert len(logged("DEBUG", script)) == 7


SECRETS = {
    "HTTP_SECRET_BANK": "Bearer s3cr3t-token",
    "OPENAI_API_KEY": "sk-s3cr3t",
    "POSTGRES_URL": "postgres://shop:p4ss%2Fs3cr3t@db/x?password=qu3ry-s3cr3t",
    "REDIS_URL": "redis://:r3dis-s3cr3t@cache",
}
TOLD = ["s3cr3t-token", "sk-s3cr3t", "p4ss/s3cr3t", "p4ss%2Fs3cr3t", "qu3ry-s3cr3t", "r3dis-s3cr3t"]


ENTRIES = """
for told in TOLD:
    structlog.get_logger("anabranch").error(told)
    structlog.get_logger("anabranch").error("x", reason=told, many=[{told: told}], error=ValueError(told))
    logging.getLogger("library").error(told)
    logging.getLogger("library").error("%s %r", told, {"a": told})
    logging.getLogger("library").error(ValueError(told))
    try:
        raise ValueError(told)
    except ValueError:
        logging.getLogger("library").exception("failed")
        structlog.get_logger("anabranch").exception("failed")
"""
IN_A_COMMAND = "log_to_stderr(logging.INFO)"
IN_A_WORKER_OF_OTHERS = """
logging.basicConfig()
from anabranch.logs import guard_logging
guard_logging()
guard_logging()
"""


@pytest.mark.parametrize("setup", [IN_A_COMMAND, IN_A_WORKER_OF_OTHERS])
def test_no_entry_shows_a_secret_of_the_process(setup: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", f"{HEAD}{setup}\nTOLD = {TOLD!r}\n{ENTRIES}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, **SECRETS},
    )
    said = ended.stdout + ended.stderr
    assert said.count("***") >= 10 * len(TOLD)
    for told in TOLD:
        assert told not in said


def test_what_is_secret_in_a_url_is_masked_whatever_the_environment_holds() -> None:
    script = """
logging.getLogger("library").error("GET https://ada:pw@host:8080/path?token=abc&q=Ada+L#x failed, see (http://b/?z=1)")
"""
    (line,) = logged("INFO", script)
    assert "GET https://***@host:8080/path?token=***&q=***#x failed, see (http://b/?z=***" in line


def test_a_worker_of_others_keeps_its_levels_and_hears_no_request() -> None:
    script = """
logging.basicConfig(level=logging.DEBUG, force=True)
logging.getLogger("httpcore2").setLevel(logging.INFO)
from anabranch.logs import guard_logging
guard_logging()
logging.getLogger("httpx2").info("no")
logging.getLogger("httpcore2").info("yes")
logging.getLogger("theirs").debug("yes")
"""
    assert len(logged("INFO", script)) == 2


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
    fail("s3" + "cret")
except ValueError:
    logging.getLogger("temporalio").exception("failed")
"""
    told = logged("ERROR", script)
    assert told[-1] == "no"  # behind "ValueError: "
    assert any("in fail" in line for line in told)
    assert "s3cret" not in "".join(told)


def test_an_entry_is_one_line_and_nothing_in_it_acts_on_a_terminal() -> None:
    script = """
hostile = "a\\x1b[2J\\u202e\\u061c\\u200b\\n12:00:00 [error    ] no entry"
structlog.get_logger("anabranch").error(hostile, reason=hostile, many=[hostile])
logging.getLogger("library").error("%s", hostile)
try:
    raise ValueError("\\x1b]0;title\\x07")
except ValueError:
    logging.getLogger("library").exception("failed")
"""
    lines = logged("INFO", script)
    shown = r"a\x1b[2J\u202e\u061c\u200b\n12:00:00 [error    ] no entry"
    assert [shown in line for line in lines[:2]] == [True, True]
    assert lines[-1].endswith(r"\x1b]0;title\x07")
    assert not {char for line in lines for char in line if not char.isprintable()}


JSON = """
log_to_stderr(logging.INFO, own=['my_handlers'], form="json")
"""


def as_json(script: str, **environ: str) -> list[dict[str, Any]]:
    ended = subprocess.run(
        [sys.executable, "-c", f"{HEAD}{JSON}{script}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, **environ},
    )
    return [json.loads(line) for line in ended.stderr.splitlines()]


def test_a_worker_logs_one_object_of_json_for_each_entry_whoever_logs() -> None:
    script = """
structlog.get_logger("anabranch.worker").info("worker started", graphs="examples")
logging.getLogger("anabranch.run").warning("Node failed", extra={"session_id": "o1", "code": "NO_STOCK"})
logging.getLogger("my_handlers").info("charged %s\\n\\u202e", "now")
"""
    ours, run, own = as_json(script)
    assert ours.items() >= {"event": "worker started", "level": "info", "graphs": "examples"}.items()
    assert run.items() >= {"event": "Node failed", "level": "warning", "session_id": "o1", "code": "NO_STOCK"}.items()
    assert own.items() >= {"event": "charged now\n\u202e", "logger": "my_handlers"}.items()
    assert datetime.fromisoformat(ours["timestamp"]).tzinfo is not None


def test_json_shows_no_secret_and_stays_json() -> None:
    script = f"""
TOLD = {TOLD!r}
{ENTRIES}
logging.getLogger("library").error("GET https://ada:pw@host/path?q=hidden")
structlog.get_logger("anabranch").error("x", number=12345678, pair={{"12345678": 1}})
"""
    entries = as_json(script, **SECRETS, PIN_TOKEN="12345678")
    said = json.dumps(entries)
    for told in (*TOLD, "ada:pw", "hidden", "12345678"):
        assert told not in said
    assert said.count("***") >= 10 * len(TOLD)


def test_an_expected_failure_is_its_code_without_a_traceback_or_a_value() -> None:
    script = """
from anabranch.errors import NodeError, Unavailable
from temporalio.exceptions import ApplicationError
for error in (NodeError("c4n4ry"), ApplicationError("c4n4ry", type="NO_STOCK"), Unavailable("the store is down")):
    try:
        raise error
    except Exception:
        logging.getLogger("temporalio.worker").warning("failed", exc_info=True)
"""
    entries = as_json(script)
    assert [entry["code"] for entry in entries] == ["NODE_FAILED", "NO_STOCK", "UNAVAILABLE"]
    assert [entry.get("reason") for entry in entries] == [None, None, "the store is down"]
    assert [entry for entry in entries if "exception" in entry or "c4n4ry" in json.dumps(entry)] == []


def test_what_a_handler_logs_names_its_run() -> None:
    script = """
logging.getLogger("my_handlers").info("charged", extra={"temporal_activity": {
    "activity_id": "charge", "activity_type": "python", "attempt": 2, "namespace": "default",
    "workflow_id": "order-1", "workflow_run_id": "r1", "workflow_type": "order"}})
"""
    (entry,) = as_json(script)
    named = {"session_id": "order-1", "workflow_id": "order-1", "run_id": "r1", "graph": "order", "node": "charge"}
    assert entry.items() >= (named | {"attempt": 2}).items()
    assert "temporal_activity" not in entry
