"""The image of `deploy/Containerfile`, as a root directory: what is in it, and how its worker serves and stops."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from anabranch.dev.devserver import DevServer
from anabranch.loopback import free_port
from tests.acceptance.worker_process import PATIENCE, Service, service
from tests.command import Command, running
from tests.deploy.files import of_kind
from tests.deploy.image import Image, build, cannot_be_built

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # pip downloads a hundred wheels
RUNS = 50
FIRST = """
name: order
nodes:
  note: {{type: rule, rules: [{{then: {{graph: 1}}}}]}}
  ask: {{type: http, url: "http://127.0.0.1:{port}/reserve", output: {{answer: result.body.answer}}}}
  nap: {{type: wait, for: 1s}}
  last: {{type: rule, rules: [{{then: {{total: "{{{{ n * 2 }}}}"}}}}]}}
edges: [{{from: note, to: ask}}, {{from: ask, to: nap}}, {{from: nap, to: last}}]
"""
SECOND = "name: order\nnodes: {note: {type: rule, rules: [{then: {graph: 2}}]}}\n"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    if (why := cannot_be_built()) is not None:
        pytest.skip(why)
    return build(tmp_path_factory.mktemp("image"))


class Volume:
    """A ConfigMap as the kubelet mounts it: files are links through `..data`, which one rename leads elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._versions = 0
        folder.mkdir(mode=0o755)

    def write(self, name: str, text: str) -> None:
        self._versions += 1
        version = self.folder / f"..{self._versions}"
        version.mkdir(mode=0o755)
        (version / name).write_text(text)
        if not (self.folder / name).is_symlink():
            (self.folder / name).symlink_to(f"..data/{name}")
        (self.folder / "..new").symlink_to(version.name)
        (self.folder / "..new").rename(self.folder / "..data")


@dataclass(frozen=True)
class Site:
    """A server, a mounted volume, and workers of the image."""

    image: Image
    client: Client
    task_queue: str
    volume: Volume
    environment: dict[str, str]
    probes: int

    def worker(self) -> AbstractContextManager[Command]:
        words = self.image.command(environment=self.environment, graphs=self.volume.folder)
        return running(*words)

    async def start(self, name: str, **data: Any) -> Any:
        return await self.client.start_workflow(
            "order", data, id=f"{self.task_queue}-{name}", task_queue=self.task_queue
        )

    def probe(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.probes}{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            return refusal.code


@pytest.fixture
async def reserve() -> AsyncIterator[Service]:
    async with service() as reserving:
        yield reserving


@pytest.fixture
def site(image: Image, client: Client, dev_server: DevServer, task_queue: str, tmp_path: Path) -> Site:
    probes = free_port()
    environment = {
        "TEMPORAL_ADDRESS": dev_server.address,
        "ANABRANCH_TASK_QUEUE": task_queue,
        "ANABRANCH_METRICS_ADDRESS": f"127.0.0.1:{probes}",
        "HTTP_ALLOW_PRIVATE": "true",
    }
    return Site(image, client, task_queue, Volume(tmp_path / "graphs"), environment, probes)


async def waited(command: Command, text: str) -> None:
    await asyncio.to_thread(command.wait_for, text, PATIENCE)


async def data_of(handle: Any) -> dict[str, Any]:
    ended = await asyncio.wait_for(handle.result(), PATIENCE)
    found: dict[str, Any] = ended["data"]
    return found


def inside(image: Image, program: str) -> Any:
    """What a Python program in the image prints, as JSON."""
    done = subprocess.run(image.running(["python", "-c", program], {}), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_image_holds_the_wheel_and_nothing_of_the_sources(image: Image) -> None:
    packages = next((image.root / "opt/anabranch/lib").glob("python*/site-packages"))
    ours = {path.name.split("-")[0] for path in packages.iterdir() if path.name.startswith("anabranch")}
    assert ours == {"anabranch"}
    venv = image.root / "opt/anabranch"
    assert [path for path in image.root.rglob("*") if path.is_file() and venv not in path.parents] == []
    assert [name for name in ("pip", "pytest", "tests") if (packages / name).exists()] == []
    assert [path for path in (packages / "anabranch").rglob("*") if path.is_symlink()] == []


def test_its_process_has_no_rights_and_can_write_to_tmp_alone(image: Image) -> None:
    program = """
import json, os
def writes(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return error.strerror
    return "writes"
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "ids": [os.getuid(), os.getgid(), os.getgroups()],
    "rights": [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd")],
    "no_new": status["NoNewPrivs"].strip(),
    "tmp": writes("/tmp/x"),
    "others": sorted({writes(f"{folder}/x") for folder in ("/opt/anabranch", "/graphs", "/usr/local", "/etc", "")}),
}))
"""
    assert inside(image, program) == {
        "ids": [10001, 10001, []],
        "rights": [0, 0, 0, 0],
        "no_new": "1",
        "tmp": "writes",
        "others": ["Read-only file system"],
    }


def test_every_driver_is_in_the_image(image: Image) -> None:
    program = "import asyncpg, asyncmy, emcache, nats, aiokafka, opentelemetry.sdk, json; print(json.dumps(True))"
    assert inside(image, program) is True


async def test_a_config_map_s_update_is_served_to_new_runs_and_runs_in_flight_keep_their_graph(
    site: Site, reserve: Service
) -> None:
    site.volume.write("order.yaml", FIRST.format(port=reserve.port))
    with site.worker() as worker:
        await waited(worker, "worker started")
        assert await asyncio.to_thread(site.probe, "/livez") == 200
        await until_ready(site)
        old = await site.start("old", n=1)
        await reserve.requests(1)
        site.volume.write("order.yaml", SECOND)
        assert await first_of(site, graph=2) == {"n": 2, "graph": 2}
        reserve.opened.set()
        assert await data_of(old) == {"n": 1, "graph": 1, "answer": "/reserve", "total": 2}
        worker.signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.leave) == 0


async def until_ready(site: Site) -> None:
    for _ in range(600):
        if await asyncio.to_thread(site.probe, "/readyz") == 200:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the worker did not get ready")


async def first_of(site: Site, graph: int) -> dict[str, Any]:
    """The data of the first run that has the new graph; those with the old one wait for an answer."""
    for number in range(60):
        handle = await site.start(f"new-{number}", n=2)
        ending = asyncio.ensure_future(data_of(handle))
        await asyncio.wait({ending}, timeout=1)
        if ending.done() and ending.result()["graph"] == graph:
            return ending.result()
        ending.cancel()
    raise AssertionError("no run had the new graph")


async def test_sigterm_during_fifty_runs_loses_none_does_nothing_twice_and_ends_within_the_grace(
    site: Site, reserve: Service
) -> None:
    site.volume.write("order.yaml", FIRST.format(port=reserve.port))
    (deployment,) = of_kind("Deployment")
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    with site.worker() as first:
        await waited(first, "worker started")
        handles = [await site.start(str(number), n=number) for number in range(RUNS)]
        await reserve.requests(RUNS)
        first.signal(signal.SIGTERM)
        await waited(first, "worker stops")
        reserve.opened.set()
        assert await asyncio.to_thread(first.leave, grace) == 0
    assert len(set(reserve.keys)) == len(reserve.keys) == RUNS
    with site.worker():
        found = [await data_of(handle) for handle in handles]
    assert [data["total"] for data in found] == [number * 2 for number in range(RUNS)]
    assert len(reserve.keys) == RUNS
    assert first.stderr.count("NOT_STOPPED") == 0
