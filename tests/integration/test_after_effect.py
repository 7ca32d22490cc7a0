"""What goes wrong once a node has done its work: its values, their size, the store that they go to, its handler's end.

On a real server: the node is called once where that is what its error says, and its compensation runs.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import (
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from anabranch.activities import node
from anabranch.context.distributed import DistributedContext
from anabranch.dev.devserver import DevServer
from anabranch.errors import Unavailable
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.transport.converter import data_converter
from tests.integration.graph_kit import Served, chain, leaf, put, worker_for

calls: Counter[str] = Counter()
TWICE = {"max_attempts": 2, "initial_interval": "10ms"}


class Colour(StrEnum):
    """Text that says something else of itself."""

    RED = "red"

    def __str__(self) -> str:
        return "the colour red"


class Level(IntEnum):
    """A number with a name."""

    HIGH = 3


class Metres(float):
    """As numpy's float64: a float by descent."""


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: int


@dataclasses.dataclass
class Parcel:
    """No JSON data."""

    grams: int


class Whole:
    """As numpy's int64: a number by behaviour alone."""

    def __index__(self) -> int:
        return 1


class Rude(dict[str, Any]):
    """A mapping whose items cannot be had."""

    def items(self) -> Any:
        raise LookupError("not today")


def _circle() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = [value]
    return value


def _exit() -> object:
    sys.exit(3)


def _interrupt() -> object:
    raise KeyboardInterrupt


RETURNED: dict[str, Callable[[], object]] = {
    "derived": lambda: {
        Colour.RED: Colour.RED,
        "level": Level.HIGH,
        "length": Metres(1.5),
        "tree": defaultdict(list, {"a": [OrderedDict(b=Level.HIGH)]}),
        "frozen": MappingProxyType({"point": Point(1, 2)}),
        "yes": True,
    },
    "dataclass": lambda: {"v": [Parcel(3)]},
    "decimal": lambda: {"v": {"net": Decimal("1.10")}},
    "datetime": lambda: {"v": datetime(2026, 1, 1, tzinfo=UTC)},
    "number by behaviour": lambda: {"v": Whole()},
    "beyond 64 bits": lambda: {"v": [2**64]},
    "circle": lambda: {"v": _circle()},
    "items that fail": lambda: {"v": Rude(a=1)},
    "key that is none": lambda: {"v": {1: 2}},
    "exit": _exit,
    "interrupt": _interrupt,
    "megabytes": lambda: {"v": "x" * 2_000_000},
}


@node("give")
async def give(_: DistributedContext, what: str) -> object:
    calls[what] += 1
    return RETURNED[what]()


@node("give_in_thread")
def give_in_thread(_: DistributedContext, what: str) -> object:
    calls[what] += 1
    return RETURNED[what]()


def giving(what: str, handler: str = "give", **fields: Any) -> dict[str, Any]:
    calls.clear()
    return chain(work=leaf(handler, args={"what": what}, compensate=put(undone=True), retry=TWICE, **fields))


@pytest.mark.parametrize("local", [False, True])
async def test_values_of_types_that_derive_from_json_s_become_these(served: Served, local: bool) -> None:
    result = await served.run(giving("derived", local=local))
    assert result["data"] == {
        "red": "red",
        "level": 3,
        "length": 1.5,
        "tree": {"a": [{"b": 3}]},
        "frozen": {"point": [1, 2]},
        "yes": True,
    }
    assert calls == {"derived": 1}


async def test_an_output_expression_sees_the_plain_values(served: Served) -> None:
    output = {"colour": "result.red + '!'", "more": "result.level + 1", "x": "result.frozen.point[0]"}
    assert (await served.run(giving("derived", output=output)))["data"] == {"colour": "red!", "more": 4, "x": 1}


