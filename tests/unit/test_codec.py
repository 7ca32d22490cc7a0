import json

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter

from anabranch.errors import SizeLimitExceeded, WireFormatError
from anabranch.transport.codec import ZstdCodec
from anabranch.transport.converter import data_converter
from anabranch.transport.undecodable import reason_of
from tests.zstandard import zstd

MSGPACK = {"encoding": b"binary/msgpack", "anabranch-type": b"ChangeSet"}
JSON = {"encoding": b"json/plain"}


def json_payload(size: int) -> Payload:
    return Payload(metadata=JSON, data=json.dumps("x" * (size - 2)).encode())


async def encode(payload: Payload) -> Payload:
    [encoded] = await ZstdCodec().encode([payload])
    return encoded


async def decode(payload: Payload) -> Payload:
    [decoded] = await ZstdCodec().decode([payload])
    return decoded


@pytest.mark.parametrize(
    ("payload", "compressed"),
    [
        (Payload(metadata=MSGPACK, data=b"a" * 1024), False),
        (Payload(metadata=MSGPACK, data=b"a" * 1025), True),
        (json_payload(64 * 1024), False),
        (json_payload(64 * 1024 + 1), True),
        (Payload(metadata={"encoding": b"somebody/else"}, data=b"a" * 100_000), False),
        (Payload(metadata={"encoding": b"binary/null"}), False),
    ],
)
async def test_only_large_payloads_are_compressed_and_plain_json_much_later(payload: Payload, compressed: bool) -> None:
    encoded = await encode(payload)
    assert (encoded.metadata["encoding"] == b"binary/zstd") is compressed
    assert (len(encoded.data) < len(payload.data)) is compressed
    assert await decode(encoded) == payload


async def test_what_does_not_become_smaller_stays_as_it_is() -> None:
    noise = zstd.compress(b"".join(bytes([i * i % 251, i % 7]) for i in range(100_000)), level=19)
    payload = Payload(metadata=MSGPACK, data=noise)
    assert await encode(payload) is payload


async def test_the_inner_payload_keeps_its_metadata_and_the_outer_one_shows_only_the_encoding() -> None:
    payload = Payload(metadata=MSGPACK | {"more": b"kept"}, data=b"a" * 5000)
    encoded = await encode(payload)
    assert dict(encoded.metadata) == {"encoding": b"binary/zstd"}
    assert (await decode(encoded)).metadata["more"] == b"kept"


async def test_payloads_keep_their_number_and_order() -> None:
    payloads = [json_payload(10), Payload(metadata=MSGPACK, data=b"b" * 3000), json_payload(20)]
    assert await ZstdCodec().decode(await ZstdCodec().encode(payloads)) == payloads


async def test_a_payload_that_this_codec_did_not_encode_is_returned_as_it_is() -> None:
    payload = Payload(metadata={"encoding": b"binary/encrypted"}, data=b"secret")
    assert await decode(payload) is payload


async def test_data_of_any_other_zstd_tool_is_read() -> None:
    """Frames without a content size, at another level."""
    inner = json_payload(3000)
    compressor = zstd.ZstdCompressor(level=7)
    data = compressor.compress(inner.SerializeToString()) + compressor.flush()
    assert await decode(Payload(metadata={"encoding": b"binary/zstd"}, data=data)) == inner


async def test_all_payloads_of_one_call_share_the_limit() -> None:
    encoded = await encode(Payload(metadata=MSGPACK, data=b"a" * 6000))
    codec = ZstdCodec(max_decoded_bytes=10_000)
    first, second = await codec.decode([encoded, encoded])
    assert (reason_of(first), first.metadata["encoding"]) == (None, b"binary/msgpack")
    reason = reason_of(second)
    assert isinstance(reason, SizeLimitExceeded)
    assert "more than the limit of 10000 bytes" in str(reason)


async def test_one_corrupt_payload_hides_none_before_it_and_none_that_is_not_compressed() -> None:
    corrupt = Payload(metadata={"encoding": b"binary/zstd"}, data=b"garbage")
    good, plain = Payload(metadata=MSGPACK, data=b"a" * 3000), json_payload(10)
    decoded = await ZstdCodec().decode([await encode(good), corrupt, plain, await encode(good)])
    assert decoded[0] == good
    assert decoded[2] == plain
    assert [type(reason_of(each)) for each in decoded] == [type(None), WireFormatError, type(None), WireFormatError]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"not zstd at all", "corrupt"),
        (zstd.compress(b"a" * 5000)[:-3], "truncated|corrupt"),
        (zstd.compress(Payload(data=b"a").SerializeToString()) + b"tail", "bytes after its end"),
        (zstd.compress(b"\xff\xff\xff"), "holds no payload"),
        (zstd.compress(Payload(metadata={"encoding": b"binary/zstd"}).SerializeToString()), "another compressed"),
    ],
)
async def test_corrupt_data_is_handed_on_as_a_wire_format_error(data: bytes, reason: str) -> None:
    handed_on = await decode(Payload(metadata={"encoding": b"binary/zstd"}, data=data))
    with pytest.raises(WireFormatError, match=reason):
        data_converter().payload_converter.from_payload(handed_on)


async def test_the_stock_converter_behind_this_codec_round_trips_a_large_value() -> None:
    converter = DataConverter(payload_codec=ZstdCodec())
    value = {"rows": [{"n": n} for n in range(20_000)]}
    [payload] = await converter.encode([value])
    assert payload.metadata["encoding"] == b"binary/zstd"
    assert await converter.decode([payload]) == [value]
