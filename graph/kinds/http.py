"""What an `http` node must be: its address, and where it may name a secret of the worker."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from anabranch.context.values import Json
from anabranch.errors import Problem
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.model import HttpNode

SECRET: Final = re.compile(r"env:(\w+)", re.ASCII)
"""A whole value that stands for a secret of the worker."""
SECRET_PREFIX: Final = "HTTP_SECRET_"  # noqa: S105 - the prefix of variable names
_LITERAL: Final = re.compile(r"(?<!\w)env:([A-Z][A-Z0-9_]+)", re.ASCII)
_RIGHT: Final = (
    f"write the whole value of a header or of a query parameter as env:{SECRET_PREFIX}NAME; the variable holds all of"
    " it, e.g. `Bearer …`"
)


def check_http(node: HttpNode, finder: Finder) -> Iterator[Problem]:
    """Problems of one `http` node."""
    if not node.url.startswith(("http://", "https://", "{{")):
        suggestion = "write it in full: https://…"
        yield finder.problem(
            "HTTP_URL", "has a `url` that does not begin with http:// or https://", "url", suggestion=suggestion
        )
    yield from _secrets(node, finder)


def _secrets(node: HttpNode, finder: Finder) -> Iterator[Problem]:
    """References to secrets that would be sent as they are written."""
    for steps, text in _texts(node):
        if (found := _LITERAL.search(text)) is None:
            continue
        if not (_may_hold(steps) and SECRET.fullmatch(text)):
            message = f"has `{found[0]}` where it would be sent as it is written"
            yield finder.problem("HTTP_SECRET", message, *steps, suggestion=_RIGHT)
        elif not found[1].startswith(SECRET_PREFIX):
            suggestion = f"name it {SECRET_PREFIX}{found[1].removeprefix('HTTP_')}"
            message = f"names the variable {found[1]}, which a graph may not send"
            yield finder.problem("HTTP_SECRET", message, *steps, suggestion=suggestion)


def _may_hold(steps: tuple[str | int, ...]) -> bool:
    """Whether a secret may stand there: a header, a query parameter, or one of its values."""
    return steps[0] in ("headers", "query") and (len(steps) == 2 or isinstance(steps[-1], int))  # noqa: PLR2004 - a field and a name in it


def _texts(node: HttpNode) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for name in ("url", "headers", "query", "body"):
        yield from _inside((name,), getattr(node, name))


def _inside(steps: tuple[str | int, ...], value: Json) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield steps, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _inside((*steps, key), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _inside((*steps, index), inner)
