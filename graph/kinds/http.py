"""What an `http` node must be: its address, who asks, and where it may name a secret of the worker."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final, cast

from anabranch.context.values import Json
from anabranch.errors import Problem
from anabranch.graph.kinds.fields import texts
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.model import HttpNode
from anabranch.graph.parts import Auth, Poll
from anabranch.graph.policies import Retry
from anabranch.graph.source.yaml_source import Pointer

SECRET: Final = re.compile(r"env:(\w+)", re.ASCII)
"""A whole value that stands for a secret of the worker."""
SECRET_PREFIX: Final = "HTTP_SECRET_"  # noqa: S105 - the prefix of variable names
_LITERAL: Final = re.compile(r"(?<!\w)env:([A-Z][A-Z0-9_]+)", re.ASCII)
_RIGHT: Final = (
    f"write the whole value of a header, of a query parameter or in the body as env:{SECRET_PREFIX}NAME; the variable"
    " holds all of it, e.g. `Bearer …`"
)
_MUST: Final = (("bearer",), ("basic", "password"), ("oauth2", "client_secret"))
"""What in `auth` is a secret of the worker, and nothing else."""
_MAY: Final = (*_MUST, ("basic", "user"), ("oauth2", "client_id"))
"""What in `auth` may be one."""
RESULT: Final = frozenset({"result"})
PAGE: Final = frozenset({"result", "page"})
_WHOLE: Final = ("http://", "https://", "{{")


def check_http(node: HttpNode, finder: Finder) -> Iterator[Problem]:
    """Problems of one `http` node."""
    if not node.url.startswith(_WHOLE):
        yield _not_whole(finder, "url")
    yield from _secrets(node, finder)
    if node.auth is not None:
        yield from _auth(node, node.auth, finder)
    if node.poll is not None:
        yield from _poll(node, node.poll, finder)
    if node.pages is not None and node.method != "GET":
        message = "has `pages` and a `method` that is not GET"
        yield finder.problem("HTTP_PAGES", message, "pages", suggestion="ask for pages by GET")


def http_pinned(node: HttpNode) -> Mapping[str, Any]:
    """What the server does for a node that polls: it is tried until its time is over, and counts failures itself."""
    if (poll := node.poll) is None:
        return {}
    total = poll.timeout if node.total_timeout is None else min(poll.timeout, node.total_timeout)
    retry = Retry(max_attempts=0, initial_interval=poll.every, backoff=1, max_interval=poll.every)
    return {"retry": retry, "total_timeout": total}


def http_summary(node: HttpNode) -> str:
    """The request, and until when it is sent again."""
    words = f"{node.method} {node.url}"
    if node.poll is not None:
        return f"{words} until {node.poll.until}"
    return words if node.pages is None else f"{words}, all pages"


def secrets_in(node: HttpNode) -> Iterator[tuple[Pointer, str]]:
    """The variables that a node takes secrets from, each with its place."""
    for path, text in _texts(node):
        if _may_hold(path) and (named := SECRET.fullmatch(text)) is not None:
            yield path, named[1]


def secret_in(text: str) -> str | None:
    """The variable that a text names by `env:`, at any place in it; None where it names none."""
    return None if (found := _LITERAL.search(text)) is None else found[1]


def _not_whole(finder: Finder, *steps: str) -> Problem:
    message = f"has a `{steps[-1]}` that does not begin with http:// or https://"
    return finder.problem("HTTP_URL", message, *steps, suggestion="write it in full: https://…")


def _secrets(node: HttpNode, finder: Finder) -> Iterator[Problem]:
    """References to secrets that would be sent as they are written."""
    for path, text in _texts(node):
        if (variable := secret_in(text)) is None:
            continue
        if not (_may_hold(path) and SECRET.fullmatch(text)):
            message = f"has `env:{variable}` where it would be sent as it is written"
            yield finder.problem("HTTP_SECRET", message, *path, suggestion=_RIGHT)
        elif not variable.startswith(SECRET_PREFIX):
            suggestion = f"name it {SECRET_PREFIX}{variable.removeprefix('HTTP_')}"
            message = f"names the variable {variable}, which a graph may not send"
            yield finder.problem("HTTP_SECRET", message, *path, suggestion=suggestion)


def _auth(node: HttpNode, auth: Auth, finder: Finder) -> Iterator[Problem]:
    """Not exactly one way of saying who asks, or a secret that stands in the graph itself."""
    names = ("bearer", "basic", "oauth2")
    given = [name for name in names if getattr(auth, name) is not None]
    if len(given) != 1:
        message = "has an `auth` that is not exactly one of `bearer`, `basic` and `oauth2`"
        yield finder.problem("HTTP_AUTH", message, "auth", suggestion="keep one of them")
    if any(name.lower() == "authorization" for name in node.headers):
        message = "has an `auth` and a header `Authorization`, which is what it sends"
        yield finder.problem("HTTP_AUTH", message, "auth", suggestion="remove one of them")
    for path, text in texts(_dumped(auth), ()):
        if path in _MUST and SECRET.fullmatch(text) is None:
            message = f"has a secret in its graph: `auth.{'.'.join(map(str, path))}`"
            suggestion = f"write env:{SECRET_PREFIX}NAME, and give the worker a variable of that name"
            yield finder.problem("HTTP_SECRET", message, "auth", *path, suggestion=suggestion)
    if auth.oauth2 is not None and not auth.oauth2.token_url.startswith(_WHOLE):
        yield _not_whole(finder, "auth", "oauth2", "token_url")


def _poll(node: HttpNode, poll: Poll, finder: Finder) -> Iterator[Problem]:
    """Times that cannot be kept, and what a node that polls cannot have beside it."""
    if poll.every <= timedelta(0):
        yield finder.problem("DURATION_NOT_POSITIVE", "has a `poll.every` of zero", "poll", "every")
    elif poll.timeout <= poll.every:
        message = "has a `poll.timeout` that ends before the second request"
        yield finder.problem("HTTP_POLL", message, "poll", "timeout", suggestion="make it longer than `every`")
    if node.retry is not None:
        message = "has a `retry` and a `poll`, whose requests are its attempts"
        suggestion = "say in `poll.failures` how many of them may fail in a row"
        yield finder.problem("HTTP_POLL", message, "retry", suggestion=suggestion)
    if node.local:
        message = "has a `poll` and is `local`: the worker would be busy with it all the time"
        yield finder.problem("HTTP_POLL", message, "local", suggestion="remove `local`")
    if node.pages is not None:
        message = "has a `poll` and `pages`; it does one of the two"
        suggestion = "poll in a node before it"
        yield finder.problem("HTTP_POLL", message, "pages", suggestion=suggestion)


def _may_hold(path: Pointer) -> bool:
    """Whether a secret may stand there: a header, a query parameter or one of its values, the body, some of `auth`."""
    if path[0] == "auth":
        return path[1:] in _MAY
    if path[0] == "body":
        return True
    return path[0] in ("headers", "query") and (len(path) == 2 or isinstance(path[-1], int))  # noqa: PLR2004 - a field and a name in it


def _texts(node: HttpNode) -> Iterator[tuple[Pointer, str]]:
    for name in ("url", "headers", "query", "body"):
        yield from texts(getattr(node, name), (name,))
    if node.auth is not None:
        yield from texts(_dumped(node.auth), ("auth",))


def _dumped(auth: Auth) -> Json:
    return cast("Json", auth.model_dump(exclude_none=True))
