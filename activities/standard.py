"""The node types that a worker runs, and how the handler of each is built.

Each builder imports what it needs: the model libraries alone take seconds, and a worker whose graphs ask no model never
pays for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from anabranch.activities.carrying import Carrying
from anabranch.activities.guards.guards import Guards
from anabranch.activities.load_graph import GraphLoader
from anabranch.activities.outcome import Handler
from anabranch.activities.registry import NodeActivities
from anabranch.activities.share import ContextSharing
from anabranch.context.merge.resolution import ConflictResolution
from anabranch.errors import ConfigurationError, InputError
from anabranch.graph.revision import REVISION
from anabranch.limits import NodeLimits
from anabranch.settings import Settings

NODE_TYPES: Final = ("rule", "db", "ai", "http", "python")


def node_activities(settings: Settings, *, workflows: Sequence[str] = ()) -> NodeActivities:
    """The activities of a worker with these settings; `aclose` them at the end. Raises ConfigurationError.

    `workflows` are the names of the worker's other workflows, to suggest one that was mistyped.
    """
    limits = NodeLimits(written_bytes=settings.max_context_size_bytes)

    def http() -> Handler:
        from anabranch.activities.http.handler import HttpActivity

        return HttpActivity(allow_private=settings.http_allow_private)

    def python() -> Handler:
        from anabranch.activities.python import PythonActivity

        return PythonActivity(threads=settings.max_concurrent_activities)

    return NodeActivities(
        {"rule": _rule, "db": _db, "ai": _ai, "http": http, "python": python},
        GraphLoader(
            settings.graphs,
            _resolution(settings.default_resolution_strategy),
            revision=settings.interpreter_revision or REVISION,
            workflows=workflows,
        ),
        limits=limits,
        guards=Guards.from_url(settings.redis_url, settings.redis_max_connections),
        sharing=ContextSharing(settings),
        carrying=Carrying(settings),
    )


def _resolution(name: str) -> ConflictResolution:
    try:
        return ConflictResolution.parse(name)
    except InputError as error:
        place = "DEFAULT_RESOLUTION_STRATEGY"
        raise ConfigurationError(error.message, place=place, suggestion=error.suggestion) from None


def _rule() -> Handler:
    from anabranch.activities.rules.handler import RuleActivity

    return RuleActivity()


def _db() -> Handler:
    from anabranch.activities.sql.handler import DbActivity

    return DbActivity()


def _ai() -> Handler:
    from anabranch.activities.ai.handler import AiActivity

    return AiActivity()
