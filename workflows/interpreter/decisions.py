"""What people and services told a run, by name: who answered, settled, retried, paused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from anabranch.context.values import Json

Did = Literal["answered", "settled", "retried", "skipped", "failed", "paused", "resumed", "delivered"]
RUN: Final = "(run)"
"""The place of what is decided about the whole run. No node's address begins with a bracket."""
MAX_DECISIONS: Final = 200
"""Of how many places the newest decision is kept. The audit trail and the history have more."""


class Decision(NamedTuple):
    """What somebody told a run, and the name that came with it. The run has no proof of it."""

    did: Did
    by: str

    def described(self) -> dict[str, Json]:
        """As JSON for people."""
        return {"did": self.did, "by": self.by}


class Decisions:
    """The newest decision at each address, the newest last."""

    def __init__(self) -> None:
        self.newest: dict[str, Decision] = {}

    def note(self, address: str, did: Did, by: str | None) -> None:
        """Somebody told the run something there. Where no name came with it, nobody's is shown any more."""
        self.newest.pop(address, None)
        if by is not None:
            self.newest[address] = Decision(did, by)
            if len(self.newest) > MAX_DECISIONS:
                del self.newest[next(iter(self.newest))]

    def answered_by(self, address: str) -> str | None:
        """Who gave the answer that a node at an address writes."""
        found = self.newest.get(address)
        return found.by if found is not None and found.did == "answered" else None

    def described(self) -> dict[str, Json]:
        """As JSON for people, by address."""
        return {address: each.described() for address, each in self.newest.items()}

    def dump(self) -> dict[str, list[str]]:
        """For continue-as-new."""
        return {address: [*each] for address, each in self.newest.items()}

    def load(self, dumped: Mapping[str, tuple[Did, str]]) -> None:
        """The inverse of `dump`."""
        self.newest = {address: Decision(did, by) for address, (did, by) in dumped.items()}
