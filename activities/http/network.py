"""The network of `http` and `grpc` nodes: public addresses only, unless the worker allows private ones.

The check is on the *resolved* address, at the moment of connecting and to exactly the address that was checked, so
neither a name that points inside, nor one that changes its answer in between (DNS rebinding), nor an odd spelling
gets through.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import cast

import httpcore2
import httpx2

from anabranch.activities.http.names import HostNames
from anabranch.errors import NodeError

_KEPT_OPEN = 20
_KEPT_SECONDS = 5.0
_NAT64 = IPv6Network("64:ff9b::/96")
_IETF = IPv4Network("192.0.0.0/24")
"""For protocols (RFC 6890), among them a cloud's metadata service. Older `ipaddress` calls most of it global."""
_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All unicast addresses that are assigned (RFC 4291). `ipaddress` calls others global too: site-local ones, and those
of a local NAT64 (RFC 8215), which leads to private IPv4 addresses."""


@cache
def tls_context() -> ssl.SSLContext:
    """The worker's one TLS configuration: reading the trusted certificates takes 0.2 s."""
    return httpx2.create_ssl_context()


def is_public(address: str) -> bool:
    """True for a unicast address of the public internet; what an IPv6 address wraps counts."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address) and (wrapped := _wrapped(ip)) is not None:
        ip = wrapped
    if not ip.is_global or ip.is_multicast:
        return False
    return ip not in _IETF if isinstance(ip, IPv4Address) else ip in _GLOBAL_UNICAST


def _wrapped(ip: IPv6Address) -> IPv4Address | None:
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


def allowed_addresses(host: str, found: list[str], *, public_only: bool, node_type: str = "http") -> list[str]:
    """Addresses of a host that a node may call: where `public_only` the public ones. Raises NodeError for none."""
    if not public_only:
        return found
    if public := [address for address in found if is_public(address)]:
        return public
    raise NodeError(
        f"the host {host!r} is at a private, loopback, link-local or reserved address, where `{node_type}` nodes may"
        " not go",
        suggestion="call public hosts only, or set HTTP_ALLOW_PRIVATE=true on the worker",
    )


class NodeNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to the first address of a host that answers, where `public_only` among its public ones."""

    def __init__(self, names: HostNames, *, public_only: bool) -> None:
        self._names = names
        self._public_only = public_only
        self._network = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore2's
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, check, and connect to what was checked. Raises NodeError where no address is public."""
        failure: Exception = httpcore2.ConnectError("no address")
        for address in await self._addresses(host, port, timeout):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        """Wait between the pool's attempts."""
        await self._network.sleep(seconds)

    async def _addresses(self, host: str, port: int, seconds: float | None) -> list[str]:
        try:
            async with asyncio.timeout(seconds):
                found = await self._names.addresses(host, port)
        except TimeoutError:
            raise httpcore2.ConnectTimeout(f"the name does not resolve within {seconds} s") from None
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(f"the name does not resolve: {error}") from None
        return allowed_addresses(host, found, public_only=self._public_only)


class NodeTransport(httpx2.AsyncHTTPTransport):
    """The client's own transport over `NodeNetwork`."""

    def __init__(self, *, public_only: bool) -> None:
        super().__init__(verify=tls_context())
        self._names = HostNames()
        network = NodeNetwork(self._names, public_only=public_only)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls_context(),
            network_backend=network,
            max_connections=None,  # the worker bounds its activities; ten, the default, wait for ten slow hosts
            max_keepalive_connections=_KEPT_OPEN,
            keepalive_expiry=_KEPT_SECONDS,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await super().aclose()
        self._names.close()
