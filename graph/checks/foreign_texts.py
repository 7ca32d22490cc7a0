"""Texts that mean something elsewhere, and are sent as they are written here: `${key}`, and secrets by their name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from anabranch.errors import Problem
from anabranch.graph.dataflow.fields import node_fields
from anabranch.graph.kinds.fields import texts
from anabranch.graph.model import BaseNode, EmitNode, GrpcNode, HttpNode
from anabranch.graph.source.problems import described
from anabranch.graph.source.yaml_source import Pointer, Source

_SECRET: Final = re.compile(r"(?<!\w)env:(HTTP_SECRET_\w+)", re.ASCII)
_FOREIGN: Final = (
    re.compile(r"\$\{\s*([A-Za-z_][\w.]*)\s*\}"),
    re.compile(r"\$\.([A-Za-z_][\w.]*)\Z"),
    re.compile(r"<%=?\s*\$?\.?([A-Za-z_][\w.]*)\s*%>"),
    re.compile(r"\{%-?\s*(\w[^%]{0,100}?)-?%\}"),
)
_CHECKED: Final = (HttpNode, GrpcNode, EmitNode)
"""They check this themselves."""


def check_foreign_texts(path: Pointer, node: BaseNode, source: Source) -> Iterator[Problem]:
    """An error for each secret that is a text here, and a warning for each hole of another language."""
    for field in node_fields(node):
        if not field.is_template:
            continue
        for where, text in texts(field.value, (*path, *field.path)):
            if not isinstance(node, _CHECKED) and (secret := _SECRET.search(text)) is not None:
                message = f"{described(where)} has `env:{secret[1]}`, which only `http` and `grpc` nodes put in"
                suggestion = (
                    "write it where the request is sent; a handler or an activity reads variables of its own worker"
                )
                yield Problem("SECRET_AS_TEXT", message, source.place_in(where, secret.start()), suggestion)
            yield from _foreign(where, text, source)


def _foreign(where: Pointer, text: str, source: Source) -> Iterator[Problem]:
    for pattern in _FOREIGN:
        # `$.key` is a path of another language only where it is the whole text.
        found = pattern.match(text) if pattern.pattern.startswith(r"\$\.") else pattern.search(text)
        if found is None:
            continue
        message = f"{described(where)} has `{found[0][:64]}`, which is sent as it is written"
        named = found[1].strip()
        word = named if re.fullmatch(r"[\w.]+", named) else "expression"
        suggestion = f"write {{{{ {word.removeprefix('context.')} }}}} for the value of a key"
        yield Problem("TEMPLATE_FOREIGN", message, source.place_in(where, found.start()), suggestion, warning=True)
        return
