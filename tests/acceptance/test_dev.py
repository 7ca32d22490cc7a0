"""`anabranch dev`: everything is there for the `temporal` command, and gone after Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anabranch.dev.devserver import temporal_command
from anabranch.loopback import free_port
from tests.command import ROOT, Command, anabranch

ORDER = ROOT / "examples" / "order.json"


class Dev:
    """A running `anabranch dev` with the demo's services."""

    def __init__(self, command: Command, port: int, ui_port: int) -> None:
        self.command = command
        self.ui_url = f"http://127.0.0.1:{ui_port}"
        self.address = f"127.0.0.1:{port}"

    @property
    def codec_url(self) -> str:
        found = re.search(r"http://127\.0\.0\.1:\d+/codec", self.command.stdout)
        assert found
        return found[0]

    def temporal(self, *args: object) -> str:
        words = [temporal_command(), *map(str, args), "--address", self.address]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def query(self, run: str, name: str) -> Any:
        answer = self.temporal("workflow", "query", "--workflow-id", run, "--type", name, "-o", "json")
        return json.loads(answer)["queryResult"][0]


@pytest.fixture(scope="module")
def dev() -> Iterator[Dev]:
    port, ui_port = free_port(), free_port()
    with anabranch("dev", "--port", port, "--ui-port", ui_port) as command:
        command.wait_for("Ctrl-C stops everything")
        yield Dev(command, port, ui_port)


@pytest.fixture(scope="module")
def finished_order(dev: Dev) -> str:
    dev.temporal(
        *("workflow", "start", "--type", "order_processing", "--task-queue", "anabranch"),
        *("--workflow-id", "order-1", "--input-file", ORDER),
    )
    dev.temporal("workflow", "result", "--workflow-id", "order-1")
    return "order-1"


def test_the_temporal_command_runs_an_order_to_its_result(dev: Dev, finished_order: str) -> None:
    reported = json.loads(dev.temporal("workflow", "result", "--workflow-id", finished_order, "-o", "json"))
    assert reported["status"] == "COMPLETED"
    assert reported["result"]["data"]["order_status"] == "approved"


def test_queries_are_answered_in_plain_json(dev: Dev, finished_order: str) -> None:
    assert dev.query(finished_order, "status")["nodes"]["check_inventory"]["status"] == "succeeded"
    assert dev.query(finished_order, "context")["data"]["in_stock"] is True
    assert dev.query(finished_order, "history")[0]["by"] == "input"
    assert dev.query(finished_order, "diagram").startswith("flowchart TD\n")


def test_what_a_run_shows_in_the_web_ui_links_to_the_console(dev: Dev, finished_order: str) -> None:
    shown = dev.query(finished_order, "__temporal_workflow_metadata")["currentDetails"]
    console = dev.codec_url.removesuffix("/codec")
    assert f"[Open in the console]({console}/runs/{finished_order})" in shown


def test_the_codec_server_makes_the_history_readable(dev: Dev, finished_order: str) -> None:
    show = ("workflow", "show", "--workflow-id", finished_order, "--detailed")
    assert "input[0].address: check_inventory\n" not in dev.temporal(*show)
    assert "input[0].address: check_inventory\n" in dev.temporal(*show, "--codec-endpoint", dev.codec_url)


def test_the_web_ui_answers_and_knows_its_codec_server(dev: Dev) -> None:
    with urllib.request.urlopen(f"{dev.ui_url}/api/v1/settings", timeout=60) as answer:
        assert json.load(answer)["Codec"]["Endpoint"] == dev.codec_url


def test_the_console_answers_and_knows_the_graphs(dev: Dev) -> None:
    with urllib.request.urlopen(f"{dev.codec_url.removesuffix('/codec')}/api/graphs", timeout=60) as answer:
        assert "order_processing" in [each["name"] for each in json.load(answer)["graphs"]]


def test_what_it_prints_names_its_services_and_commands_that_fit_its_ports(dev: Dev) -> None:
    printed = dev.command.stdout
    assert dev.ui_url in printed
    assert "stand-in" in printed
    assert "PostgreSQL" in printed
    assert (
        f"workflow start --type order_processing --task-queue anabranch --workflow-id order-1 --address {dev.address} "
        "--input-file examples/order.json"
    ) in printed


def test_a_port_that_is_taken_is_refused_naming_its_option(dev: Dev) -> None:
    for option, port in (("--port", dev.address), ("--ui-port", dev.ui_url)):
        others = [each for each in ("--port", "--ui-port") if each != option]
        with anabranch("dev", option, port.rpartition(":")[2], *others, free_port()) as second:
            assert second.leave() == 1
            assert second.stderr.startswith(f"error[CONFIGURATION_INVALID]: {option}: port ")
            assert second.processes() == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_every_process_with_exit_code_0(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text("name: g\nnodes: {a: {type: rule, rules: [{then: {x: 1}}]}}\n", encoding="utf-8")
    ports = [free_port(), free_port()]
    database = tmp_path / "runs.db"
    args = ("--port", ports[0], "--ui-port", ports[1], "--graphs", tmp_path, "--db", database)
    # One of the three with the demo's services too: their PostgreSQL is nobody's child.
    services = ("--with-demo-services",) if number is signal.SIGTERM else ()
    with anabranch("dev", *args, *services) as command:
        command.wait_for("Ctrl-C stops everything")
        assert len(command.processes()) > 1
        command.signal(number)
        assert command.leave() == 0
        _assert_gone(command)
        assert database.is_file()
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)


def test_it_serves_a_folder_of_graphs_without_the_demo_s_services(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text("name: g\nnodes: {a: {type: rule, rules: [{then: {y: '{{ x + 1 }}'}}]}}\n")
    (tmp_path / "later").mkdir()
    (tmp_path / "later/more.yaml").write_text("name: more\nnodes: {a: {type: rule, rules: [{then: {y: 1}}]}}\n")
    (tmp_path / "later/wrong.yaml").write_text("name: wrong\nnodes: {}\n")
    with anabranch("dev", "--port", free_port(), "--ui-port", free_port(), "--graphs", tmp_path) as command:
        command.wait_for("Ctrl-C stops everything")
        assert "stand-in" not in command.stdout
        assert "later/wrong.yaml" in command.stderr
        assert "The graphs are g, more." in command.stdout
        assert "workflow start --type g --task-queue anabranch --workflow-id g-1" in command.stdout


def _assert_gone(command: Command) -> None:
    for _ in range(1000):
        if not command.processes():
            return
        time.sleep(0.05)
    assert command.processes() == set()
