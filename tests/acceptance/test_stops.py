"""A tenth of the workers that `make soak` stops."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from anabranch.dev.devserver import DevServer
from tests import servers
from tests.stops.harness import SERVER, prove
from tests.stops.scenarios import stops

TRIES = 20


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    with servers.temporal(dynamic_config=SERVER) as started:
        yield started


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_worker_is_gone_within_its_grace_and_ten_seconds_whatever_it_is_in_the_middle_of(
    server: DevServer,
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    report = await prove(server.address, stops(TRIES, seed))
    assert report.wrong == [], f"seed {seed}"
    assert report.ends.total() == TRIES
