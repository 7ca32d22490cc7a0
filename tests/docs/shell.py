"""Runs the console blocks of a page as a reader would, in a folder of its own, and compares what they print.

Servers (`anabranch dev`, `worker`, `events`) run until the page is over, on ports of their own. They start while the
page goes on; a command that needs one waits.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from anabranch.cli.main import app
from anabranch.dev.devserver import temporal_command
from anabranch.loopback import free_port
from tests.command import Command, anabranch
from tests.docs.pages import ROOT, Block

_COPIED = ("examples",)
_READY = {
    "dev": "Ctrl-C stops everything",
    "worker": "worker started",
    "events": "consuming",
    "console": "console on",
}
_PATIENCE_SECONDS = 100
_IN_PROCESS = frozenset(
    {
        *("validate", "visualize", "schema", "dry-run", "convert", "profile", "test", "--help", "--version"),
        *("runs", "watch", "show", "history", "diff", "blame", "why", "undo-plan", "replay-check", "rerun"),
        *("answer", "resolve"),
    }
)
_FAILURE = re.compile(r"^(?:error\[|Error: | *✘)", re.MULTILINE)
_REPEATED = (
    *("temporal workflow query ", "temporal workflow update "),
    *("anabranch runs ", "anabranch answer ", "anabranch resolve "),
)
_ASSIGNMENT = re.compile(r"[A-Z_]+=")
_SHELL = re.compile(r"[|&;<>$`]")
_CHANGING = (
    (re.compile(r"\x1b\[[\d;?]*[A-Za-z]"), ""),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT[\d:.]+Z"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d\.\d{3}Z?"), "<clock>"),
    (re.compile(r"\b1[5-9]\d{11}\b"), "<ms>"),
    (re.compile(r"\b\d+(?:\.\d+)? (?:ms|s)\b"), "<took>"),
    (re.compile(r"[ \t]+"), " "),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a page with what the page shows of its output."""

    place: str
    command: str
    shown: str


def steps(block: Block) -> Iterator[Step]:
    """The commands of a console block."""
    lines = iter(enumerate(block.text.splitlines(), block.line))
    place, command, shown = "", "", list[str]()
    for number, line in lines:
        if not line.startswith("$ "):
            shown.append(line)
            continue
        if command:
            yield Step(place, command, "\n".join(shown))
        place, command, shown = f"{block.page}:{number}", line[2:], []
        while command.endswith("\\"):
            command = command[:-1].rstrip() + " " + next(lines)[1].lstrip()
    if command:
        yield Step(place, command, "\n".join(shown))


def differs(shown: str, printed: str) -> bool:
    """Whether a page shows other output than was printed; `…` matches anything, alone on a line any lines."""
    wanted, found = _settled(shown), _settled(printed)
    pattern = re.escape(wanted).replace("\\\n", "\n")
    pattern = re.sub(r"(?:^|\n) ?…(?=\n|$)", lambda _: "(?s:.*?)", pattern).replace("…", "[^\n]*?")
    return re.fullmatch(pattern, found) is None


def _settled(text: str) -> str:
    for pattern, instead in _CHANGING:
        text = pattern.sub(instead, text)
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


