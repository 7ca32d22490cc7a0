"""`db` nodes: static SQL with named binds, in one transaction, exactly once where it writes.

What `output` sees as `result`: `row` (the first; with null columns if there are no rows), `rows`, `row_count`, and
`statements` (the same three of each, where there are several). Without `output`, `first` writes the columns of the row
as keys, `all` the rows and `scalar` the first value of the first row under the node's id, `none` nothing.

Context values reach the SQL by `params` alone. See `sql_values` for how they and the rows are converted, `idempotency`
for the effect log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from anabranch.activities.node_result import NodeResult, own_key
from anabranch.activities.rendering import FORWARD_KEY, render
from anabranch.activities.sql.databases import Databases
from anabranch.activities.sql.effect_log import EffectLog
from anabranch.activities.sql.one_transaction import in_one_transaction
from anabranch.activities.sql.select_limit import select_limit
from anabranch.activities.sql.values import Decimals, array_binds, bind_value, json_row
from anabranch.context.values import Json
from anabranch.context.wire import measure
from anabranch.errors import NodeError, SizeLimitExceeded
from anabranch.graph.kinds.db import queries, records_effect
from anabranch.graph.kinds.sql import ends_transaction_in_mysql, is_write
from anabranch.graph.kinds.sql_control import controls, is_opaque
from anabranch.graph.model import DbNode
from anabranch.graph.parts import Statement
from anabranch.limits import NODE_LIMITS, NodeLimits
from anabranch.sql.sqlite_session import statement_of_others
from anabranch.transport.node_protocol import NodeTask


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A statement ready to run: its clause, the values of its binds, and which result is wanted."""

    clause: TextClause
    values: dict[str, Any]
    result: str
    writes: bool
    max_rows: int
    decimals: Decimals | None


@dataclass(frozen=True, slots=True)
class _Effect:
    """The key under which this effect is recorded, and that of the effect which it undoes."""

    key: str | None
    forward_key: str | None


class DbActivity:
    """Runs `db` nodes.

    Compensation: `task.roots["forward_key"]: str | None` is the key of the node that this one undoes, given only where
    `graph.kinds.db.undoes_recorded_effect(forward, compensation)` holds, else None or absent. If that key is not in the
    effect log, the forward node had no effect: a tombstone is left so that it never will, and this node does nothing.
    """

    def __init__(
        self,
        databases: Databases | None = None,
        *,
        connections: Sequence[str] = ("*",),
        limits: NodeLimits = NODE_LIMITS,
    ) -> None:
        self._databases = databases or Databases(names=connections)
        self._max_rows = limits.rows

    async def aclose(self) -> None:
        """Close every database connection."""
        await self._databases.aclose()

    async def __call__(self, task: NodeTask, node: DbNode) -> NodeResult:
        """Run the node's statements in one transaction."""
        _check_reads(node)
        statements = [await _prepare(statement, node, task, self._max_rows) for statement in _statements(node)]
        database = self._databases.get(node.connection)
        effect = _Effect(
            key=task.key if records_effect(node) else None,
            forward_key=cast("str | None", task.roots.get(FORWARD_KEY)),
        )
        if effect.key and database.engine.dialect.name == "mysql":
            _check_one_transaction(node)
        async with database.connect() as connection:
            if effect.key or effect.forward_key:
                await database.effects.ready(connection)
            async with connection.begin():
                if node.read_only and database.engine.dialect.name != "sqlite":
                    await connection.exec_driver_sql("set transaction read only")
                found = await _run_once(connection, database.effects, statements, effect, read_only=node.read_only)
        return _outcome(found, statements, own_key(task))


async def _run_once(
    connection: AsyncConnection,
    log: EffectLog,
    statements: list[_Prepared],
    effect: _Effect,
    *,
    read_only: bool,
) -> list[dict[str, Json]]:
    """What each statement found, now or at the first attempt; nothing if there is nothing to undo."""
    if effect.key:
        claim = await log.claim(connection, effect.key)
        if not claim.fresh:
            return cast("list[dict[str, Json]]", claim.outcome)
    found: list[dict[str, Json]] = []
    if not (effect.forward_key and await log.forestall(connection, effect.forward_key)):
        found = await _execute_all(connection, log, statements, effect, read_only=read_only)
    if effect.key:
        await log.record(connection, effect.key, cast("Json", found))
    return found


async def _execute_all(
    connection: AsyncConnection,
    log: EffectLog,
    statements: list[_Prepared],
    effect: _Effect,
    *,
    read_only: bool,
) -> list[dict[str, Json]]:
    """What each statement found."""

    async def work() -> list[dict[str, Json]]:
        with statement_of_others(connection, read_only=read_only):
            return [await _execute(connection, statement) for statement in statements]

    async def keep() -> None:
        if effect.key:
            await log.happened(connection, effect.key)

    queries = [statement.clause.text for statement in statements]
    if connection.dialect.name != "mysql" or not any(map(is_opaque, queries)):
        return await work()
    if any(map(ends_transaction_in_mysql, queries)):  # which its author knows: the node is not idempotent
        return await work()
    return await in_one_transaction(connection, work, keep)


def _check_reads(node: DbNode) -> None:
    if node.read_only and any(map(is_write, queries(node))):
        raise NodeError(
            "the node is `read_only`, and a statement of it writes, or is not understood by any dialect",
            suggestion="write a `select`, or remove `read_only`",
        )


