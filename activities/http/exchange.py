"""One request and its answer, over the pooled client of `http` nodes, in bounds of time and bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import httpx2
from temporalio import activity

from anabranch import spans
from anabranch.activities.http.network import NodeTransport
from anabranch.activities.node_result import after_effect
from anabranch.broken import BROKEN
from anabranch.errors import BY_ITS_RETRY, AnabranchError, NodeError, SizeLimitExceeded, Unavailable
from anabranch.limits import NodeLimits
from anabranch.masking import Mask
from anabranch.spans import Attribute

IsWhole: TypeAlias = Callable[[httpx2.Response], bool]
"""Whether all of an answer is needed. Of a failure's answer the part that can be read is enough."""
_CONNECT_SECONDS: Final = 10.0
_DEFAULT_SECONDS: Final = 30.0


class Exchange:
    """Sends requests, and follows nothing by itself."""

    def __init__(self, *, allow_private: bool, limits: NodeLimits) -> None:
        transport = NodeTransport(public_only=not allow_private)
        # A graph's request uses no proxy, netrc or cookie of the worker's environment.
        self._client = httpx2.AsyncClient(
            transport=transport, trust_env=False, follow_redirects=False, headers={"user-agent": "anabranch"}
        )
        self._max_bytes = limits.response_bytes

    async def answer(
        self,
        method: str,
        url: httpx2.URL,
        headers: Mapping[str, str],
        content: bytes | None,
        *,
        is_whole: IsWhole,
        mask: Mask,
    ) -> tuple[httpx2.Response, bytes]:
        """Send within a span, which the server may continue. Its path and query may hold values, so it has neither.

        Raises Unavailable where there is no answer.
        """
        timeout = httpx2.Timeout(_seconds(), connect=_CONNECT_SECONDS)
        request = self._client.build_request(method, url, headers=headers, content=content, timeout=timeout)
        where: dict[str, Attribute] = {"server.address": request.url.host, "server.port": request.url.port}
        with spans.span(method, {"http.request.method": method, **where}, kind="client") as around:
            for name, value in spans.headers().items():
                request.headers.setdefault(name, value)  # a node may send its own
            response, body = await self._send(request, is_whole, mask)
            around.note({"http.response.status_code": response.status_code})
            return response, body

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self._client.aclose()

    async def _send(self, request: httpx2.Request, is_whole: IsWhole, mask: Mask) -> tuple[httpx2.Response, bytes]:
        try:
            response = await self._client.send(request, stream=True)
            try:
                with after_effect(
                    passing=httpx2.TransportError
                ):  # a server that answers with success has done the work
                    return response, await _read(response, self._max_bytes, whole=is_whole(response))
            finally:
                await response.aclose()
        except AnabranchError:
            raise
        except (httpx2.HTTPError, httpx2.StreamError, *BROKEN) as error:
            what = f"{request.method} {mask.text(place_of(request.url))} got no answer ({type(error).__name__})"
            raise Unavailable(what, suggestion=BY_ITS_RETRY) from None


def place_of(url: httpx2.URL) -> str:
    """The URL without what may be secret or personal: its query."""
    return str(url.copy_with(query=None, fragment=None))


def _seconds() -> float:
    limit = activity.info().start_to_close_timeout if activity.in_activity() else None
    return limit.total_seconds() if limit else _DEFAULT_SECONDS


async def _read(response: httpx2.Response, max_bytes: int, *, whole: bool) -> bytes:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        if not whole:
            return b""
        raise NodeError("the answer is compressed, though the request refused that")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > max_bytes:
            if not whole:
                break
            raise SizeLimitExceeded(
                f"the answer is larger than {max_bytes} bytes", suggestion="ask for less: a page, fewer fields"
            )
    return bytes(body)
