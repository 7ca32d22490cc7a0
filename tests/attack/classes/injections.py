"""Values that are SQL, protocol or pattern, through every slot of `db` nodes on three databases, and as the keys and
values of every store.

A value comes back as it went in, finds what equals it and nothing else, and changes nothing beside it.
"""

from __future__ import annotations

import random
import tempfile
import unicodedata
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from sqlalchemy import text

from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.context.stores.open import open_store
from anabranch.context.stores.protocol import ContextStore
from anabranch.errors import AnabranchError
from tests import servers
from tests.attack.attack import Attack, Tally
from tests.integration.databases import Bench

CANARY = "canary-of-another-row"
_PARTS = [
    "'",
    "''",
    '"',
    "`",
    "\\",
    "\\'",
    "' or '1'='1",
    "' or 1=1 -- ",
    "' union select secret from canary -- ",
    "'; drop table canary; --",
    "'); delete from canary; --",
    "1; update canary set secret = 'x'",
    "/*! union select secret from canary */",
    "$$; drop table canary; $$",
    "E'\\x27",
    "\u02bc or 1=1",
    "\uff07 or 1=1",
    "\xbf' or 1=1 #",
    "%",
    "_",
    "*",
    "?",
    "[a-z]*",
    "%s %(v)s",
    ":v :name ::int \\:v",
    "$1 @v ?1",
    "{{ secret }} ${secret}",
    "\r\n",
    "\r\nflush_all\r\n",
    " 0 0 1\r\nx\r\n",
    "*1\r\n$8\r\nFLUSHALL\r\n",
    "\t",
    " ",
    "   ",
    "\0",
    "\x1a",
    "\x7f",
    "\u2028",
    "\u202e",
    "\ufeff",
    "\u0000x",
    "é",
    "e\u0301",
    "ß",
    "\u017f",
    "İ",
    "\u212a",
    "🜁",
    "\ud800",
    "bolt",
    "BOLT",
    "bolt ",
    "null",
    "NULL",
    "1e999",
    "0x41",
    "true",
    "-1",
    "a/b",
    "../x",
    "sess:ion",
    "{hash}tag",
    "{",
    "x" * 300,
    "é" * 256,
    "'" * 600,
]

Slot = Callable[[Bench, str], Awaitable[str | None]]


async def run(tally: Tally, numbers: range) -> None:
    """Try the values with these numbers; each at one place."""
    async with _places() as (benches, stores):
        for number in numbers:
            value, rng = _value(tally.rng), tally.rng
            place = number % (len(benches) + len(stores))
            if place < len(benches):
                bench, slot = benches[place], rng.choice(_SLOTS)
                wrong, refused = await _tried(partial(_on, bench, slot, value))
                name = f"{bench.kind} {slot.__name__.strip('_')}"
            else:
                name, store = stores[place - len(benches)]
                other = _alike(value, rng)
                wrong, refused = await _tried(partial(_kept, store, value, other))
            tally.judge(f"{number} {name} {value[:120]!r}", wrong, refused=refused)
        await _controls(tally, benches)


async def _tried(act: Callable[[], Awaitable[str | None]]) -> tuple[str | None, bool]:
    """What was wrong, and whether it was refused by an error of ours, which holds nothing of other rows."""
    try:
        return await act(), False
    except AnabranchError as error:
        return (f"the error shows {CANARY}" if CANARY in str(error) else None), True
    except Exception as error:
        return f"an untyped {type(error).__name__}: {str(error)[:200]}", False


@asynccontextmanager
async def _places() -> AsyncGenerator[tuple[list[Bench], list[tuple[str, ContextStore]]]]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="anabranch-attack-"))
        postgres, mysql = stack.enter_context(servers.postgres()), stack.enter_context(servers.mysql())
        urls = {
            "sqlite": f"sqlite:///{folder}/contexts.db",
            "postgresql": postgres,
            "mysql": mysql,
            "redis": stack.enter_context(servers.valkey()),
            "cluster": stack.enter_context(servers.valkey_cluster()),
            "memcached": stack.enter_context(servers.memcached()),
            "memory": "memory://",
        }
        benches = [Bench(url) for url in (f"sqlite:///{folder}/nodes.db", postgres, mysql)]
        for bench in benches:
            stack.push_async_callback(bench.activity.aclose)
            await bench.create()
            await bench.run("create table canary (id integer primary key, secret varchar(100))", idempotent=False)
            await bench.run("insert into canary values (1, :v)", params={"v": CANARY}, result="none")
            kept = "varchar(4000) character set utf8mb4" if bench.kind == "mysql" else "varchar(4000)"
            await bench.run(f"create table kept (id varchar(40) primary key, v {kept})", idempotent=False)
        stores = [(name, open_store(url)) for name, url in urls.items()]
        for _, store in stores:
            stack.push_async_callback(store.aclose)
            await store.save(_context("sentinel/a", CANARY))
        yield benches, stores


def _value(rng: random.Random) -> str:
    return "".join(rng.choice(_PARTS) for _ in range(rng.choice((1, 1, 1, 2, 3))))


def _alike(value: str, rng: random.Random) -> str:
    """Another text that something careless takes for the same one."""
    forms = [value.upper(), value.lower(), value + " ", value.strip(), unicodedata.normalize("NFD", value), value[:-1]]
    forms += [unicodedata.normalize("NFKC", value), value.replace("'", "''"), value + "\n"]
    return rng.choice([form for form in forms if form != value] or [value + "x"])


