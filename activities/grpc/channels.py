"""Open channels of a worker: to the addresses that were checked, and no others, by the name that was asked for."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from anabranch.activities.grpc.certificates import certificates
from anabranch.activities.grpc.library import aio, grpc
from anabranch.activities.grpc.target import Target
from anabranch.errors import Unavailable

_KEPT_OPEN: Final = 32
_IDLE_MILLISECONDS: Final = 30_000
_OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),  # a graph's request uses no proxy of the worker's environment
    ("grpc.enable_retries", 0),  # retries are the node's, and recorded
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel does not wait for what an old one has failed at
    ("grpc.max_send_message_length", -1),
    ("grpc.client_idle_timeout_ms", _IDLE_MILLISECONDS),
    ("grpc.primary_user_agent", "anabranch"),
)
_Key: TypeAlias = "tuple[Target, tuple[str, ...]]"


@dataclass(slots=True)
class _Open:
    channel: aio.Channel
    users: int = 0
    is_broken: bool = False


class Channels:
    """One channel for each target and its addresses, shared by the calls that are made at the time."""

    def __init__(self, environ: Mapping[str, str], max_bytes: int) -> None:
        self._environ = environ
        self._max_bytes = max_bytes
        self._open: OrderedDict[_Key, _Open] = OrderedDict()

    @asynccontextmanager
    async def to(self, target: Target, addresses: Sequence[str]) -> AsyncGenerator[aio.Channel]:
        """A channel to these addresses. One that was not available is not used again."""
        key = (target, tuple(addresses))
        if (found := self._open.get(key)) is None:
            roots = await self._roots(target)
            found = self._open.get(key) or self._opened(key, roots)
        self._open.move_to_end(key)
        found.users += 1
        try:
            yield found.channel
        except Unavailable:
            found.is_broken = True
            raise
        finally:
            found.users -= 1
            await self._tidy(key, found)

    async def aclose(self) -> None:
        """Close all channels."""
        while self._open:
            _, each = self._open.popitem()
            await each.channel.close()

    def _opened(self, key: _Key, roots: bytes | None) -> _Open:
        target, addresses = key
        options = (
            *_OPTIONS,
            ("grpc.max_receive_message_length", self._max_bytes),
            ("grpc.default_authority", str(target)),
            ("grpc.ssl_target_name_override", target.host),  # the name that the certificate must have
        )
        where = _as_addresses(addresses, target.port)
        if target.tls:
            channel = aio.secure_channel(where, grpc.ssl_channel_credentials(roots), options)
        else:
            channel = aio.insecure_channel(where, options)
        self._open[key] = made = _Open(channel)
        return made

    async def _tidy(self, key: _Key, used: _Open) -> None:
        """Close what is broken and what has been unused for longest; never what somebody uses."""
        if used.is_broken and self._open.get(key) is used:
            del self._open[key]
        leaving = [used] if used.is_broken and not used.users else []
        for each in [each for each, opened in self._open.items() if not opened.users]:
            if len(self._open) <= _KEPT_OPEN:
                break
            leaving.append(self._open.pop(each))
        for opened in leaving:
            await opened.channel.close()

    async def _roots(self, target: Target) -> bytes | None:
        if not target.tls:
            return None
        if target.ca is None:
            return await asyncio.to_thread(_system_roots)
        return await asyncio.to_thread(certificates, self._environ, target.ca)


def _system_roots() -> bytes | None:
    """The certificates that the system trusts (SSL_CERT_FILE); None: those that gRPC brings."""
    file = ssl.get_default_verify_paths().cafile
    return Path(file).read_bytes() if file is not None and os.access(file, os.R_OK) else None


def _as_addresses(addresses: Sequence[str], port: int) -> str:
    """The addresses in gRPC's form. It takes those of one family only: IPv4 where there are any."""
    old = [address for address in addresses if ":" not in address]
    if old:
        return "ipv4:" + ",".join(f"{address}:{port}" for address in old)
    return "ipv6:" + ",".join(f"[{address.replace('%', '%25')}]:{port}" for address in addresses)
