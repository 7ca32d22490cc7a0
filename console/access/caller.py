"""Who sends a request, and what that person may do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from starlette.requests import Request

from anabranch.console.refusal import Refused

_NAMED: Final = 10


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
    groups: frozenset[str] = frozenset()
    """The groups that the token says the person is in."""
    is_known: bool = False
    """Whether a token says who it is. Where nobody signs in, the name is what somebody has written."""

    def require(self, role: Role) -> None:
        """Refuse who may not act in a role. Raises Refused."""
        if self.role < role:
            raise Refused(
                403,
                "ROLE_MISSING",
                f"this needs the role {role.word!r}, and {self.name!r} has {self.role.word!r}",
                suggestion="sign in with a token of that role",
            )

    def is_asked(self, assignee: Collection[str], groups: Collection[str]) -> bool:
        """Whether a question for these people and groups is for this person. One that names nobody is for all."""
        return not (assignee or groups) or self.name in assignee or not self.groups.isdisjoint(groups)

    def require_asked(self, node: str, assignee: Collection[str], groups: Collection[str]) -> None:
        """Refuse who is known, and answers what others are asked. Operators may. Raises Refused."""
        if self.is_known and self.role < Role.OPERATOR and not self.is_asked(assignee, groups):
            asked = ", ".join([*map(repr, assignee), *(f"the group {each!r}" for each in groups)][:_NAMED])
            raise Refused(
                403,
                "NOT_ASSIGNED",
                f"the approval is for {asked}, and {self.name!r} is none of them",
                place=f"node {node!r}",
                suggestion="let one of them answer, or an operator",
            )


def caller_of(request: Request) -> Caller:
    """Who sends a request; known for every path but the public ones."""
    caller: Caller = request.state.caller
    return caller
