"""Which fields of a node hold expressions, which hold templates, and which names those may use."""

from __future__ import annotations

from collections.abc import Iterator

from anabranch.graph.kinds.fields import Field, cel, template
from anabranch.graph.kinds.kinds import kind_of, loop_of
from anabranch.graph.model import BaseNode

_WHEN = cel("when")
_CACHE_KEY = template("cache.key")
_OUTPUT = cel("output.*", roots=frozenset({"result"}))


def node_fields(node: BaseNode) -> Iterator[Field]:
    """The fields of one node, those of its compensation and body apart."""
    yield from _WHEN.of(node)
    yield from work_fields(node)


def work_fields(node: BaseNode) -> Iterator[Field]:
    """The fields that count once the node runs: all but its `when`."""
    yield from _CACHE_KEY.of(node)
    yield from kind_fields(node)
    yield from _OUTPUT.of(node)


def common_work_fields(node: BaseNode) -> Iterator[Field]:
    """Those of `work_fields` that nodes of every type have."""
    yield from _CACHE_KEY.of(node)
    yield from _OUTPUT.of(node)


def kind_fields(node: BaseNode) -> Iterator[Field]:
    """The fields that the node's type declares."""
    loop = loop_of(node)
    names = frozenset[str]() if loop is None else loop.names
    for spec in kind_of(node).fields:
        yield from spec.of(node, names)
