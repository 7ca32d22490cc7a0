"""Names by which other systems reach values: `inputs.total`, `steps.check.output.ok`. Here a key is named alone."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from anabranch.context.values import Path

_VALUES: Final = frozenset({"input", "inputs", "params", "parameters", "vars", "variables", "payload", "ctx", "state"})
_NODES: Final = frozenset({"nodes", "steps", "tasks", "activities", "node"})
_RUN: Final = {"workflow": "run", "execution": "run"}
_SECRETS: Final = frozenset({"secrets", "env"})


WritesOf = Callable[[str], Collection[str] | None]
"""The keys that a node writes; None where that is not known."""


def name_advice(need: Path, nodes: Collection[str], writes: WritesOf, known: Collection[str]) -> str | None:
    """What to write for a key that is read and that nobody writes; None where it may well come with the input.

    `nodes` are the names of those of the same level, `known` all keys that are written or declared.
    """
    if len(need) < 2:  # noqa: PLR2004 - a name and what is read of it
        return None
    first, second = need[0], need[1]
    if first in _VALUES and second in known:
        return f"a key is named alone: `{second}`"
    if first in _NODES and second in nodes:
        return _of_node(second, writes(second), need[2:])
    if first in nodes:
        return _of_node(first, writes(first), need[1:])
    if first in _RUN:
        return f"`{_RUN[first]}` has id, session_id, graph, time and attempt"
    if first in _SECRETS and second.isupper():
        return f"a secret of the worker is a whole value of a header, of a query or in a body: env:HTTP_SECRET_{second}"
    return None


def _of_node(node: str, written: Collection[str] | None, rest: Path) -> str | None:
    keys = sorted(written or ())
    named = next((step for step in rest if step in keys), None)
    if named is not None:
        return f"what node {node!r} writes are keys of the context: `{named}`"
    if rest and rest[0] in ("output", "outputs", "result", "results"):
        shown = ", ".join(f"`{key}`" for key in keys[:5]) or "those of its `output`"
        return f"what node {node!r} writes are keys of the context: {shown}"
    return None
