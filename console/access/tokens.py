"""Tokens that settings give to people by name: `ada:operator:SECRET, bo:answerer+finance:SECRET`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final, Self

from anabranch.console.access.caller import Caller, Role
from anabranch.errors import ConfigurationError, InputError
from anabranch.workflows.interpreter.writers import outsider

TOKENS_VARIABLE: Final = "ANABRANCH_CONSOLE_TOKENS"
_SHORTEST: Final = 16
_ADVICE: Final = "write NAME:ROLE:SECRET, separated by commas; roles are viewer, answerer and operator, with +GROUP"


class Tokens:
    """Who has which token. Only digests are kept, and a lookup by digest tells nothing by its time."""

    def __init__(self, callers: Mapping[bytes, Caller]) -> None:
        self._callers = callers

    @classmethod
    def read(cls, text: str) -> Self:
        """Read the setting. Raises ConfigurationError, which repeats no token."""
        callers: dict[bytes, Caller] = {}
        for number, entry in enumerate(filter(None, map(str.strip, re.split(r"[,\n]", text))), 1):
            token, caller = _entry(entry, number)
            if callers.setdefault(_digest(token), caller) is not caller:
                raise _wrong(number, "has the token of an entry before it")
        if not callers:
            raise ConfigurationError("no token is in it", place=TOKENS_VARIABLE, suggestion=_ADVICE)
        return cls(callers)

    @classmethod
    def of(cls, name: str, role: Role, token: str) -> Self:
        """One token of one person."""
        return cls({_digest(token): Caller(name, role, is_known=True)})

    def caller(self, token: str) -> Caller | None:
        """Who has a token; None where nobody has."""
        return self._callers.get(_digest(token))


def _entry(entry: str, number: int) -> tuple[str, Caller]:
    name, _, rest = entry.partition(":")
    word, _, token = rest.partition(":")
    word, *groups = map(str.strip, word.split("+"))
    role = Role.named(word)
    if role is None:
        raise _wrong(number, "names no role")
    if not all(groups):
        raise _wrong(number, "has a group without a name")
    if len(token) < _SHORTEST:
        raise _wrong(number, f"has a token of fewer than {_SHORTEST} characters")
    try:
        outsider("operator", name)
    except InputError:
        raise _wrong(number, "does not begin with a name") from None
    return token, Caller(name, role, groups=frozenset(groups), is_known=True)


def _wrong(number: int, reason: str) -> ConfigurationError:
    return ConfigurationError(f"entry {number} {reason}", place=TOKENS_VARIABLE, suggestion=_ADVICE)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
