"""What a `fail` node needs: a code that no error of Anabranch has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from anabranch import errors
from anabranch.errors import Problem
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.model import FailNode

TAKEN: Final = frozenset(
    each.code for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.AnabranchError)
) | {"CANCELLED", "NOT_STARTED", "NO_ANSWER", "NO_EVENT", "NO_TURN", "QUEUE_TIMEOUT", "TERMINATED"}
"""Codes that mean something to a run, or to who operates it."""


def check_fail(node: FailNode, finder: Finder) -> Iterator[Problem]:
    """Problems of a `fail` node by itself."""
    if node.code in TAKEN:
        suggestion = "write one of your own, such as OUT_OF_STOCK"
        yield finder.problem(
            "FAIL_CODE", f"has the code {node.code}, which is Anabranch's own", "code", suggestion=suggestion
        )
