"""The metadata of a call, with the secrets that it names, and what of an answer's metadata is told."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from anabranch.activities.grpc.target import Target
from anabranch.activities.http.secrets import HttpSecrets
from anabranch.activities.rendering import render
from anabranch.context.values import Json
from anabranch.errors import NodeError
from anabranch.graph.model import GrpcNode
from anabranch.masking import Mask, credentials
from anabranch.transport.node_protocol import NodeTask

Pairs: TypeAlias = "tuple[tuple[str, str | bytes], ...]"
_KEY: Final = re.compile(r"[0-9a-z_.-]+", re.ASCII)
_OWN: Final = frozenset({"te", "host", "content-type", "user-agent", "connection"})
_BINARY: Final = "-bin"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is sent beside a request, and how its secrets are masked in the answer."""

    pairs: Pairs
    used: list[str] = field(default_factory=list, repr=False)
    """The secrets that are sent, and their parts."""

    @property
    def mask(self) -> Mask:
        """Masks the secrets that are sent."""
        return Mask(self.used)


async def metadata_of(task: NodeTask, node: GrpcNode, target: Target, secrets: HttpSecrets) -> Metadata:
    """The node's own metadata. Raises NodeError; ConfigurationError for a secret that the target may not get."""
    pairs: list[tuple[str, str | bytes]] = []
    used: list[str] = []
    for name, template in node.metadata.items():
        value: Json = secrets.resolved(template, target.url)
        if value is None:
            value = await render(template, task)
        else:
            used += credentials(str(value))
        pairs.append(_pair(name.lower(), value))
    return Metadata(tuple(pairs), used)


def told(pairs: Iterable[tuple[str, str | bytes]], mask: Mask) -> dict[str, Json]:
    """What a server sent beside its answer: masked, and bytes in Base64."""
    found: dict[str, Json] = {}
    for name, value in pairs:
        text = value if isinstance(value, str) else base64.b64encode(value).decode()
        found[mask.text(name)] = mask.text(text)
    return found


def _pair(name: str, value: Json) -> tuple[str, str | bytes]:
    if not _KEY.fullmatch(name) or name in _OWN or name.startswith("grpc-"):
        raise NodeError(f"{name!r} is not a key of metadata that a node may send")
    if value is None or isinstance(value, dict | list):
        raise NodeError(f"the metadata {name!r} is not a plain value; it must be text, a number or a boolean")
    text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)
    if name.endswith(_BINARY):
        try:
            return name, base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise NodeError(f"the metadata {name!r} is not Base64, which keys on {_BINARY} must be") from None
    if not text.isascii() or not text.isprintable():
        raise NodeError(f"the metadata {name!r} has a line break or another character that metadata may not have")
    return name, text
