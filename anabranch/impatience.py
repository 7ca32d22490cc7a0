"""A server's connection that does not wait for ever: uvicorn bounds only the pause between two requests."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from anabranch.limits import Patience


class Impatient(H11Protocol):
    """A connection that is aborted for what its `patience` does not bear.

    It is not closed: to close, a transport waits until its client has read everything.
    """

    patience: ClassVar[Patience]
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """One connection too many is refused."""
        super().connection_made(transport)
        if len(self.connections) > self.patience.connections:
            transport.abort()
        else:
            self._abort_in(self.patience.head)

    def data_received(self, data: bytes) -> None:
        """The app bounds a request from its head on."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._timer is None:
            self._abort_in(self.patience.head)

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._abort_in(self.patience.reading)

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        self._stop()
        super().connection_lost(exc)

    def _abort_in(self, seconds: float) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def impatient(patience: Patience) -> type[Impatient]:
    """The class of the connections of one server."""
    return type("Impatient", (Impatient,), {"patience": patience})
