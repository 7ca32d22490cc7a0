import json
import math
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.context.distributed import ContextMetadata, ContextSnapshot, DistributedContext
from anabranch.context.values import Json, check_value
from anabranch.context.wire import measure
from anabranch.errors import SizeLimitExceeded, WireFormatError
from anabranch.limits import MAX_CONTEXT_SIZE_BYTES
from tests.json_values import packed, unchecked

RUST = Path(__file__).parents[1] / "fixtures" / "rust"
METADATA = ContextMetadata(created_at=1, updated_at=2, version=3)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=20
)
instants = st.integers(0, 2**53)
contexts = st.builds(
    DistributedContext,
    text,
    st.dictionaries(text, values, max_size=6),
    st.builds(
        ContextMetadata,
        instants,
        instants,
        st.integers(1, 2**31),
        st.none() | text,
        st.lists(text, max_size=3).map(tuple),
    ),
)


def holding(value: Any) -> DistributedContext:
    return DistributedContext("s", {"order": {"total": value}}, METADATA)


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"k": value}
    return value


def test_the_186_bytes_that_rust_wrote_decode_to_its_json_and_encode_back() -> None:
    packed = (RUST / "context.msgpack").read_bytes()
    pretty = (RUST / "context.json").read_text()
    decoded = DistributedContext.deserialize(packed)
    assert len(packed) == 186
    assert len(pretty) == 499
    assert decoded.to_json() == pretty
    assert decoded.serialize() == packed
    assert decoded.metadata.tags == ("order", "high-value")


def test_a_whole_float_stays_a_float_and_keys_keep_their_order() -> None:
    decoded = DistributedContext.deserialize((RUST / "context.msgpack").read_bytes())
    items: Any = decoded["items"]
    assert type(items[1]["price"]) is float
    assert list(decoded.keys()) == ["order_total", "customer_id", "items"]


def test_the_json_that_rust_wrote_decodes_to_the_same_context() -> None:
    packed = DistributedContext.deserialize((RUST / "context.msgpack").read_bytes())
    assert DistributedContext.from_json((RUST / "context.json").read_bytes()) == packed


@given(contexts)
def test_a_context_survives_both_formats(original: DistributedContext) -> None:
    packed = original.serialize()
    assert DistributedContext.deserialize(packed) == original
    assert DistributedContext.deserialize(packed).serialize() == packed
    assert repr(DistributedContext.deserialize(packed).data) == repr(original.data)  # 1 is not 1.0, and order counts
    assert DistributedContext.from_json(original.to_json()) == original
    assert repr(DistributedContext.from_json(original.to_json()).data) == repr(original.data)


@given(contexts)
def test_a_snapshot_survives_messagepack(original: DistributedContext) -> None:
    snapshot = original.snapshot()
    assert ContextSnapshot.deserialize(snapshot.serialize()) == snapshot
    assert snapshot.to_wire() == [
        original.session_id,
        original.data,
        original.metadata.version,
        original.metadata.updated_at,
    ]


@given(contexts)
def test_the_wire_is_plain_messagepack_of_positional_arrays(original: DistributedContext) -> None:
    created_at, updated_at, version, modified_by, tags = original.metadata
    assert msgpack.unpackb(original.serialize()) == [
        original.session_id,
        original.data,
        [created_at, updated_at, version, modified_by, list(tags)],
    ]


def test_wider_encodings_of_the_same_values_decode_too() -> None:
    float32, int64, str8 = b"\xca\x3f\x80\x00\x00", b"\xd3" + bytes(7) + b"\x07", b"\xd9\x01s"
    packed = b"\x93" + str8 + b"\x82\xa1a" + float32 + b"\xa1b" + int64 + b"\x95\x01\x02\x03\xc0\x90"
    decoded = DistributedContext.deserialize(packed)
    assert decoded == DistributedContext("s", {"a": 1.0, "b": 7}, METADATA)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (math.nan, "is nan, which JSON cannot express"),
        (math.inf, "is inf, which JSON cannot express"),
        (-math.inf, "is -inf, which JSON cannot express"),
        (2**64, "is an integer beyond 64 bits"),
        (-(2**63) - 1, "is an integer beyond 64 bits"),
        ("\ud800", "holds a lone surrogate"),
        (b"", "is of type bytes"),
        (b"bytes", "is of type bytes"),
        ((1, 2), "is of type tuple"),
        ({1}, "is of type set"),
        (msgpack.ExtType(5, b"x"), "is of type ExtType"),
        (msgpack.Timestamp(0), "is of type Timestamp"),
        (object(), "is of type object"),
    ],
)
@pytest.mark.parametrize("encode", [DistributedContext.serialize, DistributedContext.to_json], ids=["msgpack", "json"])
def test_what_is_not_data_is_refused_with_its_path(encode: Any, value: Any, what: str) -> None:
    with pytest.raises(WireFormatError) as refused:
        encode(holding(value))
    assert refused.value.message.startswith(f"the value at 'order.total' {what}")
    assert refused.value.code == "WIRE_FORMAT_INVALID"


