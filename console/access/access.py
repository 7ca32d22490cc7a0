"""Who may use the console: everybody who reaches it, or who has a token."""

from __future__ import annotations

from dataclasses import dataclass, replace

from anabranch.console.access.caller import Caller, Role
from anabranch.console.access.issuer import Issuer, invalid
from anabranch.console.access.tokens import Tokens
from anabranch.console.hosts import LOOPBACK_HOSTS
from anabranch.console.refusal import Refused
from anabranch.errors import InputError
from anabranch.workflows.interpreter.writers import outsider


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what. Without tokens and issuer everybody is an operator, by the name that they give or `login`."""

    tokens: Tokens | None = None
    issuer: Issuer | None = None
    hosts: tuple[str, ...] = LOOPBACK_HOSTS
    """The names that a request may call the console by."""
    read_only: bool = False
    """Whether everybody is a viewer."""
    login: str = "unnamed"

    @property
    def asks(self) -> bool:
        """Whether people have to sign in."""
        return self.tokens is not None or self.issuer is not None

    async def caller(self, token: str | None, name: str | None = None) -> Caller:
        """Who sends a request with a token, or under a name. Raises Refused, Unavailable."""
        caller = await self._signed_in(token) if self.asks else Caller(_name(name) or self.login, Role.OPERATOR)
        return replace(caller, role=Role.VIEWER) if self.read_only else caller

    async def _signed_in(self, token: str | None) -> Caller:
        if not token:
            raise Refused(401, "NOT_SIGNED_IN", "nobody is signed in", suggestion="sign in with a token")
        if self.tokens is not None and (found := self.tokens.caller(token)) is not None:
            return found
        if self.issuer is None:
            raise invalid()
        return await self.issuer.caller(token)


def _name(given: str | None) -> str | None:
    try:
        return None if given is None else outsider("operator", given).partition(":")[2]
    except InputError:
        return None
