"""What an `http` node must be: its address, and where it may name a secret of the worker."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from anabranch.errors import Problem
from anabranch.graph.kinds.fields import texts
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.model import HttpNode
from anabranch.graph.source.yaml_source import Pointer

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


def secret_in(text: str) -> str | None:
    """The variable that a text names by `env:`, at any place in it; None where it names none."""
    return None if (found := _LITERAL.search(text)) is None else found[1]


def _may_hold(path: Pointer) -> bool:
    """Whether a secret may stand there: a header, a query parameter, or one of its values."""
    return path[0] in ("headers", "query") and (len(path) == 2 or isinstance(path[-1], int))  # noqa: PLR2004 - a field and a name in it


def _texts(node: HttpNode) -> Iterator[tuple[Pointer, str]]:
    for name in ("url", "headers", "query", "body"):
        yield from texts(getattr(node, name), (name,))
