"""Which URLs a Redis has, what the client makes of them, and what errors say. Servers are in the contract tests."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from redis.asyncio import ConnectionPool, Redis, RedisCluster, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import AuthenticationError, NoPermissionError, ReadOnlyError

from anabranch.errors import AnabranchError, ConfigurationError, Unavailable
from anabranch.loopback import free_port
from anabranch.redis_client import RedisClient


def pool_of(client: RedisClient) -> ConnectionPool:
    assert isinstance(client.commands, Redis)
    return client.commands.connection_pool


def options(url: str) -> tuple[type, dict[str, Any]]:
    pool = pool_of(RedisClient.from_url(url))
    return pool.connection_class, pool.connection_kwargs


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_a_plain_scheme_names_a_host_and_a_database(scheme: str) -> None:
    kind, arguments = options(f"{scheme}://me:s3cret@host:6380/2")
    assert not issubclass(kind, SSLConnection)
    found = [arguments[name] for name in ("host", "port", "db", "username", "password")]
    assert found == ["host", 6380, 2, "me", "s3cret"]


@pytest.mark.parametrize("scheme", ["rediss", "valkeys", "REDISS"])
def test_a_secure_scheme_is_tls(scheme: str) -> None:
    kind, arguments = options(f"{scheme}://host")
    assert (issubclass(kind, SSLConnection), arguments["host"]) == (True, "host")


def test_a_unix_scheme_names_a_socket() -> None:
    kind, arguments = options("unix:///run/redis.sock?db=3")
    assert (issubclass(kind, UnixDomainSocketConnection), arguments["path"], arguments["db"]) == (
        True,
        "/run/redis.sock",
        3,
    )


@pytest.mark.parametrize("scheme", ["redis+cluster", "valkey+cluster"])
async def test_a_cluster_is_named_by_its_scheme(scheme: str) -> None:
    assert isinstance(RedisClient.from_url(f"{scheme}://host:6379").commands, RedisCluster)


def test_time_outs_attempts_and_connections_are_bounded() -> None:
    pool = pool_of(RedisClient.from_url("redis://host", timeout=1.5, retries=4, max_connections=7))
    arguments = pool.connection_kwargs
    assert (arguments["socket_timeout"], arguments["socket_connect_timeout"]) == (1.5, 1.5)
    assert (arguments["retry"].get_retries(), pool.max_connections) == (4, 7)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "foo",
        "http://s3cret",
        "redis",
        "redis://s3cret:port",
        "redis://s3cret:99999",
        "redis://s3cret/zero",
        "redis://[s3cret",
        "redis://host?s3cret=1",
        "redis://host?socket_timeout=s3cret",
        "rediss://host?ssl_cert_reqs=s3cret",
        "redis+s3cret://host",
        "unix://",
        "unix+cluster:///s3cret",
        "redis+cluster://host?s3cret=1",
    ],
)
async def test_another_url_is_refused_naming_the_variable_and_not_the_url(wrong: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisClient.from_url(wrong, variable="REDIS_URL")
    assert caught.value.message == "the environment variable REDIS_URL is not the URL of a Redis"
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"^this is not the URL of a Redis \(write redis://host:6379/0"):
        RedisClient.from_url(wrong)


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (ReadOnlyError("s3cret:6379"), Unavailable, "Redis did not answer as it should: ReadOnlyError"),
        (OSError("s3cret"), Unavailable, "Redis did not answer as it should: OSError"),
        (ValueError("s3cret"), Unavailable, "Redis did not answer as it should: ValueError"),
        (AuthenticationError("s3cret"), ConfigurationError, "Redis refused the credentials: AuthenticationError"),
        (NoPermissionError("s3cret"), ConfigurationError, "Redis refused the credentials: NoPermissionError"),
    ],
)
async def test_its_errors_are_ours_and_name_the_variable(
    raised: Exception, expected: type[AnabranchError], message: str
) -> None:
    redis = RedisClient.from_url("redis://host", variable="STORE_URL")
    with pytest.raises(expected) as caught:
        async with redis:
            raise raised
    assert (caught.value.message, caught.value.place) == (message, "STORE_URL")
    assert "s3cret" not in str(caught.value)


async def test_an_error_of_ours_and_a_bug_pass_as_they_are() -> None:
    redis = RedisClient.from_url("redis://host")
    for error in (ConfigurationError("mine"), KeyError("bug")):
        with pytest.raises(type(error)) as caught:
            async with redis:
                raise error
        assert caught.value is error


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    redis = RedisClient.from_url(f"redis://127.0.0.1:{free_port()}", retries=0)
    with pytest.raises(Unavailable, match="Redis did not answer as it should: ConnectionError"):
        async with redis as commands:
            await commands.get("key")
    await redis.aclose()


def test_a_worker_with_a_wrong_redis_url_says_so_in_one_line() -> None:
    command = [sys.executable, "-m", "anabranch", "worker"]
    environment = {**os.environ, "REDIS_URL": "foo"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "error[CONFIGURATION_INVALID]: the environment variable REDIS_URL is not the URL of a store" in ended.stderr
    assert "Traceback" not in ended.stderr


async def forgetful() -> None:
    """Forgets that it is cancelled, as `asyncio.wait_for` of Python 3.11 does where its work has just ended."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(3600)


async def test_a_timeout_that_the_library_forgets_ends_the_block() -> None:
    client = RedisClient(Redis())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0), client:
            await forgetful()
    async with client:  # afterwards it is as before
        await asyncio.sleep(0)


async def test_a_cancellation_that_the_library_forgets_counts_more_than_an_error() -> None:
    async def call() -> None:
        async with RedisClient(Redis()):
            await forgetful()
            raise ConnectionResetError

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_cancelled_already_may_still_clean_up() -> None:
    client, cleaned = RedisClient(Redis()), []

    async def call() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            for step in ("release", "forget"):
                async with client:
                    await asyncio.sleep(0)
                cleaned.append(step)

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == ["release", "forget"]


async def test_a_cluster_s_client_closes_what_connected_while_another_call_failed(cluster_url: str) -> None:
    redis = RedisClient.from_url(cluster_url)
    async with redis as commands:
        assert isinstance(commands, RedisCluster)
        await commands.get("key")
        node = commands.nodes_manager.get_node_from_slot(commands.keyslot("key"))
        calls = [asyncio.ensure_future(commands.get("key")) for _ in range(4)]
        await asyncio.sleep(0)
        await commands.aclose()  # as the library does after a call that failed
        await asyncio.gather(*calls)
    assert any(each.is_connected for each in node._connections)
    await redis.aclose()
    assert not any(each.is_connected for each in node._connections)
