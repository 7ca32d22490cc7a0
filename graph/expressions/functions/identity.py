"""Fingerprints and ids that are made of values, and so the same wherever they are made."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any, Final

from anabranch.context.values import Json
from anabranch.graph.expressions.cel_result import as_json
from anabranch.graph.expressions.cel_values import INT_END, INT_MIN
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.functions.function import Function

_NAMESPACE: Final = uuid.UUID("6f1f8d0c-3a5e-5d0b-9c56-0b2f6a7d9e41")
"""Of the ids of `uuid`. Another one would change them all."""
_BASE, _CHARACTERS = 40, 32
"""Units of a digest, and how many characters of its text are another one."""


def fingerprint(cost: Cost, value: Any) -> str:
    """The SHA-256 of a value, in hexadecimal."""
    return hashlib.sha256(_bytes(cost, value)).hexdigest()


def unique_id(cost: Cost, seed: Any) -> str:
    """A UUID, the same one for the same seed (version 5 of RFC 9562)."""
    digest = hashlib.sha1(_NAMESPACE.bytes + _bytes(cost, seed), usedforsecurity=False).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))


def _bytes(cost: Cost, value: Any) -> bytes:
    """A text as UTF-8; any other value as compact JSON in which equal values are written alike."""
    text = value if type(value) is str else _canonical(as_json(value, cost))
    cost.build(len(text))
    cost.spend(_BASE + len(text) // _CHARACTERS)
    return text.encode()


def _canonical(value: Json) -> str:
    return json.dumps(_alike(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _alike(value: Json) -> Json:
    """The value with each whole float as the integer that it equals."""
    if isinstance(value, float) and value.is_integer() and INT_MIN <= value < INT_END:
        return int(value)
    if isinstance(value, list):
        return [_alike(each) for each in value]
    if isinstance(value, dict):
        return {key: _alike(each) for key, each in value.items()}
    return value


IDENTITY: Final = (
    Function(
        "hash",
        ("hash(value: any) -> text",),
        "The SHA-256 in hexadecimal: of a text its UTF-8, of any other value its compact JSON with sorted keys. "
        "Equal values have the same.",
        (
            'hash("tea") => "' + hashlib.sha256(b"tea").hexdigest() + '"',
            "hash({'a': 1, 'b': 2}) == hash({'b': 2.0, 'a': 1}) => true",
        ),
        fingerprint,
        own=True,
    ),
    Function(
        "uuid",
        ("uuid(seed: any) -> text",),
        "A UUID, always the same one for the same seed. "
        "`uuid(run.id)` is one for the run, `uuid([run.id, line.sku])` one for a line of it.",
        ('uuid("order-1") => "1f8d5050-29cb-5952-9638-87cff69e6e4c"', 'uuid("order-1") == uuid("order-2") => false'),
        unique_id,
        own=True,
    ),
)
