"""Where a `grpc` node calls: a host, a port, and whether the connection is encrypted."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

import httpx2

from anabranch.context.values import Json
from anabranch.errors import NodeError
from anabranch.graph.kinds.grpc import TARGET
from anabranch.graph.parts import GrpcTls

_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Target:
    """A server of gRPC, by the name that its certificate must have."""

    host: str
    """In ASCII, without the brackets of an IPv6 address."""
    port: int
    tls: bool
    ca: str | None = None
    """The variable with the certificates that are trusted; None: those of the system."""

    @classmethod
    def of(cls, value: Json, tls: bool | GrpcTls | None) -> Target:
        """The target that a node names. Raises NodeError."""
        parts = TARGET.fullmatch(value) if isinstance(value, str) else None
        if parts is None or not 0 < int(parts[2]) <= _MAX_PORT:
            raise NodeError(
                "the `target` is not a host and a port", suggestion="write it as prices.example:443, without a scheme"
            )
        try:
            host = httpx2.URL(f"https://{parts[1]}/").raw_host.decode("ascii").strip("[]")
        except httpx2.InvalidURL:
            raise NodeError("the `target` has a host that is not a host's name or address") from None
        is_encrypted = not _is_loopback(host) if tls is None else tls is not False
        return cls(host, int(parts[2]), is_encrypted, tls.ca if isinstance(tls, GrpcTls) else None)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> httpx2.URL:
        """As the hosts are listed that may get a secret."""
        return httpx2.URL(f"{'https' if self.tls else 'http'}://{self}/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
