"""Page after page of an answer, put together. Pages are kept in the heartbeats: a retry goes on where they end.

What is kept has a limit: the server fails an activity whose heartbeat it finds too large, and each has all that is
kept. A retry asks again for the pages behind it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self, TypeAlias, cast

import httpx2

from anabranch.activities.heartbeat import keep, kept
from anabranch.activities.http.answers import Answer
from anabranch.activities.http.call import Call
from anabranch.activities.http.secrets import origin_of
from anabranch.activities.http.sending import Ask
from anabranch.activities.node_result import NodeResult, own_key
from anabranch.activities.rendering import value_of
from anabranch.context.values import Json
from anabranch.context.wire import measure_plain
from anabranch.errors import NodeError, SizeLimitExceeded
from anabranch.graph.expressions.expressions import kind_of
from anabranch.graph.parts import Pages
from anabranch.limits import NodeLimits
from anabranch.masking import MASK, Mask
from anabranch.transport.node_protocol import NodeTask

_MOST: Final = 1_000
"""Pages of one node."""
_KEPT_BYTES: Final = 256 * 1024
"""Bytes of what is kept, as MessagePack."""
_Next: TypeAlias = "str | dict[str, str | list[str]] | None"
"""The address of a page without its secrets, or parameters of the first one; None behind the last."""


@dataclass(slots=True)
class _Place:
    """How far a node has come."""

    pages: int = 0
    items: list[Json] = field(default_factory=list)
    size: int = 0
    """Bytes of the items, as MessagePack."""
    next: _Next = None

    @classmethod
    def before(cls) -> Self:
        found: Any = kept()
        return cls(**found) if isinstance(found, dict) and found.keys() == cls.__dataclass_fields__.keys() else cls()


async def collected(task: NodeTask, pages: Pages, call: Call, ask: Ask, limits: NodeLimits) -> NodeResult:
    """The items of all pages. Raises SizeLimitExceeded for too many, or too large ones."""
    place = _Place.before()
    while True:
        page = _call_of(task, call, place)
        answer = await ask(page)
        place.pages += 1
        items = await _items(task, pages, answer, place.pages)
        place.next = await _next(task, pages, page, answer, place.pages)
        has_all = pages.limit is not None and len(place.items) + len(items) >= pages.limit
        is_cut = pages.limit is not None and len(place.items) + len(items) > pages.limit
        place.items += items[: pages.limit - len(place.items)] if pages.limit is not None else items
        place.size += measure_plain(items)
        _check(place, limits)
        if place.next is None or has_all:
            found: dict[str, Json] = {**answer.result(), "body": place.items, "pages": place.pages}
            return NodeResult({**found, "complete": place.next is None and not is_cut}, {own_key(task): place.items})
        if place.size + measure_plain(cast("Json", place.next)) <= _KEPT_BYTES:
            keep(asdict(place))


def _call_of(task: NodeTask, call: Call, place: _Place) -> Call:
    """The call of the next page."""
    if place.next is None:
        return call
    url = call.url.copy_merge_params(place.next) if isinstance(place.next, dict) else httpx2.URL(place.next)
    return call.at(url, f"{task.key}#{place.pages}")


async def _items(task: NodeTask, pages: Pages, answer: Answer, page: int) -> list[Json]:
    items = await value_of(pages.items, task, result=answer.result(), page=page)
    if not isinstance(items, list):
        raise NodeError(f"`pages.items` of page {page} is {kind_of(items)}, not a list")
    return items


async def _next(task: NodeTask, pages: Pages, call: Call, answer: Answer, page: int) -> _Next:
    """What is next. Raises NodeError for what is no page of the same server."""
    given: Json = answer.link
    if pages.next is not None:
        given = await value_of(pages.next, task, result=answer.result(), page=page)
    if given is None or given == "":
        return None
    if isinstance(given, dict):
        return {name: _texts(name, value) for name, value in given.items() if value is not None}
    if not isinstance(given, str):
        raise NodeError(f"`pages.next` of page {page} is {kind_of(given)}, not an address or parameters")
    return _address(given, call, answer, page)


def _address(given: str, call: Call, answer: Answer, page: int) -> str:
    try:
        url = answer.url.join(given).copy_with(fragment=None)
        for name in call.secret_query:
            url = url.copy_remove_param(name)
        is_same = origin_of(url) == origin_of(call.url) and not url.userinfo
    except (httpx2.InvalidURL, ValueError):
        is_same, url = False, call.url
    if not is_same:
        raise NodeError(f"what follows page {page} is no address of the same server")
    if MASK in (text := str(url)) or Mask(call.used).text(text) != text:
        raise NodeError(f"the address of what follows page {page} repeats a secret, which nobody may keep")
    if text == str(_bare(call)):
        raise NodeError(f"what follows page {page} is that page itself")
    return text


def _bare(call: Call) -> httpx2.URL:
    url = call.url
    for name in call.secret_query:
        url = url.copy_remove_param(name)
    return url


def _texts(name: str, value: Json) -> str | list[str]:
    if isinstance(value, list):
        return [text for each in value if isinstance(text := _texts(name, each), str)]
    if isinstance(value, dict) or value is None:
        raise NodeError(f"the parameter {name!r} of `pages.next` is {kind_of(value)}")
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def _check(place: _Place, limits: NodeLimits) -> None:
    advice = "say a `limit`, or ask for less: `pages.items` may take some fields alone"
    if place.size > limits.written_bytes:
        raise SizeLimitExceeded(
            f"the items of {place.pages} pages have {place.size} bytes, over the limit of {limits.written_bytes}",
            suggestion=advice,
        )
    if len(place.items) > limits.rows:
        raise SizeLimitExceeded(f"{place.pages} pages have more than {limits.rows} items", suggestion=advice)
    if place.pages >= _MOST and place.next is not None:
        raise SizeLimitExceeded(
            f"there are more than {_MOST} pages", suggestion="ask for larger ones, or say a `limit`"
        )