@pytest.mark.parametrize("key", [1, None, True, 1.5, b"k", ("k",)])
@pytest.mark.parametrize("encode", [DistributedContext.serialize, DistributedContext.to_json], ids=["msgpack", "json"])
def test_a_key_that_is_not_text_is_refused_with_its_path(encode: Any, key: Any) -> None:
    with pytest.raises(WireFormatError, match=r"'order.total' has the key .*, which is not a string"):
        encode(holding({key: 1}))


def test_a_surrogate_in_a_key_is_refused() -> None:
    with pytest.raises(WireFormatError, match=r"'order.total' has a key that holds a lone surrogate"):
        holding({"\udfff": 1}).serialize()


def test_the_extremes_of_64_bits_pass() -> None:
    extremes = DistributedContext("s", {"low": -(2**63), "high": 2**64 - 1, "tiny": 5e-324, "huge": 1.7e308}, METADATA)
    assert DistributedContext.deserialize(extremes.serialize()) == extremes
    assert DistributedContext.from_json(extremes.to_json()) == extremes


def test_depth_64_passes_and_depth_65_is_refused() -> None:
    deepest = DistributedContext("s", nested(64), METADATA)
    assert DistributedContext.deserialize(deepest.serialize()) == deepest
    assert DistributedContext.from_json(deepest.to_json()) == deepest
    too_deep = DistributedContext("s", nested(65), METADATA)
    with pytest.raises(WireFormatError, match="nested deeper than 64"):
        too_deep.serialize()
    with pytest.raises(WireFormatError, match="nested deeper than 64"):
        too_deep.to_json()
    with pytest.raises(WireFormatError, match="nested deeper than 64"):
        DistributedContext.deserialize(packed(too_deep.to_wire()))


def test_a_large_context_of_depth_64_passes_and_one_of_depth_65_is_refused() -> None:
    """Of large ones the depth is left to the packer, which has its own limit."""
    for depth in (2, 3, 63, 64, 65, 66, 900):
        large: dict[str, Any] = {"rows": [{"price": 1.5, "name": "naïve"}] * 2000, "deep": nested(depth - 1)}
        wire = packed(DistributedContext("s", large, METADATA).to_wire())
        if depth <= 64:
            assert DistributedContext.deserialize(wire).data == large
            continue
        with pytest.raises(WireFormatError, match="nested deeper than 64"):
            DistributedContext.deserialize(wire)


def test_a_large_context_with_a_key_twice_or_a_number_that_is_none_is_refused() -> None:
    for value, what in ((math.nan, "'number' is nan"), (-math.inf, "'number' is -inf")):
        wire = packed(["s", {"rows": [1.5] * 4000, "number": value}, [1, 2, 3, None, []]])
        with pytest.raises(WireFormatError, match=what):
            DistributedContext.deserialize(wire)
    pairs = b"\xa1a\x01" * 8000
    with pytest.raises(WireFormatError, match="has the key 'a' twice"):
        DistributedContext.deserialize(b"\x93\xa1s\xde\x1f\x40" + pairs + b"\x95\x01\x02\x03\xc0\x90")


def test_subclasses_of_data_types_travel_as_data() -> None:
    class Status(StrEnum):
        PAID = "paid"

    class Whole(int):
        pass

    original = DistributedContext("s", {"status": Status.PAID, "qty": Whole(2)}, METADATA)
    assert DistributedContext.deserialize(original.serialize()).data == {"status": "paid", "qty": 2}


def test_a_mapping_that_is_no_dict_is_refused_with_a_typed_error() -> None:
    with pytest.raises(WireFormatError, match="mappingproxy"):
        holding(MappingProxyType({"a": 1})).serialize()


@pytest.mark.parametrize(
    "broken",
    [
        DistributedContext(unchecked(b"s"), {}, METADATA),
        DistributedContext("s", unchecked([]), METADATA),
        DistributedContext("s", {}, METADATA._replace(version=unchecked("3"))),
        DistributedContext("s", {}, METADATA._replace(updated_at=unchecked(2.5))),
        DistributedContext("s", {}, METADATA._replace(modified_by=unchecked(1))),
        DistributedContext("s", {}, METADATA._replace(tags=unchecked("abc"))),
        DistributedContext("s", {}, METADATA._replace(tags=unchecked((1,)))),
    ],
)
def test_what_could_not_be_decoded_is_not_encoded(broken: DistributedContext) -> None:
    with pytest.raises(WireFormatError, match="this is not a context"):
        broken.serialize()
    with pytest.raises(WireFormatError, match="this is not a context"):
        broken.to_json()


