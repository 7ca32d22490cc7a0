import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.converter import PayloadConverter

from anabranch.context.changes import ChangeSet
from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.context.values import Json
from anabranch.errors import WireFormatError
from anabranch.limits import RunLimits
from anabranch.transport.converter import ContextFormat, data_converter, readable
from anabranch.transport.node_protocol import GraphRequest, NodeTask, PinnedGraph, RunInfo
from anabranch.transport.segment import Ran, Segment, SegmentResult, Step
from tests.json_values import unchecked

BINARY = data_converter("msgpack").payload_converter
READABLE = data_converter("json").payload_converter

CONTEXT = DistributedContext(
    "order-1",
    {"order": {"status": "new", "dotted.key": [1, 2.5, None, True, "ü"]}, "total": 10},
    ContextMetadata(1_700_000_000_000, 1_700_000_000_001, 3, "validate", ("eu", "vip")),
)
TASK = NodeTask(
    address="pack[3]/weigh",
    node={"type": "rule", "rules": [{"then": {"weighed": True}}]},
    context=CONTEXT,
    run=RunInfo("run-1", "order-1", "orders", "2026-01-01T00:00:00Z", 2),
    key="run-1/weigh/3",
    reads=("order", "total"),
    roots={"item": {"sku": "x"}, "index": 3},
)
CHANGES = ChangeSet(3, {("order", "status"): "paid", ("dotted.key",): [1, {"a": None}]}, (("old", "a.b"),), "pay", 7)
REQUEST = GraphRequest(name="orders", inline={"nodes": {}})
STEPS = (Step("b", {"type": "rule"}, "run-1/b", None, 30.0), Step("c", {}, "run-1/c", ("x", "y"), 1.5))
SEGMENT = Segment(30.0, STEPS, {"x": {"y": [1]}}, ("run", "z"), {"type": "NO_STOCK", "details": [{"left": 0}]})
RESULT = SegmentResult(7, (Ran("a", 1, 0, 3, CHANGES), Ran("b", 2, 3, 4, None, {"cancelled": True})))
PINNED = PinnedGraph(
    "orders",
    "00ff",
    '{"name":"orders"}',
    {"packing": "{}"},
    1,
    {"orders": ("id",), "packing": ()},
    ("SearchAttributes",),
    RunLimits(pending_activities=3, drain_seconds=0.5),
    "https://console",
)
VALUES = [
    TASK,
    replace(TASK, reads=None, roots={}),
    CHANGES,
    ChangeSet(0, {}),
    SEGMENT,
    Segment(1.5),
    RESULT,
    REQUEST,
    GraphRequest(),
    PINNED,
    replace(PINNED, console=None),
    CONTEXT,
]


@pytest.mark.parametrize("converter", [BINARY, READABLE])
def test_plain_json_keeps_the_order_of_keys(converter: PayloadConverter) -> None:
    value = {"z": [{"y": 1, "b": 2}], "a": {"": None, "B": True}}
    (payload,) = converter.to_payloads([value])
    assert payload.metadata == {"encoding": b"json/plain"}
    assert payload.data == b'{"z":[{"y":1,"b":2}],"a":{"":null,"B":true}}'


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_messagepack_is_decoded_by_the_name_in_its_metadata_with_and_without_a_type_hint(value: Any) -> None:
    payload = BINARY.to_payload(value)
    assert payload.metadata["anabranch-type"].decode() == type(value).__name__
    assert BINARY.from_payload(payload, type(value)) == value
    assert BINARY.from_payload(payload) == value


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_readable_json_is_decoded_by_the_type_hint_and_is_a_plain_object_without(value: Any) -> None:
    payload = READABLE.to_payload(value)
    assert payload.metadata == {"encoding": b"json/plain"}
    assert READABLE.from_payload(payload, type(value)) == value
    assert READABLE.from_payload(payload) == json.loads(payload.data)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_each_converter_reads_what_the_other_wrote(value: Any) -> None:
    assert READABLE.from_payload(BINARY.to_payload(value), type(value)) == value
    assert BINARY.from_payload(READABLE.to_payload(value), type(value)) == value


def test_messagepack_is_the_positional_array_and_nothing_else() -> None:
    payload = BINARY.to_payload(GraphRequest("orders"))
    assert payload.metadata == {"encoding": b"binary/msgpack", "anabranch-type": b"GraphRequest"}
    assert payload.data == b"\x94\xa6orders\xc0\x80\xc2"


def test_readable_json_names_every_field_of_a_task() -> None:
    payload = READABLE.to_payload(TASK)
    assert payload.metadata["encoding"] == b"json/plain"
    assert json.loads(payload.data) == {
        "address": "pack[3]/weigh",
        "node": {"type": "rule", "rules": [{"then": {"weighed": True}}]},
        "context": {
            "session_id": "order-1",
            "data": {"order": {"status": "new", "dotted.key": [1, 2.5, None, True, "ü"]}, "total": 10},
            "metadata": {
                "created_at": 1_700_000_000_000,
                "updated_at": 1_700_000_000_001,
                "version": 3,
                "modified_by": "validate",
                "tags": ["eu", "vip"],
            },
        },
        "run": {
            "id": "run-1",
            "session_id": "order-1",
            "graph": "orders",
            "time": "2026-01-01T00:00:00Z",
            "attempt": 2,
        },
        "key": "run-1/weigh/3",
        "reads": ["order", "total"],
        "roots": {"item": {"sku": "x"}, "index": 3},
        "revision": 1,
    }


