"""What holds for a whole run of the tests: how they are spread, that they end, and what is printed at the end."""

from __future__ import annotations

import atexit
import contextlib
import gc
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter
from temporalio.worker._workflow import _WorkflowWorker
from xdist.dsession import DSession
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.json_values import unchecked
from tests.watchdog import watchdog

WORKFLOW_TASK_SECONDS = 60.0
"""After which a workflow counts as deadlocked. The SDK's two seconds may pass while other processes have the CPU."""
_NEEDS = re.compile(r"needs \S+: install Debian's package ([a-z0-9+.-]+)")
_sessions: list[pytest.Session] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--end-after", metavar="SECONDS", type=float, default=math.inf, help="End the whole run after so long."
    )
    parser.addoption(
        "--linger", metavar="SECONDS", type=float, default=60, help="What a test may take beyond its time-out."
    )


def pytest_configure(config: pytest.Config) -> None:
    _give_workflows_time()
    if hasattr(config, "workerinput"):
        # Each process has a server of its own: threads on all processors cost each of them a fifth more.
        os.environ.setdefault("GOMAXPROCS", "1")
    watchdog.start()
    bounds = contextlib.ExitStack()
    bounds.enter_context(watchdog.bound("the run", config.option.end_after))
    config.add_cleanup(bounds.close)


def _give_workflows_time() -> None:
    make = _WorkflowWorker.__init__

    def make_patient(worker: _WorkflowWorker, **options: Any) -> None:
        make(worker, **options)
        unchecked(worker)._deadlock_timeout_seconds = WORKFLOW_TASK_SECONDS  # the SDK types it as None or 2

    unchecked(_WorkflowWorker).__init__ = make_patient


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    marker = item.get_closest_marker("timeout")
    seconds = float(marker.args[0] if marker else item.config.getini("timeout"))
    with watchdog.bound(item.nodeid, seconds + item.config.option.linger):
        return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController, error: object) -> None:
    """Where a process of the tests has died, the others need not go on."""
    session = node.config.pluginmanager.get_plugin("dsession")
    if error and isinstance(session, DSession):
        session.shouldstop = f"{node.gateway.id} has died: {error}"


_MADE_ONCE = 'scope="module"'
"""What a file has whose tests share what is made once for all of them."""


class _ByServers(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Spreads tests one by one, those that share what their module has made once, as a server, as a whole.

    (xdist's own groups set a node id that pytest 9.2 no longer reads.)
    """

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        super().__init__(config, log)
        self._wholes: dict[str, bool] = {}

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """Forget the scopes that are done: all that a process has ever had is counted at each of its tests."""
        super().mark_test_complete(node, item_index, duration)
        scopes = self.assigned_work[node]
        scope = self._split_scope(self.registered_collections[node][item_index])
        if all(scopes[scope].values()):
            del scopes[scope]

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file not in self._wholes:
            self._wholes[file] = _MADE_ONCE in (self.config.rootpath / file).read_text(encoding="utf-8")
        return file if self._wholes[file] else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """How `-n` spreads the tests."""
    return _ByServers(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing that is collected is garbage: not to look at it again and again saves seconds of each process."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(700, 10, 10)  # a command has few reasons to look for garbage, tests may run for minutes
        gc.enable()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Say which programs were missed, below everything else."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if hasattr(config, "workerinput") or not isinstance(reporter, TerminalReporter):
        return
    missed: Counter[str] = Counter()
    for report in reporter.stats.get("skipped", ()):
        missed.update(_NEEDS.findall(str(report.longrepr)))
    if missed:
        which = ", ".join(f"{package} ({count} tests)" for package, count in sorted(missed.items()))
        reporter.write_line(f"Not tested, because it is not installed here: {which}.", yellow=True)
        reporter.write_line(f"On Debian: apt-get install --no-install-recommends {' '.join(sorted(missed))}")


def pytest_sessionstart(session: pytest.Session) -> None:
    _sessions.append(session)


@atexit.register
def _leave_with_the_session_s_exit_status() -> None:
    """Leave before the interpreter is torn down, which can crash in a process that used Temporal's client.

    A crash there would replace pytest's exit status by a signal's. Nothing can be hidden: this runs after pytest has
    reported and has settled its status, and leaves with that status.
    """
    if _sessions:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(_sessions[-1].exitstatus))
