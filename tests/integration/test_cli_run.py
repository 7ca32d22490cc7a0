"""`anabranch run` and `worker` as processes, on real servers."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from anabranch.dev.devserver import DevServer
from anabranch.graph.load import digests, load_graph
from tests.command import ROOT, anabranch

SUM = """
name: sum
description: Twice a number
nodes:
  double: {type: rule, rules: [{then: {twice: "{{ n * 2 }}"}}]}
  tell: {type: rule, rules: [{then: {told: "twice {{ n }} is {{ twice }}"}}]}
edges: [{from: double, to: tell}]
"""
BREAKS = """
name: breaks
saga: {}
nodes:
  book: {type: rule, rules: [{then: {booked: true}}], compensate: {type: rule, rules: [{then: {booked: false}}]}}
  divide: {type: rule, rules: [{then: {share: "{{ 1 / n }}"}}]}
edges: [{from: book, to: divide}]
"""
WAITS = """
name: waits
saga: {}
nodes:
  book: {type: rule, rules: [{then: {booked: true}}], compensate: {type: rule, rules: [{then: {booked: false}}]}}
  night: {type: wait, for: 1h}
edges: [{from: book, to: night}]
"""

LOST = "{name: lost, nodes: {print: {type: activity, activity: PrintLabel, task_queue: labels}}}"


@pytest.fixture
def graph(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "graph.yaml"
    path.write_text(getattr(request, "param", SUM), encoding="utf-8")
    return path


@pytest.fixture
def named(dev_server: DevServer, task_queue: str) -> Mapping[str, str]:
    """An environment that names a server and a task queue."""
    return {"TEMPORAL_ADDRESS": dev_server.address, "ANABRANCH_TASK_QUEUE": task_queue}


def test_a_run_on_an_embedded_server_prints_its_result_and_leaves_nothing_behind(graph: Path) -> None:
    with anabranch("run", graph, "--set", "n=21") as command:
        assert command.leave() == 0
        assert json.loads(command.stdout)["data"] == {"n": 21, "twice": 42, "told": "twice 21 is 42"}
        assert re.fullmatch(r"started sum-[0-9a-f]{8} on an embedded server\n", command.stderr)
        assert command.processes() == set()


def test_following_shows_what_is_asked_and_the_command_that_answers(tmp_path: Path) -> None:
    path = tmp_path / "ask.yaml"
    ask = "{type: approval, prompt: 'Buy for {{ n }}?', schema: {properties: {bought: {type: boolean}}}, timeout: 1h}"
    path.write_text(f"name: ask\nnodes: {{ask: {ask}}}\n")
    with anabranch("run", path, "--set", "n=1", "--follow", "--json", "--id", "my run") as command:
        command.wait_for("anabranch answer")
        said, answer = (line for line in command.stderr.splitlines() if "Buy for 1?" in line or " answer " in line)
        assert said.startswith("ask asks until ")
        assert "anabranch answer 'my run' ask --input" in answer
        program = f'anabranch() {{ {shlex.quote(sys.executable)} -m anabranch "$@"; }}'
        subprocess.run(["bash", "-c", f"{program}\n{answer}"], check=True, capture_output=True, cwd=ROOT)
        assert command.leave() == 0
    assert json.loads(command.stdout)["data"] == {"n": 1, "bought": True}


def test_following_draws_the_run_beside_a_clean_result(graph: Path) -> None:
    with anabranch("run", graph, "--set", "n=1", "--follow", "--json", "--id", "my-run") as command:
        assert command.leave() == 0
        result = json.loads(command.stdout)
        assert (result["session_id"], result["status"], result["version"]) == ("my-run", "completed", 3)
        drawn = [line.split() for line in command.stderr.splitlines()]
        assert drawn[0] == ["sum", "·", "my-run", "completed"]
        assert [(line[0], line[1], line[-1]) for line in drawn[1:]] == [("✔", "double", "twice"), ("✔", "tell", "told")]


@pytest.mark.parametrize("graph", [BREAKS], indirect=True)
def test_a_failed_run_says_where_and_why_and_what_was_undone(graph: Path) -> None:
    with anabranch("run", graph, "--set", "n=0", "--json") as command:
        assert command.leave() == 1
        assert command.stderr.splitlines()[1:] == [
            "error[EXPRESSION_FAILED]: node 'divide': rule 1: `1 / n`: divide by zero",
            "  compensated: book",
        ]
        reported = json.loads(command.stdout)
        assert (reported["status"], reported["error"]["node"], reported["error"]["compensated"]) == (
            "failed",
            "divide",
            ["book"],
        )
        assert command.processes() == set()


@pytest.mark.parametrize("graph", [WAITS], indirect=True)
def test_an_interrupt_cancels_a_run_on_an_embedded_server(graph: Path) -> None:
    with anabranch("run", graph, "--id", "night") as command:
        command.wait_for("started night")
        command.signal(signal.SIGINT)
        assert command.leave() == 130
        assert command.stderr.splitlines()[1:] == [
            "cancelling the run; Ctrl-C again leaves at once",
            "error[CANCELLED]: the run was cancelled",
        ]
        assert command.processes() == set()


@pytest.mark.parametrize("graph", [LOST], indirect=True)
def test_a_task_queue_that_nobody_serves_is_named_with_the_node_that_waits_in_it(graph: Path) -> None:
    with anabranch("run", graph) as command:
        command.wait_for("has waited")
        command.signal(signal.SIGINT)
        assert command.leave() == 130
        warned = command.stderr.splitlines()[1]
        said = r"warning\[NO_WORKER\]: print has waited \d+ s for a worker: "
        assert re.match(said + "no worker listens on the task queue 'labels'", warned)


@pytest.fixture
def in_the_background() -> Iterator[None]:
    """Commands are started as a shell without job control starts them behind `&`: they ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("graph", [WAITS], indirect=True)
