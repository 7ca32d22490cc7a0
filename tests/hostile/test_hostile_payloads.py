"""Whatever a payload holds, it is refused with a typed error in less than a second, or it is a value."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from anabranch.context.changes import ChangeSet
from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.errors import AnabranchError, InputError, SizeLimitExceeded
from anabranch.limits import RunLimits
from anabranch.transport.codec import ZstdCodec
from anabranch.transport.converter import data_converter
from anabranch.transport.node_protocol import GraphRequest, NodeTask, PinnedGraph, RunInfo
from anabranch.transport.undecodable import reason_of
from anabranch.transport.wire_types import MAX_BYTES, WIRE_TYPES
from tests.json_values import packed
from tests.zstandard import zstd

CONVERTER = data_converter().payload_converter
CONTEXT = DistributedContext("s", {"a": [1, 2.5, None, "ü"]}, ContextMetadata(1, 2, 3, None, ("t",)))
TASK = NodeTask("weigh", {"type": "rule"}, CONTEXT, RunInfo("r", "s", "g", "2026-01-01T00:00:00Z"), "k", ("a",))
PINNED = PinnedGraph("g", "d", "{}", {"h": "{}"}, 1, {"g": ("a",), "h": ()}, ("c",), RunLimits())
VALUES = [
    TASK,
    ChangeSet(1, {("a", "b"): [1]}, (("c",),), "n", 5),
    GraphRequest("g"),
    PINNED,
    CONTEXT,
]


def wire(name: str, data: bytes) -> Payload:
    return Payload(metadata={"encoding": b"binary/msgpack", "anabranch-type": name.encode()}, data=data)


def plain(text: str) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=text.encode())


def compressed(data: bytes) -> Payload:
    return Payload(metadata={"encoding": b"binary/zstd"}, data=data)


async def opened(*payloads: Payload) -> list[Payload]:
    """Unfold the payloads. Raises the first reason why one cannot be."""
    decoded = await ZstdCodec().decode(payloads)
    for reason in filter(None, map(reason_of, decoded)):
        raise reason
    return decoded


@contextmanager
def refused(error: type[AnabranchError] = InputError) -> Generator[None]:
    with pytest.raises(error) as refused:
        yield
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("name", WIRE_TYPES)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000 + b"\xc0",
        b"\x81\xa1k" * 100_000 + b"\xc0",
        b"\x91" * 100 + b"\xc0",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff\xa1k",
        b"\xdb\xff\xff\xff\xff",
        b"\x90trailing",
        b"\xc0",
        b"\x80",
        packed("text"),
        packed([None] * 1000),
    ],
    ids=[
        "empty",
        "never used",
        "arrays 100,000 deep",
        "objects 100,000 deep",
        "arrays 100 deep",
        "four billion elements",
        "four billion keys",
        "four billion letters",
        "more behind the end",
        "null",
        "object",
        "text",
        "too many positions",
    ],
)
def test_bytes_that_are_not_the_type_are_refused(name: str, data: bytes) -> None:
    with refused():
        CONVERTER.from_payload(wire(name, data))


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_every_truncation_of_a_payload_is_refused(value: Any) -> None:
    payload = CONVERTER.to_payload(value)
    for length in range(len(payload.data)):
        with refused():
            CONVERTER.from_payload(wire(type(value).__name__, payload.data[:length]))


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_every_wrong_arity_is_refused(value: Any) -> None:
    array = value.to_wire()
    for other in [*(array[:length] for length in range(len(array))), [*array, None]]:
        with refused():
            CONVERTER.from_payload(wire(type(value).__name__, packed(other)))


@pytest.mark.parametrize("value", [TASK, PINNED], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("position", range(8))
def test_a_position_of_another_type_is_refused(value: NodeTask | PinnedGraph, position: int) -> None:
    array = value.to_wire()
    array[position % len(array)] = 7.5
    with refused():
        CONVERTER.from_payload(wire(type(value).__name__, packed(array)))


@pytest.mark.parametrize("limit", [0, -1, True, "500", None, [], 1e400])
def test_a_limit_that_is_not_a_number_above_zero_is_refused(limit: Any) -> None:
    array = PINNED.to_wire()
    array[-1] = {**array[-1], "pending_activities": limit}
    with refused():
        CONVERTER.from_payload(wire("PinnedGraph", packed(array)))


@pytest.mark.parametrize("name", ["", "os.system", "NodeTask\x00", "nodetask", "RunInfo", "\udcff" * 3, "x" * 100_000])
def test_an_unknown_type_name_is_refused(name: str) -> None:
    payload = wire("", CONVERTER.to_payload(TASK).data)
    payload.metadata["anabranch-type"] = name.encode(errors="surrogateescape")
    with refused():
        CONVERTER.from_payload(payload)


@pytest.mark.parametrize(
    "data",
    [
        packed(msgpack.ExtType(42, b"code")),
        packed(msgpack.Timestamp(1, 0)),
        packed(b"raw"),
        packed(b""),
        packed(float("nan")),
        packed(float("inf")),
        packed({1: 2}),
        b"\x81\xc4\x01k\x01",
        b"\x81\x90\x01",
        b"\xa1\xff",
        b"\xa3\xed\xa0\x80",
    ],
    ids=[
        "extension",
        "timestamp",
        "binary",
        "empty binary",
        "nan",
        "infinity",
        "number as key",
        "bytes as key",
        "array as key",
        "broken utf-8",
        "surrogate",
    ],
)
def test_what_is_not_plain_data_is_refused_wherever_it_stands(data: bytes) -> None:
    inside = b"\x92\xa1g\x81\xa1k\x91" + data
    with refused():
        CONVERTER.from_payload(wire("GraphRequest", inside))


def test_a_payload_over_the_limit_is_refused_unread() -> None:
    with refused(SizeLimitExceeded):
        CONVERTER.from_payload(wire("GraphRequest", bytes(MAX_BYTES + 1)))


def test_the_largest_array_of_nothing_is_refused() -> None:
    data = b"\x92\xc0\xdd" + (MAX_BYTES - 7).to_bytes(4, "big") + b"\xc0" * (MAX_BYTES - 7)
    with refused():
        CONVERTER.from_payload(wire("NodeTask", data))


@given(st.sampled_from(list(WIRE_TYPES)), st.binary(max_size=200))
def test_random_bytes_are_a_value_or_a_typed_error(name: str, data: bytes) -> None:
    try:
        value = CONVERTER.from_payload(wire(name, data))
    except AnabranchError:
        return
    assert type(value).__name__ == name


@given(st.sampled_from(VALUES), st.data())
def test_a_damaged_payload_is_a_value_or_a_typed_error(value: Any, data: st.DataObject) -> None:
    original = CONVERTER.to_payload(value).data
    position = data.draw(st.integers(0, len(original) - 1))
    damaged = original[:position] + data.draw(st.binary(min_size=1, max_size=3)) + original[position + 1 :]
    try:
        decoded = CONVERTER.from_payload(wire(type(value).__name__, damaged))
    except AnabranchError:
        return
    assert type(decoded) is type(value)


@pytest.mark.parametrize("name", WIRE_TYPES)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"name": NaN}',
        '{"address": [], "set": [], "name": 5}',
        '{"set": {"a\\\\": 1}, "removed": [3], "base_version": 1, "by": "", "at": 0}',
    ],
)
def test_readable_json_that_is_not_the_type_is_refused(name: str, text: str) -> None:
    with refused():
        CONVERTER.from_payload(plain(text), WIRE_TYPES[name])


@pytest.mark.parametrize(
    "inline", ["NaN", "Infinity", "1e999", "18446744073709551616", '"\\ud800"', "[" * 90 + "]" * 90]
)
def test_readable_json_that_is_not_plain_data_is_refused(inline: str) -> None:
    with refused():
        CONVERTER.from_payload(plain(f'{{"name": null, "inline": {inline}}}'), GraphRequest)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000])
def test_plain_json_nested_beyond_pythons_stack_is_refused(text: str) -> None:
    with refused():
        CONVERTER.from_payload(plain(text))


@given(st.sampled_from(VALUES), st.data())
def test_readable_json_with_a_field_replaced_is_a_value_or_a_typed_error(value: Any, data: st.DataObject) -> None:
    fields = json.loads(data_converter("json").payload_converter.to_payload(value).data)
    field = data.draw(st.sampled_from(sorted(fields)))
    fields[field] = data.draw(st.sampled_from([None, 1, "x", [], {}, [[1]], {"a": {"b": 1}}, [1, "a"]]))
    try:
        decoded = CONVERTER.from_payload(plain(json.dumps(fields)), type(value))
    except AnabranchError:
        return
    assert type(decoded) is type(value)


async def test_a_gigabyte_in_thirty_kilobytes_is_refused() -> None:
    compressor = zstd.ZstdCompressor(level=1)
    bomb = b"".join([*(compressor.compress(bytes(2**20)) for _ in range(1024)), compressor.flush()])
    assert len(bomb) < 100_000
    with refused(SizeLimitExceeded):
        await opened(compressed(bomb))


async def test_many_bombs_in_one_call_unfold_to_no_more_than_one() -> None:
    bomb = zstd.compress(Payload(data=bytes(31 * 2**20)).SerializeToString())
    with refused(SizeLimitExceeded):
        await opened(*[compressed(bomb)] * 1000)


async def test_a_frame_that_asks_for_a_huge_window_is_refused() -> None:
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    frame = compressor.compress(bytes(1000)) + compressor.flush()
    with refused():
        await opened(compressed(frame))


async def test_compression_inside_compression_is_refused() -> None:
    inner = compressed(zstd.compress(Payload(data=b"x").SerializeToString()))
    with refused():
        await opened(compressed(zstd.compress(inner.SerializeToString())))


@given(st.binary(max_size=200))
async def test_random_compressed_bytes_are_a_payload_or_a_typed_error(data: bytes) -> None:
    try:
        [payload] = await opened(compressed(data))
    except AnabranchError:
        return
    assert isinstance(payload, Payload)


def test_a_value_nested_beyond_pythons_stack_is_refused_at_encoding() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    task = replace(TASK, roots={"item": deep})
    for context_format in ("msgpack", "json"):
        with refused():
            data_converter(context_format).payload_converter.to_payload(task)
