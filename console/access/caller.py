"""Who sends a request, and what that person may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from starlette.requests import Request

from anabranch.console.refusal import Refused


class Role(IntEnum):
    """What somebody may do. Each role may do what those before it may."""

    VIEWER = 1
    """Look at everything."""
    ANSWERER = 2
    """Answer approvals, settle conflicts."""
    OPERATOR = 3
    """Start, retry, skip, fail, pause, resume, rerun and cancel."""

    @classmethod
    def named(cls, name: object) -> Self | None:
        """The role of this name; None where it is the name of none."""
        return cls.__members__.get(name.upper()) if isinstance(name, str) and name.islower() else None

    @property
    def word(self) -> str:
        """The role as settings, tokens and pages name it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request. `name` goes into the run's audit trail with what is done."""

    name: str
    role: Role
    expires: float | None = None
    """When the token is no longer valid, in Unix seconds; None where it does not say."""

    def require(self, role: Role) -> None:
        """Refuse who may not act in a role. Raises Refused."""
        if self.role < role:
            raise Refused(
                403,
                "ROLE_MISSING",
                f"this needs the role {role.word!r}, and {self.name!r} has {self.role.word!r}",
                suggestion="sign in with a token of that role",
            )


def caller_of(request: Request) -> Caller:
    """Who sends a request; known for every path but the public ones."""
    caller: Caller = request.state.caller
    return caller
