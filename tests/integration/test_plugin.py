"""A worker of one's own with the plugin: graphs beside workflows and activities that know nothing of them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RawValue, VersioningBehavior, WorkerDeploymentVersion
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, Worker, WorkerDeploymentConfig

from anabranch import AnabranchPlugin
from anabranch.dev.devserver import DevServer
from anabranch.errors import ConfigurationError, ConflictError, InputError, Unavailable, WorkerOutdated
from anabranch.plugin import WORKFLOWS
from anabranch.settings import Settings
from anabranch.workflows.temporal.failures import NewerRevision

PRICED = """
name: priced
nodes:
  total: {type: rule, rules: [{then: {total: "{{ quantity * 3 }}"}}]}
  charge: {type: activity, activity: charge, args: ["{{ total }}"], output: {receipt: result}}
edges: [{from: total, to: charge}]
"""
PATIENCE = 60


class Parcel(BaseModel):
    grams: int


@activity.defn
async def charge(total: int) -> str:
    return f"charged {total}"


@workflow.defn
class Shop:
    """Runs a graph as a child, in the sandbox that the SDK gives it."""

    @workflow.run
    async def run(self, quantity: int) -> dict[str, Any]:
        child = await workflow.execute_child_workflow("priced", {"quantity": quantity}, id=f"{quantity}-priced")
        receipt = await workflow.execute_activity(charge, 1, start_to_close_timeout=timedelta(seconds=10))
        return {"data": child["data"], "receipt": receipt, "sandboxed": workflow.unsafe.in_sandbox()}


@workflow.defn
class Weighing:
    """Exchanges a model that only a converter of one's own knows."""

    @workflow.run
    async def run(self, parcel: Parcel) -> Parcel:
        child = await workflow.execute_child_workflow("priced", {"quantity": parcel.grams})
        return Parcel(grams=child["data"]["total"])


@workflow.defn
class Refusing:
    @workflow.run
    async def run(self) -> None:
        raise InputError("it does not fit")


@workflow.defn(dynamic=True)
class Anything:
    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> None: ...


@activity.defn(name="rule")
async def like_a_node_type() -> None: ...


@activity.defn(dynamic=True)
async def any_activity(args: Sequence[RawValue]) -> None: ...


@pytest.fixture
def graphs(tmp_path: Path) -> Path:
    (tmp_path / "priced.yaml").write_text(PRICED)
    return tmp_path


async def connected(server: DevServer, plugin: AnabranchPlugin, **options: Any) -> Client:
    return await Client.connect(server.address, plugins=[plugin], **options)


def worker(client: Client, task_queue: str = "own", **options: Any) -> Worker:
    given: dict[str, Any] = {"workflows": [Shop], "activities": [charge], **options}
    return Worker(client, task_queue=task_queue, **given)


async def run(client: Client, workflow_type: Any, *args: Any, task_queue: str) -> Any:
    handle = await client.start_workflow(workflow_type, args=args, id=uuid.uuid4().hex, task_queue=task_queue)
    return await asyncio.wait_for(handle.result(), PATIENCE)


async def failure(client: Client, workflow_type: Any, *args: Any, task_queue: str) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as failed:
        await run(client, workflow_type, *args, task_queue=task_queue)
    assert isinstance(failed.value.cause, ApplicationError)
    return failed.value.cause


async def test_a_graph_runs_as_the_child_of_a_workflow_and_calls_an_activity(
    dev_server: DevServer, graphs: Path, task_queue: str
) -> None:
    client = await connected(dev_server, AnabranchPlugin(graphs))
    async with worker(client, task_queue):
        reported = await run(client, Shop.run, 14, task_queue=task_queue)
    assert reported == {
        "data": {"quantity": 14, "total": 42, "receipt": "charged 42"},
        "receipt": "charged 1",
        "sandboxed": True,
    }


async def test_models_of_a_converter_of_one_s_own_pass_beside_graphs(
    dev_server: DevServer, graphs: Path, task_queue: str
) -> None:
    client = await connected(dev_server, AnabranchPlugin(graphs), data_converter=pydantic_data_converter)
    async with worker(client, task_queue, workflows=[Weighing]):
        handle = await client.start_workflow(Weighing.run, Parcel(grams=5), id=task_queue, task_queue=task_queue)
        assert await asyncio.wait_for(handle.result(), PATIENCE) == Parcel(grams=15)


async def test_an_error_of_ours_that_a_workflow_lets_through_fails_it(
    dev_server: DevServer, graphs: Path, task_queue: str
) -> None:
    client = await connected(dev_server, AnabranchPlugin(graphs))
    async with worker(client, task_queue, workflows=[Refusing]):
        error = await failure(client, Refusing.run, task_queue=task_queue)
    assert (error.type, error.message, error.non_retryable) == ("INPUT_INVALID", "it does not fit", True)