def test_a_value_is_measured_as_it_is_encoded() -> None:
    values: list[Json] = [None, True, 2**64 - 1, -(2**63), 1.5, "naïve", [], {}, [[{"a": [1]}]], {"k": "v"}]
    for value in values:
        assert measure(value) == len(packed(value))


@pytest.mark.parametrize("path", [(), ("k",), ("k", "l")])
@pytest.mark.parametrize(
    "value", [*map(nested, (62, 63, 64, 65, 500)), 2**64, "\ud800", [math.nan], {1: 2}, b"", {"a": [{"b": 2**70}]}]
)
def test_what_is_measured_is_what_is_data(value: Any, path: tuple[str, ...]) -> None:
    refused = refusal(check_value, value, path)
    assert refusal(measure, value, path) == refused
    if refused is None:
        assert measure(value, path=path) == len(packed(value))


def refusal(check: Any, value: Any, path: tuple[str, ...]) -> str | None:
    try:
        check(value, path=path)
    except WireFormatError as refused:
        return str(refused)
    return None


def test_what_looks_like_data_and_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(WireFormatError, match="mappingproxy"):
        measure(unchecked(MappingProxyType({"a": 1})))


def test_a_context_over_the_limit_names_size_limit_and_the_largest_key() -> None:
    original = DistributedContext("s", {"small": "x", "large": "x" * 2000, "list": [*[1] * 100]}, METADATA)
    with pytest.raises(SizeLimitExceeded) as refused:
        original.serialize(max_bytes=1000)
    size = len(original.serialize())
    assert refused.value.message == (
        f"the context has {size} bytes, over the limit of 1000; its largest key is 'large' with 2003 bytes"
    )
    assert len(original.serialize(max_bytes=size)) == size
    with pytest.raises(SizeLimitExceeded, match="over the limit of 100; its largest key is 'large'"):
        original.to_json(max_bytes=100)


def test_the_default_limit_is_1_mib_both_ways() -> None:
    assert MAX_CONTEXT_SIZE_BYTES == 1024 * 1024
    large = DistributedContext("s", {"k": "x" * MAX_CONTEXT_SIZE_BYTES}, METADATA)
    with pytest.raises(SizeLimitExceeded):
        large.serialize()
    with pytest.raises(SizeLimitExceeded):
        DistributedContext.deserialize(large.serialize(max_bytes=2**21))
    with pytest.raises(SizeLimitExceeded):
        DistributedContext.from_json(large.to_json(max_bytes=2**21))
    assert DistributedContext.deserialize(large.serialize(max_bytes=2**21), max_bytes=2**21) == large


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_encoding_and_decoding_agree_on_size(size: int) -> None:
    original = DistributedContext("s", {"list": list(range(size)), "text": "ä" * size}, METADATA)
    packed = original.serialize()
    assert DistributedContext.deserialize(packed, max_bytes=len(packed)) == original
    with pytest.raises(SizeLimitExceeded):
        DistributedContext.deserialize(packed, max_bytes=len(packed) - 1)


@pytest.mark.parametrize(
    "wire",
    [
        None,
        5,
        "abc",
        {},
        [],
        ["s", {}],
        ["s", {}, [1, 2, 3, None, []], 4],
        [None, {}, [1, 2, 3, None, []]],
        ["s", [], [1, 2, 3, None, []]],
        ["s", {}, None],
        ["s", {}, [1, 2, 3, None]],
        ["s", {}, ["1", 2, 3, None, []]],
        ["s", {}, [1, 2.0, 3, None, []]],
        ["s", {}, [1, 2, True, None, []]],
        ["s", {}, [1, 2, 3, 4, []]],
        ["s", {}, [1, 2, 3, None, None]],
        ["s", {}, [1, 2, 3, None, [1]]],
    ],
)
def test_data_of_another_shape_is_not_a_context(wire: Any) -> None:
    with pytest.raises(WireFormatError, match="this is not a context"):
        DistributedContext.from_wire(wire)
    with pytest.raises(WireFormatError, match="this is not a context"):
        DistributedContext.deserialize(packed(wire))


@pytest.mark.parametrize(
    "wire", [None, [], ["s", {}, 1], [1, {}, 1, 2], ["s", [], 1, 2], ["s", {}, "1", 2], ["s", {}, 1, None], "abcd"]
)
def test_data_of_another_shape_is_not_a_snapshot(wire: Any) -> None:
    with pytest.raises(WireFormatError, match="a snapshot"):
        ContextSnapshot.deserialize(packed(wire))


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"session_id": "s", "data": {}},
        {"session_id": "s", "data": {}, "metadata": []},
        {"session_id": "s", "data": {}, "metadata": {"created_at": 1}},
        {"session_id": 1, "data": {}, "metadata": METADATA._asdict()},
    ],
)
def test_json_of_another_shape_is_not_a_context(document: Any) -> None:
    with pytest.raises(WireFormatError, match="this is not a context"):
        DistributedContext.from_json(json.dumps(document))