def _check_one_transaction(node: DbNode) -> None:
    if any(map(ends_transaction_in_mysql, queries(node))):
        raise NodeError(
            "MySQL commits at once at a statement of this kind, so its effect and its key are not one transaction",
            suggestion="set `idempotent: false` on the node, or leave this statement to a migration",
        )


def _statements(node: DbNode) -> tuple[Statement, ...]:
    if node.statements is not None and node.query is None:
        return node.statements
    if node.query is not None and node.statements is None:
        return (Statement(query=node.query, params=node.params, result=node.result),)
    raise NodeError("a `db` node has either `query` or `statements`", suggestion="remove one of the two")


async def _prepare(statement: Statement, node: DbNode, task: NodeTask, max_rows: int) -> _Prepared:
    clause, binds = _parse(statement.query)
    _check_binds(binds, frozenset(statement.params))
    rendered = cast("dict[str, Json]", await render(dict(statement.params), task))
    arrays = array_binds(statement.query)
    values = {name: bind_value(value, is_array=name in arrays) for name, value in rendered.items()}
    # What is said to have an effect is executed to its end: a cursor would stop at the first row.
    writes = is_write(statement.query) or node.effect is True
    return _Prepared(clause, values, statement.result, writes, max_rows, node.decimals)


@lru_cache(maxsize=1024)
def _parse(query: str) -> tuple[TextClause, frozenset[str]]:
    if "{{" in query:
        raise NodeError(
            "the query holds a `{{ }}` template; SQL is static here, and context values reach it as binds only",
            suggestion='write `:name` in the query and `params: {name: "{{ … }}"}`',
        )
    if (control := controls(query)) is not None:
        raise NodeError(
            f"the query has `{control}`, and a node's statements are one transaction, on a session that others use too",
            suggestion="leave it out; several `statements` of a node are committed, or rolled back, together",
        )
    clause = text(query)
    return clause, frozenset(clause.compile().params)


def _check_binds(binds: frozenset[str], params: frozenset[str]) -> None:
    if missing := sorted(binds - params):
        raise NodeError(
            f"the query has binds without a value: {', '.join(f':{name}' for name in missing)}",
            suggestion="add them to `params`, or escape a literal colon as `\\:`",
        )
    if extra := sorted(params - binds):
        raise NodeError(
            f"`params` has names that the query does not bind: {', '.join(extra)}",
            suggestion="use them in the query as `:name`, or remove them",
        )


async def _execute(connection: AsyncConnection, statement: _Prepared) -> dict[str, Json]:
    if statement.writes:
        cursor = await connection.execute(statement.clause, statement.values)
        count = cursor.rowcount
        if not cursor.returns_rows:
            return {"columns": [], "rows": [], "row_count": count if count >= 0 else None}
        columns, rows = list(cursor.keys()), cursor.fetchmany(_wanted(statement))
    else:
        # A cursor on the server: a `first` of a million rows fetches one.
        async with select_limit(connection, _wanted(statement)):
            stream = await connection.stream(statement.clause, statement.values)
            columns, rows, count = list(stream.keys()), await stream.fetchmany(_wanted(statement)), -1
            await stream.close()
    return _found(columns, list(rows), count, statement)


def _wanted(statement: _Prepared) -> int:
    return statement.max_rows + 1 if statement.result == "all" else 1


def _found(columns: list[str], rows: list[Any], count: int, statement: _Prepared) -> dict[str, Json]:
    if len(rows) > statement.max_rows:
        raise SizeLimitExceeded(
            f"the query has more than {statement.max_rows} rows", suggestion="add a `limit`, or aggregate in the query"
        )
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise NodeError(f"the query has two columns named {', '.join(twice)}", suggestion="name one of them with `as`")
    found: list[Json] = [json_row(columns, row, statement.decimals) for row in rows]
    measure(found, path=("rows",))  # here, where what a statement wrote is still rolled back
    names: list[Json] = [*columns]
    return {"columns": names, "rows": found, "row_count": count if count >= 0 else len(found)}


def _outcome(found: list[dict[str, Json]], statements: list[_Prepared], key: str) -> NodeResult:
    writes: dict[str, Json] = {}
    for one, statement in zip(found, statements, strict=False):
        writes.update(_default_writes(one, statement.result, key))
    views: list[dict[str, Json]] = [_view(one) for one in found] or [{"row": None, "rows": [], "row_count": 0}]
    result: dict[str, Json] = dict(views[-1])
    if len(statements) > 1:
        result["statements"] = [*views]
    return NodeResult(result, writes)


def _view(found: dict[str, Json]) -> dict[str, Json]:
    return {"row": _row(found), "rows": found["rows"], "row_count": found["row_count"]}


def _row(found: dict[str, Json]) -> dict[str, Json]:
    rows = cast("list[dict[str, Json]]", found["rows"])
    return rows[0] if rows else dict.fromkeys(cast("list[str]", found["columns"]))


def _default_writes(found: dict[str, Json], result: str, key: str) -> dict[str, Json]:
    if result == "first":
        return _row(found)
    if result == "all":
        return {key: found["rows"]}
    if result == "scalar":
        return {key: next(iter(_row(found).values()), None)}
    return {}
