"""The names by which this machine reaches itself. A page of another name that leads here (DNS rebinding) is refused."""

from __future__ import annotations

from typing import Final

LOOPBACK_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")