async def _on(bench: Bench, slot: Slot, value: str) -> str | None:
    try:
        wrong = await slot(bench, value)
    finally:
        left = await bench.run("select secret from canary", result="all")
    if left.writes != {"reserve": [{"secret": CANARY}]}:
        return f"another table was changed: {left.writes}"
    stock = await bench.run("select id, name from stock order by id", result="all")
    if stock.writes != {"reserve": [{"id": 1, "name": "bolt"}, {"id": 2, "name": "nut"}]}:
        return f"other rows were changed: {stock.writes}"
    return wrong


async def _condition(bench: Bench, value: str) -> str | None:
    """A bind in a condition finds equal names only."""
    found = await bench.run("select id, name from stock where name = :v", params={"v": value}, result="all")
    rows: Any = found.writes["reserve"]
    return None if all(_equal(bench, row["name"], value) for row in rows) else f"it found {rows}"


async def _from_context(bench: Bench, value: str) -> str | None:
    """The same, where a template reads the value from the context."""
    query, data = "select id, name from stock where name = :v", {"given": value}
    found = await bench.run(query, data, params={"v": "{{ given }}"}, result="all")
    rows: Any = found.writes["reserve"]
    return None if all(_equal(bench, row["name"], value) for row in rows) else f"it found {rows}"


async def _inserted(bench: Bench, value: str) -> str | None:
    """A bind is stored as it is."""
    return await _stored(bench, value, value)


async def _inside_json(bench: Bench, value: str) -> str | None:
    """A bind of an object, which is stored as JSON."""
    row = uuid.uuid4().hex
    await bench.run("insert into kept values (:id, :v)", params={"id": row, "v": {"k": [value]}}, result="none")
    query = "select count(*) from kept where id = :id and v is not null"
    count = await bench.run(query, params={"id": row}, result="scalar")
    return None if count.writes == {"reserve": 1} else f"{count.writes} rows were stored"


async def _limit(bench: Bench, value: str) -> str | None:
    """A bind where a number belongs."""
    found = await bench.run("select name from stock limit :v", params={"v": value}, result="all")
    return f"it was taken for a number: {found.writes}" if "select" in value else None


async def _key(bench: Bench, value: str) -> str | None:
    """The idempotency key: the same one is one effect, whatever it looks like."""
    row = uuid.uuid4().hex
    for attempt in (1, 2):
        key = f"{row}/{value}"
        params = {"id": f"{row}-{attempt}"}
        await bench.run("insert into kept values (:id, 'x')", params=params, key=key, result="none")
    count = await bench.run("select count(*) from kept where id like :id", params={"id": f"{row}%"}, result="scalar")
    return None if count.writes == {"reserve": 1} else f"it happened {count.writes} times"


_SLOTS: list[Slot] = [_condition, _from_context, _inserted, _inside_json, _limit, _key]


async def _stored(bench: Bench, value: str, expected: str) -> str | None:
    row = uuid.uuid4().hex
    await bench.run("insert into kept values (:id, :v)", params={"id": row, "v": value}, result="none")
    found = await bench.run("select v from kept where id = :id", params={"id": row}, result="first")
    return None if found.writes == {"v": expected} else f"{found.writes!r:.200} was stored"


def _equal(bench: Bench, name: str, value: str) -> bool:
    """Whether a database may find the name by the value: MySQL's collation knows no case and no spaces at the end."""
    if bench.kind != "mysql":
        return name == value
    return name.casefold() == value.rstrip(" ").casefold()


async def _kept(store: ContextStore, value: str, other: str) -> str | None:
    """Two keys that look alike are two keys, and a prefix is no pattern."""
    ids = [f"k/{value}", f"k/{other}"]
    await store.save(_context(ids[0], value))
    if ids[1] != ids[0]:
        await store.save(_context(ids[1], other))
    loaded = await store.load(ids[0])
    if loaded is None or loaded.data != {"v": value} or loaded.session_id != ids[0]:
        return f"it came back as {loaded!r:.200}"
    found = [name async for name in store.list_sessions(ids[0])]
    whole = type(store).__name__ != "MemcachedStore"  # whose listing leaves out what moves just then
    if (whole and ids[0] not in found) or any(not name.startswith(ids[0]) for name in found):
        return f"its prefix lists {found!r:.200}"
    if not await store.delete(ids[0]) or await store.exists(ids[0]):
        return "it was not deleted"
    left = await store.load(ids[1])
    if left is None or left.data != {"v": other}:
        return f"its deletion took {ids[1]!r} along"
    await store.delete(ids[1])
    sentinel = await store.load("sentinel/a")
    return None if sentinel is not None and sentinel.data == {"v": CANARY} else "another context is gone"


def _context(session_id: str, value: str) -> DistributedContext:
    return DistributedContext(session_id, {"v": value}, ContextMetadata(1, 2, 1, value[:50], (value[:50],)))


class _Folding:
    """A store that takes keys for the same that are not."""

    def __init__(self, store: ContextStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def load(self, session_id: str) -> DistributedContext | None:
        return await self._store.load(session_id.lower())


async def _controls(tally: Tally, benches: list[Bench]) -> None:
    """SQL that is put together from texts, and a store that folds keys."""
    hole: Any = "select name from stock where name = '{}'"
    for bench in benches:

        async def careless(bench: Bench, value: str) -> str | None:
            async with bench.databases.get("DB").engine.connect() as connection:
                query = hole.format(value).replace("stock", bench.table)
                names = [row[0] for row in await connection.execute(text(query))]
            return None if all(_equal(bench, name, value) for name in names) else f"it found {names}"

        seen = await careless(bench, "' union select secret from canary where '1'='1")
        tally.control(f"SQL put together, {bench.kind}", seen=seen is not None)
    folding: Any = _Folding(open_store("memory://"))
    tally.control("a store that folds keys", seen=await _kept(folding, "BOLT", "bolt") is not None)


INJECTIONS = Attack("injections", run, small=400, release=6_000, chunk=3_000)
