"""Redirects by the rule of a node. No secret goes to another origin, and none goes from HTTPS to HTTP."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal, TypeAlias

import httpx2

from anabranch.activities.http.call import Call
from anabranch.activities.http.secrets import origin_of
from anabranch.errors import NodeError
from anabranch.masking import Mask

Rule: TypeAlias = Literal["none", "same_origin", "any"]
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SEE_OTHER: Final = 303
_MAY_BECOME_GET: Final = frozenset({301, 302})
_OF_AN_ORIGIN: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Headers that say who asks, also where no secret of the worker is in them."""


def followed(rule: Rule, call: Call, response: httpx2.Response) -> Call | None:
    """The call that a redirect leads to; None for what is none, or is not followed.

    Raises NodeError where the rule forbids it, or a secret would go along.
    """
    if rule == "none" or response.status_code not in _REDIRECTS or "location" not in response.headers:
        return None
    target = _target(response)
    found = replace(call, url=target, headers={**call.headers})
    if _becomes_get(call.method, response.status_code):
        found = replace(found, method="GET", content=None, has_secret_body=False)
        found.headers.pop("content-type", None)
    return found if origin_of(target) == origin_of(call.url) else _elsewhere(rule, call, found)


def _elsewhere(rule: Rule, call: Call, found: Call) -> Call:
    """A call that leads to another origin, without what only the first may know."""
    if rule == "same_origin":
        raise _refused(call, "leads to another origin, which `redirects: same_origin` does not follow")
    if (call.url.scheme, found.url.scheme) == ("https", "http"):
        raise _refused(call, "leads from HTTPS to HTTP")
    if found.has_secret_body or Mask(call.used).text(str(found.url)) != str(found.url):
        raise _refused(call, "would take a secret to another origin")
    kept = {name: value for name, value in found.headers.items() if name not in call.secret_headers | _OF_AN_ORIGIN}
    return replace(found, headers={**kept}, client=None, secret_query={}, secret_headers=frozenset())


def _refused(call: Call, what: str) -> NodeError:
    return NodeError(
        f"a redirect of {call.method} {Mask(call.used).text(origin_of(call.url))} {what}",
        suggestion="call the address that it leads to by itself",
    )


def _target(response: httpx2.Response) -> httpx2.URL:
    try:
        target = response.url.join(response.headers["location"])
    except (httpx2.InvalidURL, ValueError):
        target = httpx2.URL("")
    if target.scheme not in ("http", "https") or not target.host or target.userinfo:
        raise NodeError("a redirect leads to what is no address of HTTP, or has credentials in it")
    return target.copy_with(fragment=None)


def _becomes_get(method: str, status: int) -> bool:
    """As browsers do it, and RFC 9110 allows it."""
    return (status == _SEE_OTHER and method not in ("GET", "HEAD")) or (status in _MAY_BECOME_GET and method == "POST")
