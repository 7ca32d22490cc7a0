"""Whether the handlers that a graph names are in the modules of `--import` and `ANABRANCH_IMPORT`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anabranch.errors import Problem
    from anabranch.graph.load import LoadedGraph


def handler_warnings(loaded: LoadedGraph, imports: Sequence[str]) -> tuple[Problem, ...]:
    """A warning for each handler that neither the modules nor an entry point has.

    Without modules there is none: they may be known to the worker alone. Raises ConfigurationError for a module that
    cannot be imported.
    """
    if not imports:
        return ()
    from anabranch.activities.python import known_handlers
    from anabranch.graph.checks.handlers import unknown_handlers
    from anabranch.imports import import_own

    import_own(imports)
    return tuple(unknown_handlers(loaded.graph, loaded.source, known_handlers()))
