"""Encrypted payloads and failures: nothing of them is readable, and what cannot be decrypted says why."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter, DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError

from anabranch.activities.failures import as_application_errors
from anabranch.brokers.source import Message
from anabranch.errors import EncryptionKeyMissing, NodeError, PlaintextRefused, WireFormatError
from anabranch.events.event import ENCRYPTED, Reading, encode_body, read_event
from anabranch.events.publishing import Publisher
from anabranch.transport.codec import ZstdCodec
from anabranch.transport.combined import combined
from anabranch.transport.converter import data_converter, standard_codec
from anabranch.transport.encryption import ENCODING, EncryptingCodec
from anabranch.transport.undecodable import is_encrypted, reason_of, undecodable
from tests.encryption_keys import cipher, key

K1, K2 = key("k1"), key("k2")
CANARY = "canary-4711"


def payload(data: bytes = CANARY.encode(), encoding: bytes = b"binary/plain", **metadata: bytes) -> Payload:
    return Payload(metadata={"encoding": encoding, **metadata}, data=data)


async def decoded(codec: EncryptingCodec, *payloads: Payload) -> list[Payload]:
    return await codec.decode(payloads)


def codec(*keys: str, stable_bytes: int | None = None) -> EncryptingCodec:
    return EncryptingCodec(ZstdCodec(), cipher(*keys) if keys else None, stable_bytes=stable_bytes)


@pytest.mark.parametrize("size", [10, 100_000])
async def test_a_payload_comes_back_marked_as_one_that_was_encrypted(size: int) -> None:
    given = payload(CANARY.encode() * size)
    (sent,) = await codec(K1).encode([given])
    assert sent.metadata["encoding"] == ENCODING
    assert CANARY.encode() not in sent.SerializeToString()
    assert b"binary/plain" not in sent.SerializeToString()
    (got,) = await decoded(codec(K2, K1), sent)
    assert (got.data, got.metadata["encoding"], is_encrypted(got)) == (given.data, b"binary/plain", True)


async def test_compression_comes_before_encryption() -> None:
    (sent,) = await codec(K1).encode([payload(b"a" * 100_000)])
    assert len(sent.data) < 1000


async def test_a_payload_in_plain_text_is_read_and_not_marked_whatever_it_says() -> None:
    forged = payload(**{"anabranch-encrypted": b"true"})
    (got,) = await decoded(codec(K1), forged)
    assert (got.data, is_encrypted(got)) == (forged.data, False)


@pytest.mark.parametrize("keys", [(K2,), (key("k1"),), ()])
async def test_a_missing_key_is_told_in_place_of_the_payload(keys: tuple[str, ...]) -> None:
    sent = await codec(K1).encode([payload(), payload(b"other")])
    mine = await codec(*keys).encode([payload(b"mine")])
    got = await decoded(codec(*keys), *sent, *mine)
    assert [type(reason_of(each)) for each in got] == [EncryptionKeyMissing, EncryptionKeyMissing, type(None)]
    assert "the key 'k1' is missing" in str(reason_of(got[0]))
    assert got[2].data == b"mine"


async def test_who_says_that_a_key_is_missing_is_not_believed() -> None:
    (got,) = await decoded(codec(K1), undecodable(EncryptionKeyMissing("k9")))
    assert isinstance(reason_of(got), WireFormatError)


@pytest.mark.parametrize("name", ["encryption-nonce", "data", "truncated", "no nonce"])
async def test_an_altered_payload_is_undecodable_for_good(name: str) -> None:
    (sent,) = await codec(K1).encode([payload()])
    match name:
        case "data":
            sent.data = sent.data[:-1] + bytes([sent.data[-1] ^ 1])
        case "truncated":
            sent.data = sent.data[:10]
        case "no nonce":
            del sent.metadata["encryption-nonce"]
        case _:
            sent.metadata[name] = bytes(12)
    (got,) = await decoded(codec(K1), sent)
    assert isinstance(reason_of(got), WireFormatError)
    assert is_encrypted(got)


async def test_an_encrypted_payload_holds_no_other_one() -> None:
    (once,) = await codec(K1).encode([payload()])
    (nested,) = await codec(K1).encode([payload(once.SerializeToString())])
    hidden = cipher(K1).encrypt(once.SerializeToString(), "payload")
    forged = Payload(
        metadata={
            "encoding": ENCODING,
            "encryption-key-id": hidden.key_id.encode(),
            "encryption-key-check": hidden.check,
            "encryption-nonce": hidden.nonce,
        },
        data=hidden.data,
    )
    inner, refused = await decoded(codec(K1), nested, forged)
    assert inner.data == once.SerializeToString()
    assert "holds another encrypted payload" in str(reason_of(refused))


async def test_what_goes_to_a_payload_store_is_encrypted_alike_each_time() -> None:
    large, small = payload(os.urandom(10_000)), payload(b"small")
    first, second = [await codec(K1, stable_bytes=10_000).encode([large, small]) for _ in range(2)]
    assert first[0] == second[0]
    assert first[1] != second[1]


async def test_what_is_encrypted_already_is_not_encrypted_again() -> None:
    (once,) = await codec(K1).encode([payload()])
    assert await codec(K1).encode([once]) == [once]


def raised(error: Exception) -> Exception:
    """An error with a cause and a stack trace that show the canary."""
    try:
        try:
            int(f"{CANARY} inside")
        except ValueError as cause:
            raise error from cause
    except type(error) as caught:
        return caught
    raise AssertionError


async def test_messages_stack_traces_and_details_of_failures_are_encrypted_and_come_back() -> None:
    converter = data_converter(cipher=cipher(K1))
    error = raised(ApplicationError(f"{CANARY} outside", {"detail": CANARY}, type="BROKEN"))
    failure = Failure()
    await converter.encode_failure(error, failure)
    assert CANARY.encode() not in failure.SerializeToString()
    assert (failure.message, failure.stack_trace, failure.application_failure_info.type) == (
        "Encoded failure",
        "",
        "BROKEN",
    )
    back = await converter.decode_failure(failure)
    assert isinstance(back, ApplicationError)
    assert (back.message, back.type, back.details) == (f"{CANARY} outside", "BROKEN", ({"detail": CANARY},))
    assert isinstance(back.cause, ApplicationError)
    assert f"{CANARY} inside" in back.cause.message
    assert back.failure is not None
    assert "in raised" in back.failure.stack_trace
    again = Failure()
    await converter.encode_failure(back, again)
    assert CANARY.encode() not in again.SerializeToString()


class Theirs(DefaultFailureConverter):
    """A failure converter of somebody else's, which knows nothing of encoded attributes."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        super().to_failure(exception, payload_converter, failure)
        failure.message = f"theirs: {failure.message}"


