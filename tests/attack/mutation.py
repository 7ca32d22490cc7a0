"""Changes to payloads: of bytes, of the JSON or MessagePack that they hold, of metadata, and around all of it zstd."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import msgpack
from temporalio.api.common.v1 import Payload

from tests.zstandard import zstd

ATOMS: list[Any] = [
    None,
    True,
    -1,
    0,
    2**53 + 1,
    2**63,
    2**64 - 1,
    1.5,
    -0.0,
    1e308,
    "",
    "agree",
    "price",
    "a.b..c",
    "a\\.b",
    '"',
    "\0",
    "\u202e",
    "../../etc/passwd",
    "{{ env }}",
    "__class__",
    "`<img src=x onerror=alert(1)>`",
    "x" * 5000,
    [],
    {},
    [[]],
    {"": 1},
    {".": 1},
    {"a" * 3000: 1},
    {"run": 1, "context": 2},
    ["price"],
    {"price": {"a": {"b": 1}}},
    list(range(3000)),
]
_BYTES = [
    b"\x00",
    b"\xff",
    b"\xc1",
    b"\xc4\x01a",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\x91" * 200,
    b"[" * 5000,
    b'{"a":' * 2000,
    b"NaN",
    b"Infinity",
    b"1e999",
    b'"\\ud800"',
    b"\xed\xa0\x80",
    b"9" * 5000,
]
_ENCODINGS = [
    b"json/plain",
    b"binary/msgpack",
    b"binary/zstd",
    b"binary/null",
    b"binary/plain",
    b"",
    b"\xff",
    b"foo/bar",
    b"json/protobuf",
    b"binary/protobuf",
    b"binary/undecodable",
    b"json/external-storage-reference",
]
_NAMES = [b"NodeTask", b"ChangeSet", b"GraphRequest", b"PinnedGraph", b"DistributedContext", b"os.system", b"\xff", b""]


def mutated(payload: Payload, other: Payload, rng: random.Random) -> Payload:
    """A payload with one to four changes; parts may come from another one."""
    changed = Payload(metadata=dict(payload.metadata), data=payload.data)
    for _ in range(rng.randint(1, 4)):
        rng.choice(_CHANGES)(changed, other, rng)
    return changed


def shown(payload: Payload) -> str:
    """The payload in a finding, short."""
    metadata = {name: bytes(value) for name, value in payload.metadata.items()}
    return f"{metadata} {base64.b64encode(payload.data[:240]).decode()}"


def _bytes(changed: Payload, other: Payload, rng: random.Random) -> None:
    data, size = changed.data, len(changed.data)
    start = rng.randint(0, size)
    end = min(size, start + rng.choice((0, 1, 1, 2, 8, 64)))
    instead = rng.choice([rng.randbytes(rng.randint(0, 3)), rng.choice(_BYTES), other.data[start:end], b""])
    changed.data = data[:start] + instead + data[end:]


def _cut(changed: Payload, _: Payload, rng: random.Random) -> None:
    changed.data = changed.data[: rng.randint(0, len(changed.data))]


def _splice(changed: Payload, other: Payload, rng: random.Random) -> None:
    changed.data = changed.data[: rng.randint(0, len(changed.data))] + other.data[rng.randint(0, len(other.data)) :]


def _metadata(changed: Payload, _: Payload, rng: random.Random) -> None:
    name, values = rng.choice([("encoding", _ENCODINGS), ("anabranch-type", _NAMES), ("messageType", _NAMES)])
    if rng.random() < 0.1:
        changed.metadata.pop(name, None)
    else:
        changed.metadata[name] = rng.choice(values)


def _value(changed: Payload, other: Payload, rng: random.Random) -> None:
    """Another value somewhere within what the payload holds."""
    try:
        if changed.metadata.get("encoding") == b"binary/msgpack":
            changed.data = msgpack.packb(_replaced(msgpack.unpackb(changed.data), rng)) or b""
        else:
            changed.data = json.dumps(_replaced(json.loads(changed.data), rng)).encode()
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException):
        _bytes(changed, other, rng)


def _replaced(value: Any, rng: random.Random, depth: int = 0) -> Any:
    if depth < 8 and isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        inner = _replaced(value[key], rng, depth + 1)
        rest = {name: each for name, each in value.items() if name != key or rng.random() < 0.9}
        return {**rest, rng.choice([key, key, key, "zzz", "", "a.b"]): inner}
    if depth < 8 and isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        inner = [_replaced(value[at], rng, depth + 1)]
        return [*value[:at], *rng.choice([inner, inner, inner, [], inner * 2]), *value[at + 1 :]]
    return rng.choice(ATOMS)


def _compressed(changed: Payload, _: Payload, rng: random.Random) -> None:
    changed.data = zstd.compress(changed.SerializeToString(), 1)
    changed.metadata.clear()
    changed.metadata["encoding"] = b"binary/zstd"
    if rng.random() < 0.5:
        _bytes(changed, changed, rng)


_CHANGES = [_bytes, _bytes, _value, _value, _value, _value, _cut, _splice, _metadata, _compressed]
