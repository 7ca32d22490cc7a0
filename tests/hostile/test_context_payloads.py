"""Payloads from someone who means harm: each is refused with a typed error in under a second, in little memory."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.context.distributed import ContextMetadata, ContextSnapshot, DistributedContext
from anabranch.context.values import Json
from anabranch.errors import AnabranchError, SizeLimitExceeded, WireFormatError
from anabranch.limits import MAX_CONTEXT_SIZE_BYTES
from tests.json_values import packed

GENUINE = (Path(__file__).parents[1] / "fixtures" / "rust" / "context.msgpack").read_bytes()
PRETTY = (Path(__file__).parents[1] / "fixtures" / "rust" / "context.json").read_text()
METADATA = ContextMetadata(created_at=1, updated_at=2, version=3)
REFUSED = (WireFormatError, SizeLimitExceeded)


def payload(value: bytes) -> bytes:
    """A context whose only value, at `k`, is the given MessagePack."""
    return b"\x93\xa1s\x81\xa1k" + value + b"\x95\x01\x02\x03\xc0\x90"


def document(value: str) -> str:
    metadata = '{"created_at":1,"updated_at":2,"version":3,"modified_by":null,"tags":[]}'
    return f'{{"session_id":"s","data":{{"k":{value}}},"metadata":{metadata}}}'


def test_the_frame_around_the_hostile_values_is_itself_genuine() -> None:
    expected = DistributedContext("s", {"k": 1}, METADATA)
    assert DistributedContext.deserialize(payload(b"\x01")) == expected
    assert DistributedContext.from_json(document("1")) == expected


@pytest.mark.parametrize("length", range(len(GENUINE)))
def test_a_context_cut_at_any_length_is_refused(length: int) -> None:
    with pytest.raises(WireFormatError):
        DistributedContext.deserialize(GENUINE[:length])


@pytest.mark.parametrize("length", range(len(GENUINE)))
def test_two_halves_are_not_two_contexts(length: int) -> None:
    """Decoded together they would be one context, and the one behind them another."""
    with pytest.raises(WireFormatError):
        DistributedContext.deserialize_many([GENUINE[:length], GENUINE[length:] + GENUINE])


def test_several_contexts_are_decoded_as_each_one_is() -> None:
    items: list[Json] = [{"price": 1.5, "name": "naïve"}]
    large = DistributedContext("large", {"k": items * 500}, METADATA).serialize()
    packed = [GENUINE, payload(b"\x01"), large, GENUINE]
    decoded = DistributedContext.deserialize_many(packed)
    assert decoded == [DistributedContext.deserialize(alone) for alone in packed]
    assert decoded[0] is not decoded[3]
    assert decoded[0].data is not decoded[3].data
    assert DistributedContext.deserialize_many([]) == []


def test_one_context_over_the_limit_among_several_is_refused() -> None:
    with pytest.raises(SizeLimitExceeded):
        DistributedContext.deserialize_many([payload(b"\x01"), GENUINE], max_bytes=len(GENUINE) - 1)


@pytest.mark.parametrize("length", range(0, len(PRETTY), 7))
def test_json_cut_at_any_length_is_refused(length: int) -> None:
    with pytest.raises(WireFormatError):
        DistributedContext.from_json(PRETTY[:length])


@pytest.mark.parametrize("tail", [b"\x00", b"\xc0", GENUINE], ids=["zero", "nil", "another"])
def test_anything_behind_the_end_is_refused(tail: bytes) -> None:
    with pytest.raises(WireFormatError, match="extra data"):
        DistributedContext.deserialize(GENUINE + tail)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        pytest.param(b"\xcb\x7f\xf8" + bytes(6), "'k' is nan", id="NaN"),
        pytest.param(b"\xcb\xff\xff" + b"\xff" * 6, "'k' is nan", id="negative NaN"),
        pytest.param(b"\xcb\x7f\xf0" + bytes(6), "'k' is inf", id="infinity"),
        pytest.param(b"\xcb\xff\xf0" + bytes(6), "'k' is -inf", id="negative infinity"),
        pytest.param(b"\xca\x7f\xc0\x00\x00", "'k' is nan", id="NaN of 32 bits"),
        pytest.param(b"\xca\x7f\x80\x00\x00", "'k' is inf", id="infinity of 32 bits"),
        pytest.param(b"\x93\x01\x02\xcb\x7f\xf0" + bytes(6), r"'k\.2' is inf", id="infinity in a list"),
        pytest.param(b"\xc4\x00", "'k' is of type bytes", id="empty binary"),
        pytest.param(b"\xc4\x01x", "'k' is of type bytes", id="binary"),
        pytest.param(b"\xc6\x00\x00\x00\x01x", "'k' is of type bytes", id="binary of 32 bits"),
        pytest.param(b"\xd4\x05x", "extension type 5", id="fixext"),
        pytest.param(b"\xc7\x00\x05", "extension type 5", id="empty extension"),
        pytest.param(b"\xc7\x01\x80x", "extension type -128", id="extension"),
        pytest.param(b"\xd6\xff\x00\x00\x00\x01", "'k' is of type Timestamp", id="timestamp of 32 bits"),
        pytest.param(b"\xd7\xff" + bytes(7) + b"\x01", "'k' is of type Timestamp", id="timestamp of 64 bits"),
        pytest.param(b"\xc7\x0c\xff" + bytes(12), "'k' is of type Timestamp", id="timestamp of 96 bits"),
        pytest.param(b"\xc1", "FormatError", id="the byte that is never used"),
        pytest.param(b"\xa1\xff", "invalid start byte", id="text that is not UTF-8"),
        pytest.param(b"\xa3\xed\xa0\x80", "invalid continuation byte", id="a surrogate"),
        pytest.param(b"\x82\xa1a\x01\xa1a\x02", "the key 'a' twice", id="a key twice"),
        pytest.param(b"\x82\xa1a\x01\xa1a\x01", "the key 'a' twice", id="a key twice with one value"),
        pytest.param(b"\x82\xa1a\x01\xd9\x01a\x01", "the key 'a' twice", id="a key twice, written in two ways"),
        pytest.param(b"\x81\x01\x02", "the key 1, which is not a string", id="an integer as a key"),
        pytest.param(b"\x81\xc0\x02", "the key None, which is not a string", id="nil as a key"),
        pytest.param(b"\x81\xc4\x01a\x02", "the key b'a', which is not a string", id="a binary as a key"),
        pytest.param(b"\x81\x90\x02", "unhashable", id="an array as a key"),
        pytest.param(b"\x81\x80\x02", "unhashable", id="a map as a key"),
        pytest.param(b"\x91" * 64 + b"\x90", "nested deeper than 64", id="depth 66"),
        pytest.param(b"\x81\xa1a" * 63 + b"\x80", "nested deeper than 64", id="depth 65 in objects"),
        pytest.param(b"\x91" * 100_000 + b"\x90", "StackError", id="depth 100,000"),
        pytest.param(b"\x81\xa1a" * 100_000 + b"\x80", "StackError", id="depth 100,000 in objects"),
        pytest.param(b"\xdd\xff\xff\xff\xff", "exceeds max_array_len", id="4 billion items declared"),
        pytest.param(b"\xdf\xff\xff\xff\xff", "exceeds max_map_len", id="4 billion members declared"),
        pytest.param(b"\xdb\xff\xff\xff\xff", "incomplete", id="4 GB of text declared"),
        pytest.param(b"\xc6\xff\xff\xff\xff", "incomplete", id="4 GB of binary declared"),
        pytest.param(b"\xc9\xff\xff\xff\xff\x05", "exceeds max_ext_len", id="4 GB of extension declared"),
    ],
)
def test_what_is_not_data_is_refused(value: bytes, why: str) -> None:
    with pytest.raises(WireFormatError, match=why):
        DistributedContext.deserialize(payload(value))
    with pytest.raises(WireFormatError, match=why):
        DistributedContext.deserialize_many([GENUINE, payload(value), GENUINE])


@pytest.mark.parametrize(
    ("value", "why"),
    [
        pytest.param("NaN", "'k' is nan", id="NaN"),
        pytest.param("-Infinity", "'k' is -inf", id="infinity"),
        pytest.param("1e999", "'k' is inf", id="a number beyond a double"),
        pytest.param("18446744073709551616", "'k' is an integer beyond 64 bits", id="2 to the 64th"),
        pytest.param("9" * 100_000, "this is not the JSON of a context", id="100,000 digits"),
        pytest.param('"\\ud800"', "'k' holds a lone surrogate", id="a surrogate"),
        pytest.param('{"\\udfff":1}', "'k' has a key that holds a lone surrogate", id="a surrogate in a key"),
        pytest.param('{"a":1,"a":1}', "the key 'a' twice", id="a key twice"),
        pytest.param("[" * 65 + "]" * 65, "nested deeper than 64", id="depth 66"),
        pytest.param("[" * 100_000 + "]" * 100_000, "this is not the JSON of a context", id="depth 100,000"),
        pytest.param('{"a":' * 100_000 + "1" + "}" * 100_000, "this is not the JSON", id="depth 100,000 in objects"),
        pytest.param("1]", "this is not the JSON of a context", id="unbalanced"),
        pytest.param('1}, "more": {"a": 1e999', r"'more.a' is inf", id="infinity beside the data"),
    ],
)
def test_json_that_is_not_data_is_refused(value: str, why: str) -> None:
    with pytest.raises(WireFormatError, match=why):
        DistributedContext.from_json(document(value))


@pytest.mark.parametrize("raw", [b"\xff\xfe\x00", b"\x80abc", b"", b"\x00" * 9])
def test_json_that_is_not_text_is_refused(raw: bytes) -> None:
    with pytest.raises(WireFormatError, match="this is not the JSON of a context"):
        DistributedContext.from_json(raw)


def filled(opening: bytes, filler: bytes) -> bytes:
    """As many bytes as the limit allows."""
    count = (MAX_CONTEXT_SIZE_BYTES - len(opening)) // len(filler)
    return opening + filler * count


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(
            filled(b"\xdd\x00\x0f\xff\x00" * 1000, b"\x01"), id="a thousand nested arrays that reserve a million"
        ),
        pytest.param(filled(b"\x93\xa1s\x81\xa1k\xdd\x00\x0f\xff\xf0", b"\xc0"), id="a million nils, then the end"),
        pytest.param(payload(b"\xdd\x00\x0f\xff\x00" + b"\x01" * 0xFFEFF + b"\xc1"), id="wrong at the very end"),
        pytest.param(
            payload(b"\xdd\x00\x01\x86\xa0" + b"\x90" * 99_999 + b"\xcb\x7f\xf8" + bytes(6)),
            id="NaN after 99,999 lists",
        ),
        pytest.param(
            payload(
                b"\x91" * 60 + b"\xdd\x00\x0f\x42\x40" + b"\x01" * 999_991 + b"\xcb\x7f\xf8" + bytes(6) + b"\x01" * 8
            ),
            id="NaN among a million deep numbers",
        ),
        pytest.param(
            payload(
                b"\xdf\x00\x01\x86\xa0"
                + b"".join(b"\xa6%06d\x01" % index for index in range(99_999))
                + b"\xa6099998\x01"
            ),
            id="the last of 100,000 keys is there twice",
        ),
    ],
)
def test_a_payload_as_large_as_the_limit_is_refused(packed: bytes) -> None:
    assert len(packed) <= MAX_CONTEXT_SIZE_BYTES
    with pytest.raises(WireFormatError):
        DistributedContext.deserialize(packed)


def test_declared_lengths_do_not_reserve_memory() -> None:
    packed = payload(b"\x92\xdd\xff\xff\xff\xff\xdb\xff\xff\xff\xff")
    tracemalloc.start()
    try:
        with pytest.raises(WireFormatError):
            DistributedContext.deserialize(packed)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    "decode", [DistributedContext.deserialize, DistributedContext.from_json, ContextSnapshot.deserialize]
)
def test_what_is_over_the_limit_is_not_even_looked_at(decode: Callable[[bytes], Any]) -> None:
    with pytest.raises(SizeLimitExceeded, match="1048577 bytes, over the limit of 1048576"):
        decode(bytes(MAX_CONTEXT_SIZE_BYTES + 1))


def test_text_counts_in_bytes_not_in_letters() -> None:
    with pytest.raises(SizeLimitExceeded):
        DistributedContext.from_json(document('"' + "€" * (MAX_CONTEXT_SIZE_BYTES // 2) + '"'))


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_with_a_typed_error_or_are_a_context(packed: bytes) -> None:
    for kind in (DistributedContext, ContextSnapshot):
        try:
            decoded = kind.deserialize(packed)
        except AnabranchError as refused:
            assert isinstance(refused, REFUSED)  # noqa: PT017 - most random bytes are refused, a few are not
        else:
            assert kind.deserialize(decoded.serialize()) == decoded


@given(st.integers(0, len(GENUINE) - 1), st.integers(0, 255))
def test_one_changed_byte_is_refused_or_gives_a_context_that_encodes_again(position: int, byte: int) -> None:
    damaged = GENUINE[:position] + bytes([byte]) + GENUINE[position + 1 :]
    try:
        decoded = DistributedContext.deserialize(damaged)
    except AnabranchError as refused:
        assert isinstance(refused, REFUSED)  # noqa: PT017 - it need not be raised
    else:
        assert DistributedContext.deserialize(decoded.serialize()) == decoded


@given(st.text(max_size=100) | st.binary(max_size=100))
def test_random_text_is_refused_with_a_typed_error(raw: str | bytes) -> None:
    with pytest.raises(WireFormatError):
        DistributedContext.from_json(raw)


def test_data_that_contains_itself_is_refused_at_encode() -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    context = DistributedContext("s", loop, METADATA)
    with pytest.raises(WireFormatError, match="nested deeper than 64"):
        context.serialize()
    with pytest.raises(WireFormatError, match="nested deeper than 64"):
        context.to_json()


def test_json_of_a_genuine_context_in_another_layout_is_the_same_context() -> None:
    compact = json.dumps(json.loads(PRETTY), separators=(",", ":"))
    assert DistributedContext.from_json(compact) == DistributedContext.deserialize(GENUINE)
    assert len(packed(json.loads(PRETTY))) > len(GENUINE)