@pytest.mark.parametrize(
    ("name", "help_"),
    [
        ("Shopp", "did you mean `Shop`?"),
        ("pricd", "did you mean `priced`?"),
        ("Warehouse", "it has graphs: priced; workflows: Shop"),
    ],
)
async def test_a_mistyped_workflow_is_told_what_this_worker_has(
    dev_server: DevServer, graphs: Path, task_queue: str, name: str, help_: str
) -> None:
    client = await connected(dev_server, AnabranchPlugin(graphs, settings=Settings(graph_elsewhere_seconds=0)))
    async with worker(client, task_queue):
        error = await failure(client, name, {}, task_queue=task_queue)
    assert error.type == "GRAPH_UNKNOWN"
    assert error.message == (
        f"worker {client.identity!r}: error[GRAPH_UNKNOWN]: this worker has neither a graph nor a workflow that is"
        f" named {name!r}\n  help: {help_}"
    )


async def test_two_workers_of_one_client_serve_graphs_until_each_ends(
    dev_server: DevServer, graphs: Path, task_queue: str
) -> None:
    client = await connected(dev_server, AnabranchPlugin(graphs))
    async with worker(client, f"{task_queue}-1"):
        async with worker(client, f"{task_queue}-2"):
            await run(client, "priced", {"quantity": 1}, task_queue=f"{task_queue}-2")
        reported = await run(client, "priced", {"quantity": 2}, task_queue=f"{task_queue}-1")
    assert reported["data"]["total"] == 6


async def test_a_run_is_replayed_with_the_plugin(dev_server: DevServer, graphs: Path, task_queue: str) -> None:
    client = await connected(dev_server, AnabranchPlugin(graphs))
    async with worker(client, task_queue):
        handle = await client.start_workflow("priced", {"quantity": 1}, id=task_queue, task_queue=task_queue)
        await asyncio.wait_for(handle.result(), PATIENCE)
    replayer = Replayer(workflows=[Shop], plugins=[AnabranchPlugin(graphs)])
    assert (await replayer.replay_workflow(await handle.fetch_history())).replay_failure is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workflows": [Anything]}, "the workflow 'Anything' is dynamic, as one of those that run graphs"),
        ({"activities": [like_a_node_type]}, "the activity 'like_a_node_type' is named 'rule', as one of those"),
        ({"activities": [any_activity]}, "the activity 'any_activity' is dynamic, as one of those that run nodes"),
        ({"workflow_failure_exception_types": [Exception]}, "would end graph runs that another worker could continue"),
        ({"workflow_failure_exception_types": [NewerRevision]}, "would end graph runs that another worker could"),
        ({"workflows": WORKFLOWS}, "the worker has the plugin twice"),
    ],
)
async def test_what_cannot_stand_beside_graphs_is_refused(
    dev_server: DevServer, graphs: Path, options: dict[str, Any], message: str
) -> None:
    client = await connected(dev_server, AnabranchPlugin(graphs))
    with pytest.raises(ConfigurationError, match=message):
        worker(client, **options)


async def test_failure_exception_types_of_one_s_own_hold_beside_ours(dev_server: DevServer, graphs: Path) -> None:
    client = await connected(dev_server, AnabranchPlugin(graphs))
    types: list[type[BaseException]] = [KeyError]
    config = worker(client, workflow_failure_exception_types=types).config(active_config=True)
    held = config.get("workflow_failure_exception_types", ())
    assert {KeyError, InputError, ConflictError} <= set(held)


async def test_an_error_that_may_pass_fails_no_workflow_but_its_task(dev_server: DevServer, graphs: Path) -> None:
    client = await connected(dev_server, AnabranchPlugin(graphs))
    held = worker(client).config(active_config=True).get("workflow_failure_exception_types", ())
    assert not [each for each in (Unavailable, WorkerOutdated) if issubclass(each, tuple(held))]


async def test_a_worker_whose_client_lacks_the_plugin_is_refused(client: Client, dev_server: DevServer) -> None:
    plain = await Client.connect(dev_server.address)
    with pytest.raises(ConfigurationError, match=r"give it to the client: Client\.connect"):
        worker(plain, plugins=[AnabranchPlugin()])


async def test_a_folder_that_is_not_there_is_refused(dev_server: DevServer, tmp_path: Path) -> None:
    client = await connected(dev_server, AnabranchPlugin(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match=r"ANABRANCH_GRAPHS: the folder '.*nowhere' does not exist"):
        worker(client)


async def test_a_versioned_worker_that_has_a_default_behaviour_serves_graphs(
    dev_server: DevServer, graphs: Path, task_queue: str
) -> None:
    client = await connected(dev_server, AnabranchPlugin(graphs))
    versioned = WorkerDeploymentConfig(
        version=WorkerDeploymentVersion("shop", "1"),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )
    config = worker(client, task_queue, deployment_config=versioned).config(active_config=True)
    assert config.get("deployment_config") == versioned
    assert {*WORKFLOWS, Shop} == {*config.get("workflows", ())}


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ({}, {"default_heartbeat_throttle_interval": timedelta(seconds=1), "max_concurrent_activities": 100}),
        (
            {"default_heartbeat_throttle_interval": timedelta(milliseconds=200), "max_concurrent_activities": 3},
            {"default_heartbeat_throttle_interval": timedelta(milliseconds=200), "max_concurrent_activities": 3},
        ),
    ],
)
async def test_options_that_the_worker_gives_itself_win(
    dev_server: DevServer, graphs: Path, given: dict[str, Any], used: dict[str, Any]
) -> None:
    client = await connected(dev_server, AnabranchPlugin(graphs))
    config: Any = worker(client, **given).config(active_config=True)
    assert {name: config[name] for name in used} == used
