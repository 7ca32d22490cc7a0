"""Fixtures that every test may use: real servers, one of each for a test process, started when first asked for."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import hypothesis
import pytest
import structlog
from temporalio import activity, workflow
from temporalio.client import Client

from anabranch.dev.devserver import DevServer
from tests import servers
from tests.asking import connect_to
from tests.examples import examples
from tests.servers import NotInstalled

pytest_plugins = ["tests.whole_run"]

# Processes of other tests share the machine: how long examples take says nothing.
hypothesis.settings.register_profile(
    "anabranch", max_examples=examples(100), deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("anabranch")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """What a command that ran in this process made of logging, for a process of its own, ends with the test."""
    root, configured = logging.getLogger(), structlog.get_config()
    loggers = [root, *map(logging.getLogger, ("anabranch", "anabranch.run"))]
    before = [(each.level, each.handlers[:]) for each in loggers]
    yield
    if structlog.get_config() != configured:
        structlog.configure(**configured)
        for each, (level, handlers) in zip(loggers, before, strict=True):
            each.setLevel(level)
            each.handlers[:] = handlers
        logging.captureWarnings(capture=False)
        activity.logger.activity_info_on_message = workflow.logger.workflow_info_on_message = True


@contextmanager
def or_skipped() -> Generator[None]:
    """Skip the test where a program that the block needs is not installed; under CI that is a failure."""
    try:
        yield
    except NotInstalled as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


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
    with or_skipped(), servers.mysql() as url:
        yield url


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """The URL of a Valkey of this test process."""
    with servers.valkey() as url:
        yield url


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    """The URL of a cluster of this test process, of one Valkey."""
    with servers.valkey_cluster() as url:
        yield url


@pytest.fixture(scope="session")
def memcached_url() -> Iterator[str]:
    """The URL of a Memcached of this test process."""
    with or_skipped(), servers.memcached() as url:
        yield url


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the system's Chromium."""
    with or_skipped():
        return servers.program("chromium")
    raise AssertionError


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
    return await connect_to(dev_server)


@pytest.fixture
def task_queue(request: pytest.FixtureRequest) -> str:
    """A task queue that no other test uses."""
    return f"{request.node.name}-{uuid.uuid4().hex[:8]}"