async def test_what_another_failure_converter_says_is_encrypted_too() -> None:
    theirs = DataConverter(failure_converter_class=Theirs)
    both = combined(data_converter(cipher=cipher(K1)), theirs)
    failure = Failure()
    await both.encode_failure(ApplicationError(CANARY), failure)
    assert CANARY.encode() not in failure.SerializeToString()
    assert str(await both.decode_failure(failure)) == f"theirs: {CANARY}"


async def test_a_failure_whose_key_is_missing_is_no_other_failure() -> None:
    failure = Failure()
    await data_converter(cipher=cipher(K1)).encode_failure(ApplicationError(CANARY, {"happened": True}), failure)
    with pytest.raises(EncryptionKeyMissing):
        await data_converter(cipher=cipher(K2)).decode_failure(failure)


def test_a_node_whose_input_needs_a_missing_key_waits_for_a_week() -> None:
    with pytest.raises(ApplicationError) as told, as_application_errors("node 'a'", elsewhere_seconds=1):
        raise EncryptionKeyMissing("the key 'k2' is missing")
    (detail,) = told.value.details
    assert (told.value.type, detail["elsewhere_seconds"]) == ("ENCRYPTION_KEY_MISSING", 7 * 86_400)


async def test_arguments_that_need_a_missing_key_are_told_by_its_code() -> None:
    converter = data_converter(cipher=cipher(K1))
    error = raised(ApplicationError("Failed decoding arguments"))
    error.__cause__ = EncryptionKeyMissing("the key 'k2' is missing")
    failure = Failure()
    await converter.encode_failure(error, failure)
    back = await converter.decode_failure(failure)
    assert isinstance(back, ApplicationError)
    assert (back.type, back.details[0]["elsewhere_seconds"]) == ("ENCRYPTION_KEY_MISSING", 7 * 86_400)


async def test_the_standard_codec_without_keys_only_compresses() -> None:
    given = payload()
    assert await standard_codec().encode([given]) == [given]


class Sink:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def publish(self, message: Any) -> None:
        self.sent.append(message)

    async def aclose(self) -> None:
        """Nothing is open."""


def message(body: bytes, **headers: str) -> Message:
    return Message(body=body, headers=headers, message_id="m1", position="t/1")


@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_an_encrypted_event_is_read_as_the_plain_one(form: Any) -> None:
    ours = cipher(K1)
    plain = message(encode_body(read_event(message(b'{"id":"e1","total":5}'), Reading()).context, form))
    sealed = message(ours.seal(plain.body, "event"), **ENCRYPTED)
    assert b"total" not in sealed.body
    opened, expected = read_event(sealed, Reading(cipher=ours)), read_event(plain, Reading(cipher=ours))
    assert (opened.id, opened.format, opened.context.data) == (expected.id, form, {"id": "e1", "total": 5})
    with pytest.raises(EncryptionKeyMissing):
        read_event(sealed, Reading())
    with pytest.raises(PlaintextRefused):
        read_event(plain, Reading(cipher=cipher(K1, strict=True)))


def test_a_dead_letter_shows_neither_its_body_nor_its_reason() -> None:
    sink, ours = Sink(), cipher(K1)
    publisher = Publisher(sink, cipher=ours)
    asyncio.run(publisher.dead_letter(message(CANARY.encode()), "t.dead", "g", NodeError(f"not {CANARY}")))
    (letter,) = sink.sent
    assert CANARY not in str(letter.headers)
    assert (ours.open(letter.body, "event"), letter.headers["Content-Encoding"]) == (
        CANARY.encode(),
        "anabranch-encrypted",
    )
    assert letter.headers["Anabranch-Error-Code"] == "NODE_FAILED"
