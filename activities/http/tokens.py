"""Access tokens of OAuth 2.0 issuers for the worker's own clients (RFC 6749, section 4.4), kept until they expire.

Those of one worker that need the same token at a time fetch it once. Each worker has its own.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote_plus

import httpx2

from anabranch.activities.http.answers import retry_after
from anabranch.activities.http.exchange import Exchange, place_of
from anabranch.errors import BY_ITS_RETRY, AnabranchError, ConfigurationError, NodeError, Unavailable
from anabranch.masking import Mask, credentials

_KEPT: Final = 256
"""Tokens that a worker keeps: a client's id and scope may be templates."""
_MARGIN: Final = 30.0
"""Seconds before its end from which a token is not used any more; of one that lives for minutes only a tenth."""
_UNSAID: Final = 300.0
"""Seconds for which a token is kept whose issuer does not say when it expires."""
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_REFUSING: Final = frozenset({"invalid_client", "unauthorized_client"})
_UNAUTHORIZED: Final = 401


@dataclass(frozen=True, slots=True)
class Client:
    """A client of an issuer, and what its tokens are for."""

    url: httpx2.URL
    id: str
    secret: str = field(repr=False)
    variable: str
    """The worker's variable that holds the secret."""
    in_body: bool
    """Whether the issuer gets id and secret as fields of the form."""
    fields: tuple[tuple[str, str], ...] = ()
    """`scope` and `audience`, where they are said."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; `is_new` where it was fetched for who asked."""

    text: str = field(repr=False)
    expires: float
    """By the clock of `Tokens`."""
    is_new: bool = False


class Tokens:
    """The tokens of one worker."""

    def __init__(self, exchange: Exchange, clock: Callable[[], float]) -> None:
        self._exchange = exchange
        self._clock = clock
        self._kept: OrderedDict[Client, Token] = OrderedDict()
        self._fetching: dict[Client, asyncio.Task[Token]] = {}

    async def get(self, client: Client, *, refused: str | None = None) -> Token:
        """A token of the client, other than the one that was `refused`.

        Raises Unavailable, ConfigurationError where the issuer refuses the client, NodeError for what else it refuses.
        """
        kept = self._kept.get(client)
        if kept is not None and kept.text != refused and kept.expires > self._clock():
            self._kept.move_to_end(client)
            return kept
        if (fetching := self._fetching.get(client)) is None:
            fetching = self._fetching[client] = asyncio.create_task(self._fetch(client))
            fetching.add_done_callback(lambda done: self._over(client, done))
        # Who gives up waiting does not end it for the others.
        return await asyncio.shield(fetching)

    async def aclose(self) -> None:
        """Fetch no more."""
        for fetching in self._fetching.values():
            fetching.cancel()

    def _over(self, client: Client, done: asyncio.Task[Token]) -> None:
        del self._fetching[client]
        if done.cancelled() or done.exception() is not None:
            return
        token = done.result()
        self._kept[client] = Token(token.text, token.expires)
        self._kept.move_to_end(client)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    async def _fetch(self, client: Client) -> Token:
        begun = self._clock()
        try:
            text, seconds = await self._asked(client)
        except AnabranchError as error:
            error.happened = False  # the node's own request has not been sent, or was refused
            raise
        return Token(text, begun + max(0.0, seconds - min(_MARGIN, seconds / 10)), is_new=True)

    async def _asked(self, client: Client) -> tuple[str, float]:
        form = {"grant_type": "client_credentials", **dict(client.fields)}
        headers = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "content-type": "application/x-www-form-urlencoded",
        }
        if client.in_body:
            form |= {"client_id": client.id, "client_secret": client.secret}
        else:
            pair = f"{quote_plus(client.id)}:{quote_plus(client.secret)}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        content = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in form.items()).encode()
        mask = Mask((*credentials(client.secret), *credentials(headers.get("authorization", ""))))
        response, body = await self._exchange.answer(
            "POST", client.url, headers, content, is_whole=lambda response: response.is_success, mask=mask
        )
        said = _object(body)
        if not response.is_success:
            raise _refusal(client, response, said, mask)
        return _token(client, said), _seconds(said)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _token(client: Client, said: Mapping[str, Any]) -> str:
    token, kind = said.get("access_token"), said.get("token_type", "bearer")
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
        raise NodeError(f"the answer of the issuer {place_of(client.url)} has no `access_token`")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise NodeError(f"the token of the issuer {place_of(client.url)} is no bearer token")
    return token


def _seconds(said: Mapping[str, Any]) -> float:
    try:
        return min(float(said.get("expires_in", _UNSAID)), 365 * 86_400.0)
    except (TypeError, ValueError, OverflowError):
        return _UNSAID


def _refusal(client: Client, response: httpx2.Response, said: Mapping[str, Any], mask: Mask) -> AnabranchError:
    where, status, error = place_of(client.url), response.status_code, said.get("error")
    told = " ".join(
        mask.text(" ".join(str(said[key]) for key in ("error", "error_description") if key in said)).split()
    )
    message = f"the issuer {where} answered {status}" + (f": {told[:300]}" if told else "")
    if status in _BUSY:
        return Unavailable(message, suggestion=BY_ITS_RETRY, retry_after=retry_after(response.headers))
    if status == _UNAUTHORIZED or error in _REFUSING:
        suggestion = f"correct {client.variable} in the worker's environment, or the node's `client_id`"
        return ConfigurationError(f"the worker's client was refused: {message}", suggestion=suggestion)
    return NodeError(message, suggestion="see the `scope`, the `audience` and the `client_auth` of the node's `auth`")
