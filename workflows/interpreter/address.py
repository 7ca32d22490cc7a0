"""Addresses of nodes in a run.

`pack[3]/weigh` is the node `weigh` in turn 3 of the body of `pack`; `pack~2[3]/weigh` is it in the second attempt of
`pack`. The address of a composite itself is the same in all of its attempts. Node ids have neither `~` nor `[`.
"""

from __future__ import annotations

from collections.abc import Iterator

_ATTEMPT = "~"


def attempt_address(address: str, attempt: int) -> str:
    """The address of an attempt of a node; that of the first one is the node's own."""
    return address if attempt == 1 else f"{address}{_ATTEMPT}{attempt}"


def node_id(part: str) -> str:
    """The node that a part of an address names: `pack` for `pack~2[3]`."""
    return part.partition("[")[0].partition(_ATTEMPT)[0]


def node_of(attempt: str) -> str:
    """The address of the node that an attempt is of."""
    scope, slash, last = attempt.rpartition("/")
    return scope + slash + node_id(last)


def around(address: str) -> Iterator[str]:
    """The attempts of the nodes around an address such as `pack~2[3]/weigh`, the nearest first."""
    *outer, _ = address.split("/")
    while outer:
        yield "/".join((*outer[:-1], outer[-1].partition("[")[0]))
        outer.pop()


def inside(address: str, owner: str) -> bool:
    """Whether an address is that of a node or in its body, in whatever attempt. The run itself is the owner `""`."""
    return owner in {"", address} or address.startswith((f"{owner}/", f"{owner}[", f"{owner}{_ATTEMPT}"))


def inside_attempt(address: str, attempt: str) -> bool:
    """Whether an address is that of an attempt, or in its body. The run itself is the attempt `""`."""
    return attempt in {"", address} or address.startswith((f"{attempt}/", f"{attempt}["))


def node_inside(address: str, prefix: str) -> str | None:
    """The node of the scope with this prefix that an address is, or is in the body of; None if it is elsewhere."""
    if not address.startswith(prefix):
        return None
    return node_id(address[len(prefix) :].partition("/")[0])
