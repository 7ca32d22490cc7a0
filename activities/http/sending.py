"""A call of a node until its answer: with the tokens that it needs, and through the redirects that it follows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import httpx2

from anabranch.activities.http.answers import Answer, is_expected, judged
from anabranch.activities.http.call import Call
from anabranch.activities.http.exchange import Exchange, place_of
from anabranch.activities.http.redirects import followed
from anabranch.activities.http.tokens import Token, Tokens
from anabranch.errors import AnabranchError, NodeError
from anabranch.graph.model import HttpNode
from anabranch.masking import Mask, credentials

Ask: TypeAlias = Callable[[Call], Awaitable[Answer]]
"""Sends a call of one node."""
_UNAUTHORIZED: Final = 401
_HOPS: Final = 5
"""Redirects of one call that are followed."""


class Sender:
    """Sends the calls of one worker."""

    def __init__(self, exchange: Exchange, clock: Callable[[], float]) -> None:
        self._exchange = exchange
        self._tokens = Tokens(exchange, clock)

    async def answer(self, node: HttpNode, call: Call) -> Answer:
        """The answer that the node expects. Raises AnabranchError for others, `happened` where one led on from it."""
        has_happened = False
        try:
            for _ in range(_HOPS + 1):
                response, body = await self._authorized(node, call)
                if is_expected(node, response) or (next_call := followed(node.redirects, call, response)) is None:
                    return await judged(node, response, body, Mask(call.used))
                has_happened = has_happened or next_call.method != call.method
                call = next_call
        except AnabranchError as error:
            error.happened = True if has_happened else error.happened
            raise
        raise NodeError(
            f"{node.method} {Mask(call.used).text(place_of(call.url))} is behind more than {_HOPS} redirects"
        )

    async def aclose(self) -> None:
        """Fetch no more tokens, and close the connections."""
        await self._tokens.aclose()
        await self._exchange.aclose()

    async def _authorized(self, node: HttpNode, call: Call) -> tuple[httpx2.Response, bytes]:
        """The answer. One that refuses a token which the worker had kept is asked for again, with a new one."""
        token = await self._token(call)
        response, body = await self._sent(node, call)
        if token is not None and response.status_code == _UNAUTHORIZED and not token.is_new:
            await self._token(call, refused=token.text)
            response, body = await self._sent(node, call)
        return response, body

    async def _token(self, call: Call, *, refused: str | None = None) -> Token | None:
        if call.client is None:
            return None
        token = await self._tokens.get(call.client, refused=refused)
        call.headers["authorization"] = f"Bearer {token.text}"
        call.used += credentials(token.text)
        return token

    async def _sent(self, node: HttpNode, call: Call) -> tuple[httpx2.Response, bytes]:
        return await self._exchange.answer(
            call.method,
            call.url,
            call.headers,
            call.content,
            is_whole=lambda response: is_expected(node, response),
            mask=Mask(call.used),  # a redirect may have led to an address that repeats them
        )
