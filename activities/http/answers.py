"""What a node is told of an answer: status, headers and body, without the secrets that it repeats."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, NoReturn, cast

import httpx2

from anabranch.activities.http.exchange import place_of
from anabranch.activities.node_result import after_effect
from anabranch.activities.secrets import masked_json
from anabranch.context.values import Json
from anabranch.errors import BY_ITS_RETRY, NodeError, Unavailable
from anabranch.graph.model import HttpNode
from anabranch.masking import Mask

_NO_CHARSETS: Final = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7"})
"""Python's codecs that are not charsets of HTTP; some take minutes for a megabyte."""
_LARGE: Final = 65536
"""Characters above which an answer is masked in a thread, so that the worker's other nodes go on."""
_LONGEST_PAUSE: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that the node expects."""

    status: int
    headers: dict[str, Json]
    """By names in lower case."""
    body: Json
    url: httpx2.URL
    """Whose answer it is."""
    link: str | None = None
    """The `Link` to what is next, as the server says it."""

    def result(self) -> dict[str, Json]:
        """What expressions see as `result`."""
        return {"status": self.status, "headers": self.headers, "body": self.body}


def is_expected(node: HttpNode, response: httpx2.Response) -> bool:
    """Whether the status is a success to the node."""
    expected = node.expect.status
    return response.status_code in expected if expected else response.is_success


async def judged(node: HttpNode, response: httpx2.Response, body: bytes, mask: Mask) -> Answer:
    """The answer. Raises Unavailable or NodeError for a status that is no success."""
    text = _decoded(body, response.charset_encoding)
    if mask and len(text) > _LARGE:
        return await asyncio.to_thread(_judged, node, response, text, mask)
    return _judged(node, response, text, mask)


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """The pause that a `Retry-After` header asks for, in seconds or as a date; at most an hour."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        pause = timedelta(seconds=min(int(value[:9]), 3600))
    else:
        try:
            pause = parsedate_to_datetime(value) - datetime.now(UTC)
        except (TypeError, ValueError, OverflowError):
            return None
    return max(timedelta(0), min(pause, _LONGEST_PAUSE))


def _decoded(body: bytes, charset: str | None) -> str:
    """The text of a body; read as UTF-8 if its charset is unknown."""
    try:
        codec = codecs.lookup(charset or "utf-8").name
        return body.decode("utf-8" if codec in _NO_CHARSETS else codec, errors="replace")
    except (LookupError, ValueError):
        return body.decode(errors="replace")


def _judged(node: HttpNode, response: httpx2.Response, text: str, mask: Mask) -> Answer:
    _check_status(node, response, text, mask)
    headers: dict[str, Json] = {mask.text(name): mask.text(value) for name, value in response.headers.items()}
    with after_effect():
        link = response.links.get("next", {}).get("url")
        return Answer(response.status_code, headers, _body(response, text, mask), response.url, link)


def _check_status(node: HttpNode, response: httpx2.Response, text: str, mask: Mask) -> None:
    if is_expected(node, response):
        return
    reason, request = mask.text(response.reason_phrase), response.request
    said = f"{request.method} {mask.text(place_of(request.url))} answered {response.status_code} {reason}"
    if response.status_code in node.expect.retry:
        raise Unavailable(said, suggestion=BY_ITS_RETRY, retry_after=retry_after(response.headers))
    excerpt = " ".join(mask.text(text).split())[:300]
    raise NodeError(
        f"{said}: {excerpt}" if excerpt else said,
        suggestion="name the statuses that are a success in `expect.status`, those worth another try in `expect.retry`",
    )


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
