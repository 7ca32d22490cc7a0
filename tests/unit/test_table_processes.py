"""The child processes of decision tables: bounded, replaced, and gone with their worker."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from anabranch.activities.rules.decision_table import evaluate_table
from anabranch.activities.rules.table_process import PROCESSES, TableProcesses, processes
from anabranch.errors import ExpressionTooCostly, Unavailable
from tests.unit.test_decision_table import jdm, node


def decision(expression: str) -> str:
    return json.dumps(jdm(node("x", "expressionNode", expressions=[{"id": "1", "key": "k", "value": expression}])))


@pytest.fixture
def pool() -> Iterator[TableProcesses]:
    pool = TableProcesses(1)
    yield pool
    pool.close()


def child_of(pool: TableProcesses) -> psutil.Process:
    (child,) = pool._idle
    return psutil.Process(child._process.pid)


def result(pool: TableProcesses, expression: str, **inputs: Any) -> Any:
    return pool.evaluate(decision(expression), inputs)["result"]["k"]


def test_a_child_is_started_for_the_first_table_and_kept(pool: TableProcesses) -> None:
    assert pool._idle == []
    assert result(pool, "n + 1", n=1) == 2
    first = child_of(pool)
    assert result(pool, "n + 2", n=1) == 3
    assert child_of(pool) == first


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("sum(map([1..n], #))", "needs more than 256 MiB"),
        ("len(flatMap([1..20000], map([1..20000], #)))", "(needs more than 256 MiB|more than 1.5 s)"),
        ("some([1..3000], some([1..3000], some([1..3000], false)))", "takes more than 1.5 s of processor time"),
    ],
)
def test_a_table_over_a_limit_ends_its_child_and_the_next_has_another(
    pool: TableProcesses, expression: str, said: str
) -> None:
    with pytest.raises(ExpressionTooCostly, match=said):
        result(pool, expression, n=4_000_000_000)
    assert result(pool, "n + 1", n=1) == 2


def test_a_child_that_was_killed_while_it_waited_is_replaced(pool: TableProcesses) -> None:
    result(pool, "n", n=1)
    killed = child_of(pool)
    killed.kill()
    psutil.wait_procs([killed])
    assert result(pool, "n", n=2) == 2
    assert child_of(pool) != killed


def test_a_child_that_is_killed_while_it_works_is_no_fault_of_the_table(pool: TableProcesses) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            result(pool, "some([1..3000], some([1..3000], some([1..3000], false)))")
        except Unavailable as error:
            failures.append(error)

    known = psutil.Process().children()
    worker = threading.Thread(target=work)
    worker.start()
    while not (started := [child for child in psutil.Process().children() if child not in known]):
        time.sleep(0.01)
    started[0].kill()
    worker.join()
    assert [str(error) for error in failures] == [
        "the process of a decision table was ended (-9) (`retry` says how often it is tried)"
    ]


def test_tables_are_evaluated_from_many_threads_by_few_children() -> None:
    found: list[object] = []

    def work(n: int) -> None:
        found.extend(evaluate_table(decision("n * 2"), {"n": n})["k",] == n * 2 for _ in range(20))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 160
    assert len(processes()._idle) <= PROCESSES


HOST = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever our own starter has made of it
from anabranch.activities.rules.decision_table import evaluate_table
from anabranch.activities.rules.table_process import processes
evaluate_table(sys.argv[1], {"n": 1})
print(processes()._idle[0]._process.pid, flush=True)
for _ in range(2400):
    time.sleep(0.05)  # to wait for input would miss a signal that comes just before
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_child_goes_with_the_worker_that_started_it(how: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", HOST, decision("n")], stdout=subprocess.PIPE, env=os.environ) as host:
        assert host.stdout is not None
        child = psutil.Process(int(host.stdout.readline()))
        host.send_signal(how)
        host.wait()
        _, alive = psutil.wait_procs([child], timeout=20)
        assert alive == []