def test_a_command_hears_of_an_interrupt_as_soon_as_it_has_said_that_the_run_has_started(
    graph: Path, named: Mapping[str, str], in_the_background: None
) -> None:
    with anabranch("run", graph, environ=named) as command:
        command.wait_for("started ")
        command.signal(signal.SIGINT)
        assert command.leave() == 130


@pytest.mark.parametrize("graph", [WAITS], indirect=True)
async def test_an_interrupt_leaves_a_run_on_a_named_server_alone(
    graph: Path, named: Mapping[str, str], client: Client
) -> None:
    run = f"waits-{uuid.uuid4().hex}"
    with anabranch("run", graph, "--id", run, environ=named) as command:
        await asyncio.to_thread(command.wait_for, f"started {run}")
        command.signal(signal.SIGINT)
        assert await asyncio.to_thread(command.leave) == 130
        assert f"temporal workflow show --workflow-id {run}" in command.stderr
    handle = client.get_workflow_handle(run)
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    await handle.terminate()


def test_a_run_on_a_named_server_warns_when_no_worker_listens_and_waits_for_one(
    graph: Path, named: Mapping[str, str]
) -> None:
    with anabranch("run", graph, "--set", "n=2", environ=named) as command:
        command.wait_for("started sum-")
        assert command.stderr.startswith("warning[NO_WORKER]: no worker listens on the task queue")
        with anabranch("worker", "--graphs", graph.parent, environ=named) as worker:
            assert command.leave() == 0
            assert json.loads(command.stdout)["data"]["twice"] == 4
            worker.signal(signal.SIGTERM)
            assert worker.leave() == 0
            assert "worker stops" in worker.stderr


def test_a_run_may_bring_its_own_worker_to_a_named_server(graph: Path, named: Mapping[str, str]) -> None:
    with anabranch("run", graph, "--set", "n=3", "--worker", environ=named) as command:
        assert command.leave() == 0
        assert json.loads(command.stdout)["data"]["twice"] == 6
        assert "NO_WORKER" not in command.stderr


async def test_a_run_on_a_named_server_is_started_by_the_graph_s_name_and_its_summary_is_the_graph(
    graph: Path, named: Mapping[str, str], client: Client
) -> None:
    run = f"sum-{uuid.uuid4().hex}"
    with anabranch("run", graph, "--set", "n=3", "--worker", "--id", run, environ=named) as command:
        assert await asyncio.to_thread(command.leave) == 0
    description = await client.get_workflow_handle(run).describe()
    assert description.workflow_type == "sum"
    assert await description.memo_value("anabranch_graph_digests") == digests(load_graph(graph))
    assert await description.static_summary() == "sum 1.0.0"
    assert await description.static_details() == "**`sum`** `1.0.0`\n\n`Twice a number`"