def test_a_limit_of_a_newer_revision_leaves_it_to_the_revision_to_be_refused() -> None:
    array = PINNED.to_wire()
    array[7] = {"pending_activities": 3, "drain_seconds": 0.5, "of_revision_9": 1}
    assert PinnedGraph.from_wire(array) == PINNED


def test_readable_json_names_all_that_a_run_is_held_to() -> None:
    assert json.loads(READABLE.to_payload(PINNED).data) == {
        "name": "orders",
        "digest": "00ff",
        "definition": '{"name":"orders"}',
        "graphs": {"packing": "{}"},
        "revision": 1,
        "inputs": {"orders": ["id"], "packing": []},
        "capabilities": ["SearchAttributes"],
        "limits": asdict(RunLimits(pending_activities=3, drain_seconds=0.5)),
        "console": "https://console",
    }


def test_readable_json_of_changes_has_paths_as_text() -> None:
    assert json.loads(READABLE.to_payload(CHANGES).data) == {
        "base_version": 3,
        "set": {"order.status": "paid", "dotted\\.key": [1, {"a": None}]},
        "removed": ["old.a\\.b"],
        "by": "pay",
        "at": 7,
    }


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_messagepack_payload_made_readable_is_what_the_json_format_writes(value: Any) -> None:
    assert readable(BINARY.to_payload(value)) == READABLE.to_payload(value)


def test_other_payloads_are_readable_as_they_are() -> None:
    for payload in (BINARY.to_payload({"a": 1}), BINARY.to_payload(None), BINARY.to_payload(b"raw")):
        assert readable(payload) is payload


@pytest.mark.parametrize("context_format", ["msgpack", "json"])
def test_everything_else_is_what_temporals_own_converter_makes_of_it(context_format: ContextFormat) -> None:
    converter = data_converter(context_format).payload_converter
    stock = data_converter(context_format).default.payload_converter
    for value in ({"order": [1, 2.5, None]}, None, b"bytes", "text", 7):
        assert converter.to_payload(value) == stock.to_payload(value)
        assert converter.from_payload(stock.to_payload(value)) == value


def test_raw_values_pass_as_they_are() -> None:
    payload = BINARY.to_payload(TASK)
    assert BINARY.from_payload(payload, RawValue).payload is payload
    assert BINARY.to_payload(RawValue(payload)) is payload


def test_a_hint_for_another_wire_type_is_refused() -> None:
    with pytest.raises(WireFormatError, match=r"expected a NodeTask, got a payload of type 'ChangeSet'"):
        BINARY.from_payload(BINARY.to_payload(CHANGES), NodeTask)
    with pytest.raises(WireFormatError, match=r"does not have the fields of a NodeTask"):
        READABLE.from_payload(READABLE.to_payload(CHANGES), NodeTask)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (ChangeSet(1, {("a",): {"b": float("nan")}}), "set.a.b"),
        (ChangeSet(1, {("a",): float("inf")}), "set.a"),
        (ChangeSet(1, {("a",): 2**64}), "set.a"),
        (ChangeSet(1, {("a",): "\ud800"}), "set.a"),
        (ChangeSet(1, {("a",): unchecked(b"raw")}), "set.a"),
        (ChangeSet(1, {("a",): unchecked({1: 2})}), "set.a"),
        (replace(TASK, context=DistributedContext("s", {"deep": {"x": float("-inf")}})), "context.data.deep.x"),
    ],
)
def test_what_is_not_data_is_refused_at_encoding_by_its_path(value: object, where: str) -> None:
    for converter in (BINARY, READABLE):
        with pytest.raises(WireFormatError) as refused:
            converter.to_payload(value)
        assert f"'{where}'" in str(refused.value)


def test_a_context_of_the_greatest_depth_survives_both_formats() -> None:
    deep: dict[str, Json] = {}
    for _ in range(62):
        deep = {"d": deep}
    task = replace(TASK, context=DistributedContext("s", {"deep": deep}))
    for converter in (BINARY, READABLE):
        assert converter.from_payload(converter.to_payload(task), NodeTask) == task


def json_payload(text: str) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=text.encode())


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": ', "}")])
@pytest.mark.parametrize("hint", [None, Any])
def test_json_is_read_down_to_one_depth_whatever_the_version_of_python_takes(
    opening: str, closing: str, hint: Any
) -> None:
    for depth, innermost in ((256, '"[{[{"'), (256, "[[], {}]")):
        value = BINARY.from_payload(json_payload(opening * (depth - 1) + innermost + closing * (depth - 1)), hint)
        assert value
    for depth in (257, 900, 20_000):
        with pytest.raises(WireFormatError, match="the JSON is nested too deep"):
            BINARY.from_payload(json_payload(opening * depth + "1" + closing * depth), hint)


def test_brackets_beside_each_other_are_not_deep() -> None:
    text = "[" + ", ".join(["[]", '{"a": "[[["}'] * 1_000) + "]"
    assert BINARY.from_payload(json_payload(text)) == json.loads(text)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
paths = st.lists(st.text(), min_size=1, max_size=3).map(tuple)


@given(st.dictionaries(paths, json_values, max_size=4), st.lists(paths, max_size=3).map(tuple))
def test_any_changes_survive_both_formats(
    changed: dict[tuple[str, ...], Json], removed: tuple[tuple[str, ...]]
) -> None:
    changes = ChangeSet(1, changed, removed)
    for converter in (BINARY, READABLE):
        assert converter.from_payload(converter.to_payload(changes), ChangeSet) == changes
