"""Host names of `http` and `grpc` nodes, looked up in threads of their own.

A name that nobody answers for keeps only these waiting.

The system's resolver blocks for seconds. In the threads that an event loop shares, a few such names would keep graphs
from being loaded and everything else from going on.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Final

_THREADS: Final = 32


class HostNames:
    """The resolver of one client. A name is looked up once for all who ask for it at the time."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="dns")
        self._under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host. Raises OSError, UnicodeError for a label that host names cannot have."""
        key = (host, port)
        if (lookup := self._under_way.get(key)) is None:
            lookup = asyncio.get_running_loop().run_in_executor(self._threads, _looked_up, host, port)
            self._under_way[key] = lookup
            lookup.add_done_callback(lambda done: self._over(key, done))
        return list(await asyncio.shield(lookup))

    def close(self) -> None:
        """Start no more lookups; those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _over(self, key: tuple[str, int], done: asyncio.Future[list[str]]) -> None:
        del self._under_way[key]
        if not done.cancelled():
            done.exception()  # seen, also where nobody waits for it any more


def _looked_up(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
