"""Who may use a console, as the settings say it. On addresses that others reach, somebody has to be named."""

from __future__ import annotations

import importlib.util
from typing import Final

from anabranch.console.access.access import Access
from anabranch.console.access.issuer import ISSUER_VARIABLE, Issuer
from anabranch.console.access.tokens import TOKENS_VARIABLE, Tokens
from anabranch.console.hosts import LOOPBACK_HOSTS
from anabranch.errors import ConfigurationError
from anabranch.settings import Settings
from anabranch.transport.client import is_loopback

_ADVICE: Final = f"set {TOKENS_VARIABLE}=NAME:operator:SECRET, or {ISSUER_VARIABLE}"


def access_of(settings: Settings, address: str, *, read_only: bool, login: str) -> Access:
    """The access of a console that listens on an address. Raises ConfigurationError."""
    tokens = None if settings.console_tokens is None else Tokens.read(settings.console_tokens.get_secret_value())
    access = Access(tokens, _issuer(settings), _hosts(settings, address), read_only, login)
    if not access.asks and not is_local(address):
        raise ConfigurationError(
            f"at {address} everybody who reaches it could steer runs", place="--address", suggestion=_ADVICE
        )
    if not access.asks and settings.cipher() is not None:
        raise ConfigurationError(
            "payloads are encrypted, and the console would decrypt them for everybody",
            place=TOKENS_VARIABLE,
            suggestion=_ADVICE,
        )
    return access


def is_local(address: str) -> bool:
    """Whether only this machine reaches an address."""
    return is_loopback(f"{address}:0")


def _hosts(settings: Settings, address: str) -> tuple[str, ...]:
    own = () if is_local(address) else (f"[{address}]" if ":" in address else address,)
    return (*LOOPBACK_HOSTS, *own, *settings.console_hosts)


def _issuer(settings: Settings) -> Issuer | None:
    if settings.console_issuer is None or settings.console_audience is None:
        return None
    if importlib.util.find_spec("joserfc") is None:
        raise ConfigurationError(
            "tokens of an issuer need a package that is not installed",
            place=ISSUER_VARIABLE,
            suggestion="pip install 'anabranch[jwt]'",
        )
    claims = (settings.console_roles_claim, settings.console_groups_claim)
    return Issuer(settings.console_issuer, settings.console_audience, *claims)
