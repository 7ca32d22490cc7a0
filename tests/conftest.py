"""Fixtures that every test may use: real servers, one of each for a test process, started when first asked for."""

from __future__ import annotations

import atexit
import os
import sys
import uuid
from collections.abc import Iterator

import hypothesis
import pytest
from temporalio.client import Client
from xdist.scheduler import LoadScopeScheduling

from anabranch.dev.devserver import DevServer
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests import servers

# Processes of other tests share the machine: how long examples take says nothing.
hypothesis.settings.register_profile(
    "anabranch", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("anabranch")
_sessions: list[pytest.Session] = []


def pytest_sessionstart(session: pytest.Session) -> None:
    _sessions.append(session)


@atexit.register
def _leave_with_the_session_s_exit_status() -> None:
    """Leave before the interpreter is torn down, which can crash in a process that used Temporal's client.

    A crash there would replace pytest's exit status by a signal's. Nothing can be hidden: this runs after pytest has
    reported and has settled its status, and leaves with that status.
    """
    if _sessions:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(_sessions[-1].exitstatus))


class _ByServers(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Spreads tests one by one, those that share a server of their module as a whole.

    (xdist's own groups set a node id that pytest 9.2 no longer reads.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file.startswith("tests/acceptance/") or file.endswith("_as_new.py") else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """How `-n` spreads the tests."""
    return _ByServers(config, log)


@pytest.fixture(scope="session")
def dev_server() -> Iterator[DevServer]:
    """A Temporal dev server of this test process."""
    with servers.temporal() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The SQLAlchemy URL (asyncpg) of a PostgreSQL of this test process."""
    with servers.postgres() as url:
        yield url


@pytest.fixture(scope="session")
def mysql_url() -> Iterator[str]:
    """The URL of a database in a MariaDB of this test process."""
    with servers.mysql() as url:
        yield url


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """The URL of a Valkey of this test process."""
    with servers.valkey() as url:
        yield url


@pytest.fixture(scope="session")
def memcached_url() -> Iterator[str]:
    """The URL of a Memcached of this test process."""
    with servers.memcached() as url:
        yield url


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a NATS server with JetStream of this test process."""
    with servers.nats(tmp_path_factory.mktemp("nats")) as url:
        yield url


@pytest.fixture(scope="session")
def kafka_url() -> Iterator[str]:
    """The URL of a mock Kafka cluster of this test process."""
    with servers.kafka() as url:
        yield url


@pytest.fixture
async def client(dev_server: DevServer) -> Client:
    """A client of the dev server with our data converter, whatever server the environment names."""
    return await connect(
        Settings(), target_host=dev_server.address, namespace="default", api_key=None, tls=False, rpc_metadata={}
    )


@pytest.fixture
def task_queue(request: pytest.FixtureRequest) -> str:
    """A task queue that no other test uses."""
    return f"{request.node.name}-{uuid.uuid4().hex[:8]}"
