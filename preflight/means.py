"""Whether a worker has what its graphs name: a connection, a handler, a model's key, a secret."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from anabranch.activities.guards.turns import no_redis
from anabranch.activities.python import PythonActivity
from anabranch.activities.registry import NodeActivities
from anabranch.activities.share import ContextSharing
from anabranch.errors import ConfigurationError
from anabranch.graph import node_types
from anabranch.imports import OwnCode
from anabranch.preflight.needs import Need, Sort
from anabranch.preflight.services import is_new_file
from anabranch.settings import Settings
from anabranch.transport.working import closed

_WITH_A_LIBRARY_OF_THEIR_OWN: Final = frozenset({"grpc"})
"""Built-in node types that an extra installs what they import. To build the others says nothing, and takes seconds."""


class Means:
    """What one worker has. `ask` is whether servers are asked; without it only the environment is looked at."""

    def __init__(self, settings: Settings, own: OwnCode, activities: NodeActivities, *, ask: bool) -> None:
        self._settings = settings
        self._own = own
        self._activities = activities
        self._ask = ask
        self._checks: Mapping[Sort, Callable[[str], Awaitable[None]]] = {
            Sort.CONNECTION: self._connection,
            Sort.BROKER: self._broker,
            Sort.HANDLER: self._handler,
            Sort.ACTIVITY: self._activity,
            Sort.MODEL: self._model,
            Sort.SECRET: self._secret,
            Sort.CERTIFICATES: self._certificates,
            Sort.NODE_TYPE: self._node_type,
            Sort.STORE: self._store,
            Sort.LIMITS: self._limits,
        }

    async def check(self, need: Need) -> None:
        """Raises AnabranchError for what this worker lacks, or cannot reach; and whatever code of others raises."""
        await self._checks[need.sort](need.name)

    async def _connection(self, variable: str) -> None:
        from anabranch.activities.sql.databases import Databases

        databases = Databases(names=self._settings.connections)
        try:
            database = databases.get(variable)
            if self._ask and not is_new_file(database.engine):
                async with database.connect():
                    pass
        finally:
            await closed(databases.aclose())

    async def _broker(self, variable: str) -> None:
        from anabranch.activities.emit.sinks import Sinks

        sinks = Sinks(names=self._settings.connections)
        try:
            broker = sinks.address(variable).broker
            if self._ask:
                await sinks.get(variable, broker)
        finally:
            await closed(sinks.aclose())

    async def _handler(self, name: str) -> None:
        await asyncio.to_thread(PythonActivity(threads=1).handler, name)

    async def _activity(self, name: str) -> None:
        if name not in self._own.activity_names:
            raise ConfigurationError(
                f"this worker has no activity {name!r}",
                suggestion="import the module that has it (--import, ANABRANCH_IMPORT), or give the node the"
                " `task_queue` of workers that have it",
            )

    async def _model(self, name: str) -> None:
        from anabranch.activities.ai.keys import model_key

        model_key(os.environ, name)

    async def _secret(self, variable: str) -> None:
        from anabranch.activities.http.secrets import HttpSecrets

        HttpSecrets(os.environ).check(variable)

    async def _certificates(self, variable: str) -> None:
        from anabranch.activities.grpc.certificates import certificates

        await asyncio.to_thread(certificates, os.environ, variable)

    async def _node_type(self, name: str) -> None:
        if name in _WITH_A_LIBRARY_OF_THEIR_OWN or name in node_types.foreign_names():
            await self._activities.build(name)

    async def _limits(self, _variable: str) -> None:
        if self._settings.redis_url is None:  # whether it answers is looked at with the other servers
            raise no_redis()

    async def _store(self, _variable: str) -> None:
        ContextSharing(self._settings).check()


def unforeseen(need: Need, error: BaseException) -> ConfigurationError:
    """What the code of others raised when it was imported or built, as an error of ours."""
    what: dict[Sort, Any] = {Sort.HANDLER: "handler", Sort.NODE_TYPE: "node type"}
    return ConfigurationError(
        f"the {what.get(need.sort, 'name')} {need.name!r} cannot be used: {type(error).__name__}: {error}"
    )
