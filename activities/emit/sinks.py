"""The brokers that this worker's graphs name: one sink per connection URL, opened at first use.

A graph names an environment variable, never the URL. Nothing of the URL appears in an error, a log or the history.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence

from anabranch.brokers.address import Address, parse_broker
from anabranch.brokers.open import open_sink
from anabranch.brokers.source import EventSink
from anabranch.errors import ConfigurationError
from anabranch.settings import may_open


class Sinks:
    """Opens sinks by the names of environment variables; `aclose` closes them all. `names` are those that may be."""

    def __init__(self, environ: Mapping[str, str] | None = None, *, names: Sequence[str] = ("*",)) -> None:
        self._environ = os.environ if environ is None else environ
        self._names = names
        self._open: dict[tuple[str, str], EventSink] = {}
        self._opening: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        """One for each broker: one that does not answer keeps nobody from another."""

    def address(self, variable: str) -> Address:
        """The broker that a variable names now. Raises ConfigurationError: a graph learns of no other variable."""
        url = self._environ.get(variable, "") if may_open(variable, self._names) else ""
        if not url:
            raise ConfigurationError(
                f"this worker has no connection {variable} for graphs",
                suggestion=f"set {variable} in the worker's environment, e.g. to nats://host:4222 or kafka://host:9092,"
                " and list it in ANABRANCH_CONNECTIONS",
            )
        return parse_broker(url, variable)

    async def get(self, variable: str, kind: str) -> EventSink:
        """The sink of a broker of this kind. Raises ConfigurationError, Unavailable."""
        address = self.address(variable)
        if address.broker != kind:
            raise ConfigurationError(
                f"the connection {variable} leads to {address.broker}, and the node publishes to {kind}",
                suggestion=f"write `to: {address.broker}`, or name another connection",
            )
        name = (variable, self._environ.get(variable, ""))
        async with self._opening[name]:
            if name not in self._open:
                self._open[name] = await open_sink(address, [], create=False)
            return self._open[name]

    async def aclose(self) -> None:
        """Leave every broker."""
        while self._open:
            _, sink = self._open.popitem()
            await sink.aclose()
