"""`http` nodes: one request, at least once, with an `Idempotency-Key` that is the same for every attempt.

What `output` sees as `result`: `status`, `headers` (names in lower case) and `body` (JSON where the answer says it is
JSON, else text, null where it is empty). Without `output` the body is written under the node's id.

A header or query value that is exactly `env:HTTP_SECRET_…` is taken from that variable of the worker (`secrets.py`): it
never enters the history, and is masked where the answer repeats it. Redirects are answers, not followed.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NoReturn, cast

import httpx2
from temporalio import activity

from anabranch import spans
from anabranch.activities.http.network import NodeTransport
from anabranch.activities.http.secrets import HttpSecrets
from anabranch.activities.idempotency_key import header_key
from anabranch.activities.node_result import NodeResult, after_effect, own_key
from anabranch.activities.rendering import render
from anabranch.activities.secrets import masked_json
from anabranch.broken import BROKEN
from anabranch.context.values import Json
from anabranch.errors import AnabranchError, NodeError, SizeLimitExceeded, Unavailable
from anabranch.graph.kinds.http import SECRET_PREFIX
from anabranch.graph.model import HttpNode
from anabranch.limits import NODE_LIMITS, NodeLimits
from anabranch.masking import Mask, credentials
from anabranch.spans import Attribute
from anabranch.transport.node_protocol import NodeTask

_CONNECT_SECONDS = 10.0
_DEFAULT_SECONDS = 30.0
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7"})
"""Python's codecs that are not charsets of HTTP; some take minutes for a megabyte."""
_MAX_PORT = 65535
_LARGE = 65536
"""Characters above which an answer is masked in a thread, so that the worker's other nodes go on."""


class HttpActivity:
    """Runs `http` nodes over one pooled client."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        environ: Mapping[str, str] | None = None,
        limits: NodeLimits = NODE_LIMITS,
    ) -> None:
        transport = NodeTransport(public_only=not allow_private)
        # A graph's request uses no proxy, netrc or cookie of the worker's environment.
        self._client = httpx2.AsyncClient(
            transport=transport, trust_env=False, follow_redirects=False, headers={"user-agent": "anabranch"}
        )
        self._secrets = HttpSecrets(os.environ if environ is None else environ)
        self._max_bytes = limits.response_bytes

    async def __call__(self, task: NodeTask, node: HttpNode) -> NodeResult:
        """Send the request and judge its status by the node's `expect`."""
        fields = _Fields(task, _url(await render(node.url, task)), self._secrets)
        headers = await fields.headers(node.headers)
        url = await fields.with_query(node.query)
        content = _content(await render(node.body, task), headers)
        request = self._client.build_request(
            node.method,
            url,
            headers=headers,
            content=content,
            timeout=httpx2.Timeout(_seconds(), connect=_CONNECT_SECONDS),
        )
        response, body = await self._traced(request, node)
        text, mask = _decoded(body, response.charset_encoding), Mask(fields.used)
        if mask and len(text) > _LARGE:
            return await asyncio.to_thread(_outcome, task, node, response, text, mask)
        return _outcome(task, node, response, text, mask)

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self._client.aclose()

    async def _traced(self, request: httpx2.Request, node: HttpNode) -> tuple[httpx2.Response, bytes]:
        """Send within a span, which the server may continue. Its path and query may hold values, so it has neither."""
        where: dict[str, Attribute] = {"server.address": request.url.host, "server.port": request.url.port}
        with spans.span(request.method, {"http.request.method": request.method, **where}, kind="client") as around:
            for name, value in spans.headers().items():
                request.headers.setdefault(name, value)  # a node may send its own
            response, body = await self._send(request, node)
            around.note({"http.response.status_code": response.status_code})
            return response, body

    async def _send(self, request: httpx2.Request, node: HttpNode) -> tuple[httpx2.Response, bytes]:
        place = _place(request.url)
        try:
            response = await self._client.send(request, stream=True)
            try:
                with after_effect(
                    passing=httpx2.TransportError
                ):  # a server that answers with success has done the work
                    return response, await _read(response, self._max_bytes, whole=_is_expected(node, response))
            finally:
                await response.aclose()
        except AnabranchError:
            raise
        except (httpx2.HTTPError, httpx2.StreamError, *BROKEN) as error:
            what = f"{request.method} {place} got no answer ({type(error).__name__})"
            raise Unavailable(what, suggestion="it will be retried") from None


@dataclass(slots=True)
class _Fields:
    """Headers and query of one request, with what its templates yield and the secrets that they name."""

    task: NodeTask
    url: httpx2.URL
    secrets: HttpSecrets
    used: list[str] = field(default_factory=list)
    """The secrets that are sent, and their parts: what to mask in the answer."""

    async def headers(self, templates: Mapping[str, str]) -> dict[str, str]:
        """The headers, by names in lower case."""
        headers = {"idempotency-key": header_key(self.task.key), "accept-encoding": "identity"}
        for name, template in templates.items():
            value = await self._text(template, f"the header {name!r}")
            _check_header(name, value)
            headers[name.lower()] = value
        return headers

    async def with_query(self, templates: Mapping[str, Json]) -> httpx2.URL:
        """The URL with its parameters: lists repeat one, null leaves it out."""
        query: dict[str, str | list[str]] = {}
        for name, template in templates.items():
            what = f"`query.{name}`"
            if isinstance(template, list):
                query[name] = [await self._text(item, what) for item in template]
            elif isinstance(value := await self._value(template), list):
                query[name] = [_text(item, what) for item in value]
            elif value is not None:
                query[name] = _text(value, what)
        return self.url.copy_merge_params(query) if query else self.url

    async def _text(self, template: Json, what: str) -> str:
        return _text(await self._value(template), what)

    async def _value(self, template: Json) -> Json:
        """What a template yields, or the secret that it names. What it yields names none."""
        secret = self.secrets.resolved(template, self.url) if isinstance(template, str) else None
        if secret is None:
            return await render(template, self.task)
        self.used += credentials(secret)
        return secret


