"""A broker's message as an event: its id, the context that it carries, its trace. Everything else is poison."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Literal

from anabranch.brokers.source import Message
from anabranch.cipher import Cipher, open_plain
from anabranch.context.distributed import DistributedContext
from anabranch.context.propagation import extract
from anabranch.context.values import Json, Path
from anabranch.context.wire import decode_json
from anabranch.errors import InputError, PlaintextRefused, SizeLimitExceeded
from anabranch.limits import MAX_CONTEXT_SIZE_BYTES

Format = Literal["json", "msgpack"]
CONTENT_TYPES: Final[dict[Format, str]] = {"json": "application/json", "msgpack": "application/msgpack"}
ENCRYPTED: Final = {"Content-Encoding": "anabranch-encrypted"}
"""The header of a message whose body is encrypted; its other headers are not."""
LABEL: Final = "event"
MAX_ID_CHARACTERS: Final = 256
_MSGPACK_TYPES: Final = frozenset({"application/msgpack", "application/x-msgpack", "application/vnd.msgpack"})
_CONTEXT_ARRAY: Final = b"\x93"
"""How the MessagePack of a context begins: an array of three. No JSON text begins so."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How events are read: the header and the path in JSON that hold the id, the limit of the body, the keys."""

    id_header: str = "Anabranch-Event-Id"
    id_field: Path = ("id",)
    max_bytes: int = MAX_CONTEXT_SIZE_BYTES
    cipher: Cipher | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """The content of a message. `id` is the same however often it is delivered."""

    id: str
    context: DistributedContext
    format: Format
    trace: dict[str, str]


def read_event(message: Message, reading: Reading) -> Event:
    """The event of a message.

    A context that comes in the header `Anabranch-Context` lies under the members of a JSON body. Raises InputError,
    WireFormatError, SizeLimitExceeded and PlaintextRefused for poison: a message that no redelivery will fix; and
    EncryptionKeyMissing.
    """
    body = _opened(message.body, reading)
    if len(body) > reading.max_bytes:
        raise SizeLimitExceeded(
            f"the event has {len(body)} bytes, over the limit of {reading.max_bytes}",
            suggestion="send a reference instead of the content, or raise MAX_CONTEXT_SIZE_BYTES",
        )
    carried = extract(message.headers)
    if carried.context is not None and reading.cipher is not None and reading.cipher.strict:
        raise PlaintextRefused("the context in a header is not encrypted", suggestion="send it as the body")
    form = _format(message, body)
    if form == "msgpack":
        context = DistributedContext.deserialize(body, max_bytes=reading.max_bytes)
        own_id: Json = f"{context.session_id}@{context.metadata.version}"
    else:
        data = decode_json(body, max_bytes=reading.max_bytes)
        own_id = _at(data, reading.id_field)
        context = DistributedContext("", data) if carried.context is None else carried.context
        if carried.context is not None:
            context.merge(data)
    event_id = _event_id(message, reading, own_id)
    context.session_id = context.session_id or event_id
    return Event(event_id, context, form, dict(carried.trace))


def encode_body(context: DistributedContext, form: Format, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> bytes:
    """The body of an event: the context's data as JSON, or the whole context as MessagePack.

    Raises WireFormatError and SizeLimitExceeded.
    """
    packed = context.serialize(max_bytes=max_bytes)
    if form == "msgpack":
        return packed
    return json.dumps(context.data, ensure_ascii=False, separators=(",", ":")).encode()


def _opened(body: bytes, reading: Reading) -> bytes:
    return open_plain(body, LABEL) if reading.cipher is None else reading.cipher.open(body, LABEL)


def _format(message: Message, body: bytes) -> Format:
    declared = next((value for name, value in message.headers.items() if name.lower() == "content-type"), "")
    media_type = declared.partition(";")[0].strip().lower()
    if media_type in _MSGPACK_TYPES:
        return "msgpack"
    if media_type == "application/json" or media_type.endswith("+json"):
        return "json"
    return "msgpack" if body.startswith(_CONTEXT_ARRAY) else "json"


def _at(data: Json, path: Path) -> Json:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _event_id(message: Message, reading: Reading, own_id: Json) -> str:
    headers = {name.lower(): value for name, value in message.headers.items()}
    for found in (headers.get(reading.id_header.lower()), own_id, message.message_id, message.identity):
        if found is not None and found != "":
            return _checked_id(found)
    raise InputError("the event has no id, and no position either")


def _checked_id(found: Json) -> str:
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise InputError(f"the event's id is of type {type(found).__name__}", suggestion="an id is text or an integer")
    text = str(found)
    if len(text) > MAX_ID_CHARACTERS or not text.isprintable():
        raise InputError(
            f"{text[:40]!r}… is not an event id",
            suggestion=f"an id is at most {MAX_ID_CHARACTERS} printable characters",
        )
    return text
