"""Our data converter over one that the client has already."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.api.sdk.v1.external_storage_pb2 import ExternalStorageReference
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.converter import (
    DataConverter,
    ExternalStorage,
    FailureConverter,
    JSONProtoPayloadConverter,
    PayloadCodec,
    PayloadConverter,
    StorageDriver,
)

from anabranch.context.changes import ChangeSet
from anabranch.errors import ConfigurationError, Unavailable, WireFormatError
from anabranch.transport.combined import carries_wire_types, combined
from anabranch.transport.converter import ContextFormat, data_converter
from tests.json_values import unchecked

CHANGES = ChangeSet(3, {("paid",): True}, (), "pay", 7)


class Parcel(BaseModel):
    grams: int


class Reversing(PayloadCodec):
    """Stands for a codec that encrypts: what it has encoded nobody else can read, or compress."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload(metadata={"encoding": b"reversed"}, data=each.SerializeToString()[::-1]) for each in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload.FromString(each.data[::-1]) for each in payloads]


class Failures(FailureConverter):
    """Stands for one that keeps messages from the history."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        failure.message = f"theirs: {exception}"

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        return ValueError(f"theirs: {failure.message}")


def test_the_stock_converter_gives_way_to_ours() -> None:
    ours = data_converter()
    both = combined(ours, DataConverter.default)
    assert both.payload_converter_class is ours.payload_converter_class
    assert both.payload_codec is ours.payload_codec


@pytest.mark.parametrize("context_format", ["msgpack", "json"])
def test_their_models_and_our_wire_types_pass_by_one_converter(context_format: ContextFormat) -> None:
    ours = data_converter(context_format)
    both = combined(ours, pydantic_data_converter).payload_converter
    payloads = both.to_payloads([Parcel(grams=3), CHANGES, {"plain": [1]}])
    stock = PydanticPayloadConverter()
    assert payloads == [
        stock.to_payload(Parcel(grams=3)),
        ours.payload_converter.to_payload(CHANGES),
        stock.to_payload({"plain": [1]}),
    ]
    hints: list[Any] = [Parcel, ChangeSet, dict]
    assert both.from_payloads(payloads, hints) == [Parcel(grams=3), CHANGES, {"plain": [1]}]
    assert both.from_payloads(payloads[:1]) == [{"grams": 3}]


def test_a_failure_converter_of_theirs_stays() -> None:
    theirs = dataclasses.replace(DataConverter.default, failure_converter_class=Failures)
    both = combined(data_converter(), theirs)
    failure, back = Failure(), Failure(message="broken")
    both.failure_converter.to_failure(ValueError("wrong"), both.payload_converter, failure)
    assert failure == Failure(message="theirs: wrong")
    assert str(both.failure_converter.from_failure(back, both.payload_converter)) == "theirs: broken"


class Keyed(Reversing):
    """A codec that knows corrupt bytes from a key that it does not have yet."""

    has_key = True

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        if not self.has_key:
            raise ConnectionError("the keys are not there yet")
        if any(each.data == b"corrupt" for each in payloads):
            raise WireFormatError("this is not one of ours")
        return await super().decode(payloads)


async def test_what_their_codec_can_never_decode_is_handed_on_and_hides_no_other() -> None:
    codec = Keyed()
    both = combined(data_converter(), dataclasses.replace(DataConverter.default, payload_codec=codec))
    (good,) = await both.encode([{"a": 1}])
    corrupt = Payload(metadata={"encoding": b"reversed"}, data=b"corrupt")
    first, second = await unchecked(both.payload_codec).decode([good, corrupt])
    assert both.payload_converter.from_payload(first) == {"a": 1}
    with pytest.raises(WireFormatError, match="this is not one of ours"):
        both.payload_converter.from_payload(second)
    codec.has_key = False
    with pytest.raises(ConnectionError):
        await both.decode([good])


@dataclasses.dataclass(frozen=True)
class Theirs(DataConverter):
    note: str = ""


async def test_a_data_converter_of_a_class_of_theirs_keeps_its_class_and_its_fields() -> None:
    both = combined(data_converter(), Theirs(note="kept"))
    assert isinstance(both, Theirs)
    assert both.note == "kept"
    with pytest.raises(Unavailable, match="a store that this worker does not have"):
        await both.decode([reference("elsewhere")])


def reference(driver: str, **claim: str) -> Payload:
    """What stands in a history for a payload in a store."""
    payload = JSONProtoPayloadConverter().to_payload(ExternalStorageReference(driver_name=driver, claim_data=claim))
    assert payload is not None
    return payload


async def test_their_codec_comes_after_the_compression() -> None:
    theirs = dataclasses.replace(DataConverter.default, payload_codec=Reversing())
    both = combined(data_converter(), theirs)
    large = ChangeSet(0, {("text",): "x" * 50_000})
    (payload,) = await both.encode([large])
    assert payload.metadata["encoding"] == b"reversed"
    assert len(payload.data) < 1000
    assert await both.decode([payload], [ChangeSet]) == [large]


async def test_what_their_codec_encoded_before_is_still_read() -> None:
    theirs = dataclasses.replace(DataConverter.default, payload_codec=Reversing())
    payloads = await theirs.encode([{"a": 1}])
    assert await combined(data_converter(), theirs).decode(payloads) == [{"a": 1}]


class Drive(StorageDriver):
    def name(self) -> str:
        return "drive"

    async def store(self, context: Any, payloads: Any) -> Any:
        raise NotImplementedError

    async def retrieve(self, context: Any, claims: Any) -> Any:
        raise NotImplementedError


def test_two_stores_for_large_payloads_are_refused() -> None:
    storage = ExternalStorage(drivers=[Drive()])
    theirs = dataclasses.replace(DataConverter.default, external_storage=storage)
    assert combined(data_converter(), theirs).external_storage is storage
    with pytest.raises(ConfigurationError, match="PAYLOAD_STORE_URL, and the `external_storage`"):
        combined(data_converter(storage=storage), theirs)


def test_a_converter_that_carries_wire_types_already_stays_as_it_is() -> None:
    for theirs in (data_converter(), data_converter("json"), combined(data_converter(), pydantic_data_converter)):
        assert carries_wire_types(theirs)
        assert combined(data_converter(), theirs) is theirs
    assert not carries_wire_types(pydantic_data_converter)


def test_json_that_people_give_is_decoded_by_their_converter() -> None:
    both = combined(data_converter(), pydantic_data_converter).payload_converter
    payload = Payload(metadata={"encoding": b"json/plain"}, data=json.dumps({"grams": 5}).encode())
    assert both.from_payload(payload, Parcel) == Parcel(grams=5)
