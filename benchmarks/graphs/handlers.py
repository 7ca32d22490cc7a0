"""The handler of the graphs beside this file."""

from __future__ import annotations

from typing import Any

from anabranch import DistributedContext, node


@node("one_key")
async def one_key(context: DistributedContext, step: str) -> dict[str, Any]:
    """Reads one key, writes one."""
    count = context["count"]
    assert isinstance(count, int)
    return {step: count + 1}
