"""The secrets that `http` nodes send: variables of the worker, each bound to the servers that may get it.

A value of a header, the query, the body or `auth` that is exactly `env:HTTP_SECRET_BANK` is taken from that variable.
`HTTP_SECRET_BANK_HOSTS` lists who may get it: `api.bank.example, *.partner.example:8443`. A host is reached by HTTPS
and at its port; plain HTTP has to be written out (`http://127.0.0.1:8080`). Without the list nobody gets the secret.
Where it is that of an OAuth 2.0 client the list names its issuer, and `HTTP_SECRET_BANK_TOKENS_TO` who may get the
tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import httpx2

from anabranch.errors import ConfigurationError
from anabranch.graph.kinds.http import SECRET, SECRET_PREFIX

_HOSTS: Final = "_HOSTS"
_TOKENS_TO: Final = "_TOKENS_TO"
_ENTRY: Final = re.compile(r"(?:(https?)://)?(\*\.)?(\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(?::(\d{1,5}))?/?", re.IGNORECASE)
_PORTS: Final = {"https": 443, "http": 80}


class HttpSecrets:
    """The HTTP secrets of a worker's environment, as a request to one server may use them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def resolved(self, text: str, url: httpx2.URL) -> str | None:
        """The secret that a value names, for a request to `url`; None where the value names none.

        Raises ConfigurationError: the same whether the variable is not set or is not for this server.
        """
        if (named := SECRET.fullmatch(text)) is None:
            return None
        variable = named[1]
        secret = self._secret(variable)
        if secret and any(_is_meant(url, entry) for entry in self._hosts(variable + _HOSTS)):
            return secret
        raise _missing(variable, f"for {origin_of(url)}")

    def client_secret(self, variable: str, issuer: httpx2.URL, url: httpx2.URL) -> str:
        """The secret of a client, for `issuer` to give a token that goes to `url`. Raises ConfigurationError."""
        secret = self.resolved(f"env:{variable}", issuer)
        if secret is None or not any(_is_meant(url, entry) for entry in self._hosts(variable + _TOKENS_TO)):
            raise ConfigurationError(
                f"this worker sends no token that it gets for {variable} to {origin_of(url)}",
                suggestion=f"list in {variable}{_TOKENS_TO}, in the worker's environment, the hosts that may get such"
                " tokens, e.g. api.bank.example (HTTPS unless http:// is written)",
            )
        return secret

    def check(self, variable: str) -> None:
        """Raises ConfigurationError where the variable is not set, or no server may get it."""
        if not self._secret(variable) or not any(self._hosts(variable + _HOSTS)):
            raise _missing(variable, "for any server")

    def _secret(self, variable: str) -> str:
        if not variable.startswith(SECRET_PREFIX) or variable.endswith((_HOSTS, _TOKENS_TO)):
            raise ConfigurationError(
                f"a graph may not send the environment variable {variable}",
                suggestion=f"only variables whose names begin with {SECRET_PREFIX} can be sent",
            )
        return self._environ.get(variable, "")

    def _hosts(self, variable: str) -> Iterator[re.Match[str]]:
        for entry in re.split(r"[,\s]+", self._environ.get(variable, "")):
            if (found := _ENTRY.fullmatch(entry)) is not None:
                yield found


def _missing(variable: str, whom: str) -> ConfigurationError:
    return ConfigurationError(
        f"this worker has no secret {variable} {whom}",
        suggestion=f"set {variable} in the worker's environment, and in {variable}{_HOSTS} the hosts that may get"
        " it, e.g. api.bank.example (HTTPS unless http:// is written)",
    )


def _is_meant(url: httpx2.URL, entry: re.Match[str]) -> bool:
    scheme, wildcard, host, port = entry.groups()
    scheme, host = (scheme or "https").lower(), host.strip("[]").lower()
    mine = url.raw_host.decode("ascii").strip("[]").lower()
    if url.scheme != scheme or _port(url) != int(port or _PORTS[scheme]):
        return False
    return mine.endswith(f".{host}") if wildcard else mine == host


def _port(url: httpx2.URL) -> int | None:
    return url.port or _PORTS.get(url.scheme)


def origin_of(url: httpx2.URL) -> str:
    """Scheme, host and port."""
    return str(url.copy_with(path="/", query=None, fragment=None)).removesuffix("/")