@pytest.mark.parametrize("handler", ["give", "give_in_thread"])
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("dataclass", "the value at 'v.0' is of type Parcel, which is not JSON data"),
        ("decimal", "the value at 'v.net' is of type Decimal, which is not JSON data"),
        ("datetime", "the value at 'v' is of type datetime, which is not JSON data"),
        ("number by behaviour", "the value at 'v' is of type Whole, which is not JSON data"),
        ("beyond 64 bits", "the value at 'v.0' is an integer beyond 64 bits"),
        ("circle", "is nested deeper than 64"),
        ("items that fail", "its result cannot be used: LookupError: not today"),
        ("key that is none", "the value at 'v' has the key 1, which is not a string"),
        ("exit", "its handler ended by SystemExit: 3"),
        ("interrupt", "its handler ended by KeyboardInterrupt"),
        ("megabytes", "over the limit of 1048576; the largest key is 'v'"),
    ],
)
async def test_what_is_wrong_after_the_work_is_told_at_once_and_the_work_is_undone(
    served: Served, handler: str, what: str, told: str
) -> None:
    error = await served.error(giving(what, handler))
    assert told in error.message
    assert (error.details[0]["compensated"], error.details[0]["not_compensated"]) == (["work"], [])
    assert calls == {what: 1}


async def test_without_a_compensation_the_run_says_that_effects_are_left(served: Served) -> None:
    error = await served.error(chain(work=leaf("give", args={"what": "exit"})))
    assert error.details[0]["effects_left"] is True


async def test_a_worker_goes_on_after_a_handler_that_wanted_to_end_it(served: Served) -> None:
    await served.error(giving("exit"))
    assert (await served.run(chain(a=put(x=1))))["data"] == {"x": 1}


class Down(StorageDriver):
    """A payload store that takes what comes in, and nothing of a node's result."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def name(self) -> str:
        return "down"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        raise self.error

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        raise AssertionError


@pytest.mark.parametrize("error", [Unavailable("the store is down"), OSError("no route")])
@pytest.mark.parametrize("local", [False, True])
async def test_a_result_that_its_store_does_not_take_is_that_of_work_that_happened(
    dev_server: DevServer, task_queue: str, tmp_path: Path, error: Exception, local: bool
) -> None:
    storage = ExternalStorage(drivers=[Down(error)], payload_size_threshold=100_000)
    client = await connect(
        Settings(), target_host=dev_server.address, data_converter=data_converter(storage=storage), tls=False
    )
    RETURNED["noise"] = lambda: {"v": [f"{index * 7919:08x}" for index in range(50_000)]}
    graph = giving("noise", local=local)
    graph["nodes"]["work"]["retry"] = {"max_attempts": 1}
    async with worker_for(client, task_queue, tmp_path) as served:
        failed = await asyncio.wait_for(served.error(graph), 60)
    assert failed.type == getattr(error, "code", "OSError")
    assert "node 'work': its result cannot be handed over" in failed.message
    assert failed.details[0]["compensated"] == ["work"]
    assert calls == {"noise": 1}


async def test_a_result_that_the_server_does_not_take_is_that_of_work_that_happened(
    client: Client, task_queue: str, tmp_path: Path, valkey_url: str
) -> None:
    """The worker counts on a store for large payloads, and its client has none."""
    RETURNED["noise"] = lambda: {"v": random.Random(1).randbytes(3_000_000).hex()}
    large: dict[str, Any] = {"max_context_size_bytes": 8_000_000, "payload_store_url": valkey_url}
    async with worker_for(client, task_queue, tmp_path, **large) as served:
        failed = await served.error(giving("noise"))
    assert failed.type == "PayloadsTooLarge"
    assert failed.details[0]["compensated"] == ["work"]
    assert calls == {"noise": 1}


async def test_without_a_store_a_node_writes_no_more_than_the_server_takes(
    client: Client, task_queue: str, tmp_path: Path
) -> None:
    RETURNED["noise"] = lambda: {"v": random.Random(1).randbytes(3_000_000).hex()}
    async with worker_for(client, task_queue, tmp_path, max_context_size_bytes=8_000_000) as served:
        failed = await served.error(giving("noise"))
    assert "over the limit of 2031616; the largest key is 'v'" in failed.message
    assert failed.details[0]["compensated"] == ["work"]
