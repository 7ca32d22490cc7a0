"""Which URLs a database has, and what an engine is made of. Servers are in the integration tests."""

from __future__ import annotations

import pytest

from anabranch.errors import ConfigurationError
from anabranch.sql.engines import open_engine


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://me:s3cret@host:5433/name", "postgresql+asyncpg"),
        ("postgres://host/name", "postgresql+asyncpg"),
        ("postgresql+psycopg://host/name", "postgresql+asyncpg"),
        ("mysql://host/name", "mysql+asyncmy"),
        ("mariadb://host/name", "mysql+asyncmy"),
        ("sqlite:///file.db", "sqlite+aiosqlite"),
    ],
)
async def test_the_async_driver_follows_from_the_scheme(url: str, driver: str) -> None:
    engine = open_engine(url)
    assert (engine.url.drivername, engine.url.database) == (driver, url.rpartition("/")[2])
    await engine.dispose()


@pytest.mark.parametrize("wrong", ["", "s3cret", "s3cret://host/x", "postgresql://s3cret:port/x", "redis://s3cret"])
def test_another_url_is_refused_naming_the_variable_and_not_the_url(wrong: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_engine(wrong, variable="STORE_URL")
    assert caught.value.message == "the environment variable STORE_URL is not the URL of a database"
    assert "s3cret" not in str(caught.value)


def test_sslmode_is_asyncpg_s_ssl() -> None:
    engine = open_engine("postgresql://host/name?sslmode=require&application_name=x")
    assert engine.url.query == {"ssl": "require", "application_name": "x"}


async def test_values_stay_out_of_errors() -> None:
    for url in ("postgresql://host/name", "mysql://host/name", "sqlite://"):
        assert open_engine(url).sync_engine.hide_parameters