def test_a_run_of_another_file_than_the_worker_serves_is_refused_and_told_what_to_do(
    graph: Path, named: Mapping[str, str], tmp_path: Path
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    (served / "sum.yaml").write_text(SUM.replace("n * 2", "n * 3"), encoding="utf-8")
    with anabranch("worker", "--graphs", served, environ=named) as worker:
        worker.wait_for("worker started")
        with anabranch("run", graph, "--set", "n=3", environ=named) as command:
            assert command.leave() == 1
            told = " ".join(command.stderr.split())
        assert "error[GRAPH_MISMATCH]" in told
        assert "the run was started for another 'sum' than this worker serves; what differs is sum" in told
        assert "give the worker your files, or start the run by the graph's name alone" in told
        with anabranch("run", graph, "--set", "n=3", "--task-queue", "other", "--worker", environ=named) as command:
            assert command.leave() == 0, command.stderr
        worker.signal(signal.SIGTERM)
        assert worker.leave() == 0


@pytest.mark.parametrize("graph", [WAITS], indirect=True)
async def test_an_id_that_is_taken_is_refused(graph: Path, named: Mapping[str, str], client: Client) -> None:
    run = f"waits-{uuid.uuid4().hex}"
    await client.start_workflow("GraphWorkflow", {"graph": "x"}, id=run, task_queue="nobody")
    with anabranch("run", graph, "--id", run, environ=named) as command:
        assert await asyncio.to_thread(command.leave) == 1
        assert "error[RUN_EXISTS]: --id: a run" in command.stderr
        assert f"with the id '{run}' is under way" in command.stderr
    await client.get_workflow_handle(run).terminate()


def test_a_named_server_that_does_not_answer_is_an_error(graph: Path) -> None:
    with anabranch("run", graph, "--set", "n=1", environ={"TEMPORAL_ADDRESS": "127.0.0.1:9"}) as command:
        assert command.leave() == 1
        assert command.stderr.startswith("error[UNAVAILABLE]: 127.0.0.1:9: no Temporal server answers")


def test_a_namespace_that_is_not_there_is_an_error(graph: Path, named: Mapping[str, str]) -> None:
    with anabranch("run", graph, "--set", "n=1", environ={**named, "TEMPORAL_NAMESPACE": "nowhere"}) as command:
        assert command.leave() == 1
        assert command.stderr.startswith("error[UNAVAILABLE]: the Temporal server refuses: ")
        assert "Traceback" not in command.stderr


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        (["--id", "x" * 2000], "error[INPUT_INVALID]: the Temporal server refuses: WorkflowId exceeds"),
        (["--task-queue", ""], "error[INPUT_INVALID]: the Temporal server refuses: missing task queue name"),
        (["--id", "\udcff"], "error[WIRE_FORMAT_INVALID]: the value at '--id' holds a lone surrogate"),
    ],
)
def test_what_no_server_takes_is_an_error_of_the_input(
    graph: Path, named: Mapping[str, str], options: list[str], reported: str
) -> None:
    with anabranch("run", graph, "--set", "n=1", *options, environ=named) as command:
        assert command.leave() == 1
        assert reported in command.stderr
        assert "Traceback" not in command.stderr


@pytest.fixture
def silent_service() -> Iterator[socket.socket]:
    """A TCP service that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        yield listener


@pytest.mark.parametrize(("interrupts", "reported"), [(1, "error[CANCELLED]"), (2, "left; see how it goes on")])
def test_an_interrupt_reaches_an_activity_that_hangs_and_a_second_one_does_not_wait_for_it(
    tmp_path: Path, silent_service: socket.socket, interrupts: int, reported: str
) -> None:
    path = tmp_path / "hangs.yaml"
    url = f"http://127.0.0.1:{silent_service.getsockname()[1]}"
    path.write_text(f"name: hangs\nnodes: {{call: {{type: http, url: '{url}', timeout: 10m}}}}\n", encoding="utf-8")
    with anabranch("run", path, environ={"HTTP_ALLOW_PRIVATE": "true"}) as command:
        connection, _ = silent_service.accept()
        with connection:
            command.signal(signal.SIGINT)
            command.wait_for("cancelling the run")
            for _ in range(interrupts - 1):
                command.signal(signal.SIGINT)
            assert command.leave(30) == 130
        assert reported in command.stderr
        assert command.processes() == set()