class Shell:
    """A reader's terminal: a folder with the examples, and the servers that were started in it."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack, urls: Callable[[str], str]) -> None:
        self._folder = folder
        self._stack = stack
        self._url = urls
        self._temporal: str | None = None
        self._aliases: dict[str, str] = {}
        self._served: list[list[str]] = []
        self._servers: list[tuple[Command, str]] = []
        for name in _COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))

    def write(self, block: Block) -> None:
        """Keep a titled block as the file of that name."""
        assert block.title is not None
        path = self._folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")

    def finish(self) -> None:
        """Wait until every server has started, and stop them all at once."""
        self._wait()
        for server, _ in self._servers:
            server.signal(signal.SIGTERM)

    def _wait(self) -> None:
        for server, ready in self._servers:
            server.wait_for(ready)

    def run(self, step: Step) -> None:
        """Run a command and compare what it prints with what the page shows."""
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while (problem := self._problem(step)) is not None:
            # A reader is slower than a test: what a run is asked for may not have happened yet.
            assert step.command.startswith(_REPEATED), problem
            assert time.monotonic() < give_up, problem
            time.sleep(0.1)

    def _problem(self, step: Step) -> str | None:
        """What is wrong with the page at this command, if anything."""
        code, printed = self._execute(step)
        if (code != 0) != bool(_FAILURE.search(step.shown)):
            return f"{step.place}: {step.command}\nleft with {code}\n{printed}"
        for ours, theirs in self._aliases.items():
            printed = printed.replace(ours, theirs)
        if step.shown and differs(step.shown, printed):
            return f"{step.place}: {step.command}\nprinted\n{printed}"
        return None

    def _execute(self, step: Step) -> tuple[int, str]:
        words = shlex.split(step.command, comments=True)
        environ = dict(word.split("=", 1) for word in itertools.takewhile(_ASSIGNMENT.match, words))
        program, *rest = words[len(environ) :]
        if program == "make":
            return self._make(step, rest)
        if program == "pip":
            return self._pip(step, rest)
        if program == "anabranch" and rest[0] in _READY:
            server = self._serve(rest, environ)
            if step.shown:
                self._wait()
            return 0, server.stdout if server is not None else ""
        if program == "anabranch" and rest[0] in _IN_PROCESS and not _SHELL.search(step.command.partition("#")[0]):
            return self._call(rest)
        return self._spawn(step.command)

    def _call(self, args: list[str]) -> tuple[int, str]:
        with contextlib.chdir(self._folder):
            result = CliRunner().invoke(app, args, env={"TEMPORAL_ADDRESS": self._temporal} if self._temporal else None)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    def _spawn(self, command: str) -> tuple[int, str]:
        bin_folder = Path(sys.executable).parent
        environ = os.environ | {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        # `run` takes a server of its own, where the page's reader names none.
        is_there = command.startswith(("temporal ", "anabranch ")) and not command.startswith("anabranch run ")
        if self._temporal is not None and is_there:
            self._wait()
            environ["TEMPORAL_ADDRESS"] = self._temporal
        if command.startswith("temporal "):
            command = command.replace("temporal", shlex.quote(temporal_command()), 1)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        return done.returncode, done.stdout

    def _serve(self, args: list[str], environ: dict[str, str]) -> Command | None:
        """Start a server, unless the page has started it before."""
        args = [arg for arg in args if arg != "&"]
        if args in self._served:
            return None
        self._served.append(list(args))
        folder = self._folder if "--graphs" in args else ROOT
        if args[0] == "dev":
            temporal, ui, codec = free_port(), free_port(), free_port()
            self._temporal = f"127.0.0.1:{temporal}"
            self._aliases |= {f" --address {self._temporal}": "", self._temporal: "127.0.0.1:7233"}
            self._aliases |= {f"127.0.0.1:{ui}": "127.0.0.1:8233", temporal_command(): "temporal"}
            args += ["--port", str(temporal), "--ui-port", str(ui), "--codec-port", str(codec)]
        else:
            self._temporal = self._temporal or self._url("temporal")
            environ = environ | {"TEMPORAL_ADDRESS": self._temporal}
            args = [self._url(arg) for arg in args]
            args += ["--port", str(free_port())] if args[0] == "console" else []
        command: Command = self._stack.enter_context(anabranch(*args, environ=environ, folder=folder))
        self._servers.append((command, _READY[args[0]]))
        return command

    def _make(self, step: Step, targets: list[str]) -> tuple[int, str]:
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for target in targets:
            assert re.search(rf"^{target}:.*##", makefile, re.MULTILINE), f"{step.place}: make has no target {target}"
        if targets == ["dev"]:
            self._serve(["dev"], {})
        return 0, ""

    def _pip(self, step: Step, args: list[str]) -> tuple[int, str]:
        extras = re.findall(r"anabranch\[([\w,]+)\]", " ".join(args))
        packaging = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        for extra in ",".join(extras).split(",") if extras else ():
            assert re.search(rf"^{extra} = \[", packaging, re.MULTILINE), f"{step.place}: there is no extra {extra}"
        return 0, ""
