"""A project with folders and modules named like ours (docs/extending.md), beside which everything of ours works.

`ANABRANCH_TEST_BIN` names the `bin` folder of another environment, where Anabranch is installed from its wheel.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from anabranch.dev.devserver import DevServer, temporal_command
from tests.command import ROOT, Command, running
from tests.docs.pages import blocks_of
from tests.docs.shell import steps

PROJECT = ROOT / "docs" / "extending"
BIN = Path(os.environ.get("ANABRANCH_TEST_BIN", Path(sys.executable).parent))
OURS = () if "ANABRANCH_TEST_BIN" in os.environ else (ROOT / "tools" / "editable",)
"""What an editable install puts on the path."""
MODULES = ("activities.payments", "context.prices", "my_handlers", "settings", "worker", "workflows.checkout")
ORDER = {"quantity": 3, "phone": "+44 20 7946 0000"}
SESSION = [block for block in blocks_of("docs/extending.md") if block.language == "console"]
COMMANDS = [step.command for block in SESSION for step in steps(block)]
PATIENCE = 60


def command(beginning: str) -> list[str]:
    """The words of the page's only command that begins so."""
    (found,) = (each for each in COMMANDS if each.startswith(beginning))
    return shlex.split(found)


pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class Site:
    """A copy of the project, and the server that its workers find."""

    folder: Path
    environ: dict[str, str]
    client: Client

    @contextmanager
    def command(self, program: str, *args: object) -> Generator[Command]:
        with running(BIN / program, *args, environ=self.environ, folder=self.folder) as command:
            yield command

    def output(self, program: str, *args: object) -> str:
        """What a program prints that succeeds and has nothing to complain of."""
        with self.command(program, *args) as command:
            assert (command.leave(), command.stderr) == (0, "")
        return command.stdout

    async def run(self, workflow: str, order_id: str) -> Any:
        order = {**ORDER, "order_id": order_id}
        handle = await self.client.start_workflow(workflow, order, id=f"{workflow}-{order_id}", task_queue="shop")
        return await asyncio.wait_for(handle.result(), PATIENCE)


def install(folder: Path, into: Path) -> None:
    """What pip writes of the project's entry points."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = into / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = (f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in each.items()) for group, each in groups)
    (info / "entry_points.txt").write_text("".join(lines))


@pytest.fixture
async def site(dev_server: DevServer, tmp_path: Path) -> Site:
    folder = tmp_path / "shop"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    install(folder, tmp_path / "installed")
    paths = os.pathsep.join(map(str, (folder, tmp_path / "installed", *OURS)))
    environ = {"PYTHONPATH": paths, "TEMPORAL_ADDRESS": dev_server.address}
    # Whoever starts runs needs nothing of ours.
    return Site(folder, environ, await Client.connect(dev_server.address))


@pytest.mark.parametrize("packages", [True, False], ids=["packages", "folders without __init__.py"])
async def test_its_modules_are_its_own_and_ours_are_ours(site: Site, *, packages: bool) -> None:
    for path in () if packages else site.folder.rglob("__init__.py"):
        path.unlink()
    code = f"""
import importlib, json
from anabranch import AnabranchPlugin, DistributedContext, NodeKind, load_graph, node
import anabranch.cli.main, anabranch.testkit.results, anabranch.worker
print(json.dumps([importlib.import_module(name).__file__ for name in {MODULES}]))
"""
    files = json.loads(await asyncio.to_thread(site.output, "python", "-c", code))
    assert [Path(file).is_relative_to(site.folder) for file in files] == [True] * len(MODULES)


async def test_its_graph_with_a_node_type_of_its_own_is_valid(site: Site) -> None:
    printed = await asyncio.to_thread(site.output, *command("anabranch validate"))
    assert printed.splitlines() == [
        "✔ graphs/parcel.yaml: graph is valid",
        "  parcel 1.0.0  Weigh a parcel, charge for it, and tell the customer",
        "  3 nodes (1 python, 1 activity, 1 sms), 2 edges",
        "  inputs: quantity",
    ]


async def test_its_own_worker_serves_graphs_beside_its_workflows(site: Site) -> None:
    with site.command(*command("python worker.py")) as worker:
        assert await site.run("Checkout", "own-1") == "receipt own-1-750"
        done = await site.run("parcel", "own-2")
        worker.wait_for("SMS to +44 20 7946 0000: Order own-2: receipt own-2-750")
    assert done["data"] == {
        **ORDER,
        "order_id": "own-2",
        "grams": 750,
        "price": 750,
        "receipt": "receipt own-2-750",
        "tell": "Order own-2: receipt own-2-750",
    }


async def test_the_page_s_start_of_a_workflow_works(site: Site, dev_server: DevServer) -> None:
    with site.command(*command("python worker.py")):
        _, *arguments = command("temporal workflow start")
        started = [temporal_command(), *arguments, "--address", dev_server.address]
        done = await asyncio.to_thread(subprocess.run, started, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        handle = site.client.get_workflow_handle("order-1")
        assert await asyncio.wait_for(handle.result(), PATIENCE) == "receipt 1-750"


def test_every_command_of_the_page_is_run_by_these_tests() -> None:
    assert [each.split()[:2] for each in COMMANDS] == [
        ["anabranch", "validate"],
        ["cd", "labels"],  # tests/integration/test_other_languages.py
        ["anabranch", "worker"],
        ["python", "worker.py"],
        ["temporal", "workflow"],
    ]


async def test_the_command_serves_its_modules_beside_its_graphs(site: Site) -> None:
    with site.command(*command("anabranch worker")) as worker:
        worker.wait_for("worker started")
        assert await site.run("Checkout", "imported-1") == "receipt imported-1-750"
        worker.wait_for("SMS to +44 20 7946 0000: Order imported-1: receipt imported-1-750")
    started = json.loads(next(line for line in worker.stderr.splitlines() if "worker started" in line))
    served = [started[kind] for kind in ("graphs", "handlers", "workflows", "activities")]
    assert served == ["label, parcel", "weigh", "Checkout", "charge"]
    assert "sms" in started["node_types"].split(", ")


async def test_a_run_of_the_command_serves_its_modules_too(site: Site) -> None:
    data = [f"--set={key}={value}" for key, value in {**ORDER, "order_id": "one"}.items()]
    environ = {name: value for name, value in site.environ.items() if name != "TEMPORAL_ADDRESS"}
    embedded = Site(site.folder, {**environ, "ANABRANCH_IMPORT": "my_handlers,activities.payments"}, site.client)
    with embedded.command("anabranch", "run", "graphs/parcel.yaml", "--json", *data) as command:
        code = await asyncio.to_thread(command.leave)
    assert code == 0, command.stderr
    assert '"receipt": "receipt one-750"' in command.stdout
