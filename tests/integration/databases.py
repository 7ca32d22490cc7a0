"""A database of each kind, and `db` nodes on it."""

from __future__ import annotations

import uuid
from typing import Any

from anabranch.activities.node_result import NodeResult
from anabranch.activities.sql.databases import Databases
from anabranch.activities.sql.handler import DbActivity
from anabranch.graph.model import DbNode
from tests.node_tasks import task_of


class Bench:
    """A database with a table `stock` of this test's own, and a way to run nodes on it."""

    def __init__(self, url: str) -> None:
        self.environ = {"DB": url}
        self.databases = Databases(self.environ)
        self.activity = DbActivity(self.databases)
        self.kind = url.partition(":")[0].partition("+")[0]
        self.table = f"stock_{uuid.uuid4().hex[:8]}"

    async def run(self, query: str | None, data: dict[str, Any] | None = None, **fields: Any) -> NodeResult:
        key = fields.pop("key", uuid.uuid4().hex)
        node = DbNode(type="db", connection="DB", query=query and query.replace("stock", self.table), **fields)
        return await self.activity(task_of(data=data, key=key), node)

    async def undo(self, query: str, *, forward_key: str) -> NodeResult:
        """Run a compensation of the node whose key this is."""
        node = DbNode(type="db", connection="DB", query=query.replace("stock", self.table))
        return await self.activity(task_of(key=uuid.uuid4().hex, forward_key=forward_key), node)

    async def create(self) -> None:
        price, at, notes = {
            "postgresql": ("numeric(12,2)", "timestamptz", "jsonb"),
            "sqlite": ("numeric", "text", "text"),
            "mysql": ("numeric(12,2)", "datetime(6)", "json"),
        }[self.kind]
        columns = f"id integer primary key, name text, price {price}, at {at}, notes {notes}"
        await self.run(f"create table stock ({columns})", idempotent=False)
        await self.run("insert into stock (id, name, price) values (1, 'bolt', 1.5), (2, 'nut', 2)")

    async def replace(self, *statements: str) -> None:
        """Create the table anew."""
        await self.run("drop table stock", idempotent=False)
        for statement in statements:
            await self.run(statement, idempotent=False)
