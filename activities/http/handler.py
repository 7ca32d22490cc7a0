"""`http` nodes: one request, at least once, with an `Idempotency-Key` that is the same for every attempt.

What `output` sees as `result`: `status`, `headers` (names in lower case) and `body` (JSON where the answer says it is
JSON, else text, null where it is empty). Without `output` the body is written under the node's id.

A header value that is exactly `env:HTTP_SECRET_…` is taken from that variable of the worker: it never enters the
history, and is masked where the answer repeats it. Redirects are answers, not followed.
"""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NoReturn, cast

import httpx2
from temporalio import activity

from anabranch.activities.http.network import PublicTransport, tls_context
from anabranch.activities.idempotency_key import header_key
from anabranch.activities.node_result import NodeResult, after_effect, own_key
from anabranch.activities.rendering import render
from anabranch.activities.secrets import redact
from anabranch.context.values import Json
from anabranch.errors import ConfigurationError, NodeError, SizeLimitExceeded, Unavailable
from anabranch.graph.model import HttpNode
from anabranch.limits import NODE_LIMITS, NodeLimits
from anabranch.transport.node_protocol import NodeTask

_CONNECT_SECONDS = 10.0
_DEFAULT_SECONDS = 30.0
_SECRET = re.compile(r"env:(\w+)", re.ASCII)
_SECRET_PREFIX = "HTTP_SECRET_"  # noqa: S105 - the prefix of variable names
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7"})
"""Python's codecs that are not charsets of HTTP; some take minutes for a megabyte."""
_MAX_PORT = 65535


class HttpActivity:
    """Runs `http` nodes over one pooled client."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        environ: Mapping[str, str] | None = None,
        limits: NodeLimits = NODE_LIMITS,
    ) -> None:
        transport = httpx2.AsyncHTTPTransport(verify=tls_context()) if allow_private else PublicTransport()
        # A graph's request uses no proxy, netrc or cookie of the worker's environment.
        self._client = httpx2.AsyncClient(
            transport=transport, trust_env=False, follow_redirects=False, headers={"user-agent": "anabranch"}
        )
        self._environ = os.environ if environ is None else environ
        self._max_bytes = limits.response_bytes

    async def __call__(self, task: NodeTask, node: HttpNode) -> NodeResult:
        """Send the request and judge its status by the node's `expect`."""
        url = _url(render(node.url, task), cast("dict[str, Json]", render(dict(node.query), task)))
        headers, secrets = self._headers(node, task)
        content = _content(render(node.body, task), headers)
        request = self._client.build_request(
            node.method,
            url,
            headers=headers,
            content=content,
            timeout=httpx2.Timeout(_seconds(), connect=_CONNECT_SECONDS),
        )
        response, body = await self._send(request, node)
        text = redact(_decoded(body, response.charset_encoding), secrets)
        _check_status(node, response, text)
        answered: dict[str, Json] = {name: redact(value, secrets) for name, value in response.headers.items()}
        with after_effect():
            answer = _body(response, text)
        result: dict[str, Json] = {"status": response.status_code, "headers": answered, "body": answer}
        return NodeResult(result, {own_key(task): answer})

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self._client.aclose()

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
        except httpx2.TransportError as error:
            what = f"{request.method} {place} got no answer ({type(error).__name__})"
            raise Unavailable(what, suggestion="it will be retried") from None

    def _headers(self, node: HttpNode, task: NodeTask) -> tuple[dict[str, str], list[str]]:
        headers = {"idempotency-key": header_key(task.key), "accept-encoding": "identity"}
        secrets = []
        for name, template in node.headers.items():
            if secret := _SECRET.fullmatch(template):
                value = self._secret(secret[1])
                # A response may repeat the credentials without their scheme.
                secrets += [value, value.partition(" ")[2].strip()]
            else:
                value = _text(render(template, task), f"the header {name!r}")
            _check_header(name, value)
            headers[name.lower()] = value
        return headers, secrets

    def _secret(self, variable: str) -> str:
        if not variable.startswith(_SECRET_PREFIX):
            raise ConfigurationError(
                f"a graph may not send the environment variable {variable}",
                suggestion=f"only variables whose names begin with {_SECRET_PREFIX} can be sent in a header",
            )
        if value := self._environ.get(variable, ""):
            return value
        raise ConfigurationError(
            f"the environment variable {variable} is not set, and a header names it",
            suggestion="set it in the worker's environment",
        )


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


def _url(value: Json, query: dict[str, Json]) -> httpx2.URL:
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
            suggestion=f"send them as a header of the value env:{_SECRET_PREFIX}NAME",
        )
    return url.copy_merge_params(_query(query)) if query else url


def _query(query: dict[str, Json]) -> dict[str, str | list[str]]:
    """Lists repeat the parameter; null leaves it out."""
    return {
        name: [_text(item, f"`query.{name}`") for item in value]
        if isinstance(value, list)
        else _text(value, f"`query.{name}`")
        for name, value in query.items()
        if value is not None
    }


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


def _check_status(node: HttpNode, response: httpx2.Response, text: str) -> None:
    if _is_expected(node, response):
        return
    said = f"{node.method} {_place(response.request.url)} answered {response.status_code} {response.reason_phrase}"
    if response.status_code in node.expect.retry:
        raise Unavailable(said, suggestion="it will be retried", retry_after=retry_after(response.headers))
    excerpt = " ".join(text.split())[:300]
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


def _body(response: httpx2.Response, text: str) -> Json:
    if not text:
        return None
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        return text
    try:
        return cast("Json", json.loads(text.removeprefix("\ufeff"), parse_constant=_no_number))
    except (ValueError, RecursionError):
        raise NodeError("the answer is declared as JSON, but is not JSON") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _place(url: httpx2.URL) -> str:
    """The URL without what may be secret or personal: its query."""
    return str(url.copy_with(query=None, fragment=None))