def _seconds() -> float:
    limit = activity.info().start_to_close_timeout if activity.in_activity() else None
    return limit.total_seconds() if limit else _DEFAULT_SECONDS


def _text(value: Json, what: str) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, dict | list):
        raise NodeError(
            f"{what} is {'null' if value is None else 'not a plain value'}; it must be text, a number or a boolean"
        )
    return json.dumps(value)


def _url(value: Json) -> httpx2.URL:
    try:
        url = httpx2.URL(_text(value, "the `url`"))
    except httpx2.InvalidURL:
        raise NodeError("the `url` is not a URL", suggestion="write https://host/path") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise NodeError("the `url` must begin with http:// or https:// and name a host")
    if (url.port or 0) > _MAX_PORT:
        raise NodeError(f"the `url` has the port {url.port}; the highest is {_MAX_PORT}")
    if url.userinfo:
        raise NodeError(
            "the `url` holds credentials, which would stay in the history",
            suggestion=f"send them as a header of the value env:{SECRET_PREFIX}NAME",
        )
    return url


def _check_header(name: str, value: str) -> None:
    if not _HEADER_NAME.fullmatch(name) or name.lower() in _OWN_HEADERS:
        raise NodeError(f"{name!r} is not a header that a node may send")
    if not value.isascii() or not value.isprintable():
        raise NodeError(
            f"the value of the header {name!r} has a line break or another character that headers may not have"
        )


def _content(body: Json, headers: dict[str, str]) -> bytes | None:
    if body is None:
        return None
    if isinstance(body, str):
        headers.setdefault("content-type", "text/plain; charset=utf-8")
        return body.encode()
    headers.setdefault("content-type", "application/json")
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


async def _read(response: httpx2.Response, max_bytes: int, *, whole: bool) -> bytes:
    """The body. Of a failure's answer (`whole` is False) the part that can be read is enough."""
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


def _decoded(body: bytes, charset: str | None) -> str:
    """The text of a body; read as UTF-8 if its charset is unknown."""
    try:
        codec = codecs.lookup(charset or "utf-8").name
        return body.decode("utf-8" if codec in _NO_CHARSETS else codec, errors="replace")
    except (LookupError, ValueError):
        return body.decode(errors="replace")


def _is_expected(node: HttpNode, response: httpx2.Response) -> bool:
    expected = node.expect.status
    return response.status_code in expected if expected else response.is_success


def _outcome(task: NodeTask, node: HttpNode, response: httpx2.Response, text: str, mask: Mask) -> NodeResult:
    """What a node is told of an answer, without the secrets that it repeats."""
    _check_status(node, response, text, mask)
    headers: dict[str, Json] = {mask.text(name): mask.text(value) for name, value in response.headers.items()}
    with after_effect():
        body = _body(response, text, mask)
    return NodeResult({"status": response.status_code, "headers": headers, "body": body}, {own_key(task): body})


def _check_status(node: HttpNode, response: httpx2.Response, text: str, mask: Mask) -> None:
    if _is_expected(node, response):
        return
    reason = mask.text(response.reason_phrase)
    said = f"{node.method} {mask.text(_place(response.request.url))} answered {response.status_code} {reason}"
    if response.status_code in node.expect.retry:
        raise Unavailable(said, suggestion="it will be retried", retry_after=retry_after(response.headers))
    excerpt = " ".join(mask.text(text).split())[:300]
    raise NodeError(
        f"{said}: {excerpt}" if excerpt else said,
        suggestion="name the statuses that are a success in `expect.status`, those worth another try in `expect.retry`",
    )


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """The pause that a `Retry-After` header asks for, in seconds or as a date; at most an hour."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        pause = timedelta(seconds=min(int(value[:9]), 3600))
    else:
        try:
            pause = parsedate_to_datetime(value) - datetime.now(UTC)
        except (TypeError, ValueError):
            return None
    return max(timedelta(0), min(pause, timedelta(hours=1)))


def _body(response: httpx2.Response, text: str, mask: Mask) -> Json:
    """The body as data: masked after it is parsed, since the parser resolves escapes."""
    if not text:
        return None
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        return mask.text(text)
    try:
        whole, real = _numbers(mask, int), _numbers(mask, float)
        parsed = json.loads(text.removeprefix("\ufeff"), parse_constant=_no_number, parse_int=whole, parse_float=real)
        return masked_json(cast("Json", parsed), mask)
    except (ValueError, RecursionError):
        raise NodeError("the answer is declared as JSON, but is not JSON") from None


def _numbers(mask: Mask, number: Callable[[str], int | float]) -> Callable[[str], Json] | None:
    """How the parser reads numbers: a secret of digits is masked before they are rounded."""
    if not mask:
        return None
    return lambda text: number(text) if (masked := mask.text(text)) == text else masked


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _place(url: httpx2.URL) -> str:
    """The URL without what may be secret or personal: its query."""
    return str(url.copy_with(query=None, fragment=None))
