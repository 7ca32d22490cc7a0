"""Which variables of a worker a graph's `connection` may name."""

from __future__ import annotations

import pytest

from anabranch.activities.sql.databases import Databases
from anabranch.errors import ConfigurationError
from anabranch.settings import Settings, is_own, on_this_machine, settings_from_environment


def opens(variable: str, *names: str) -> bool:
    databases = Databases({variable: "sqlite:///:memory:"}, names=names)
    try:
        return databases.get(variable).variable == variable
    except ConfigurationError:
        return False


@pytest.mark.parametrize(
    ("variable", "names", "is_open"),
    [
        ("DB_SHOP", ("DB_*",), True),
        ("DB_", ("DB_*",), True),
        ("DB", ("DB_*",), False),
        ("MYDB_SHOP", ("DB_*",), False),
        ("ORDERS", ("SHOP", "ORDERS"), True),
        ("ORDERS_2", ("ORDERS",), False),
        ("ORDERS", (), False),
        ("ANYTHING", ("*",), True),
    ],
)
def test_a_connection_is_opened_where_a_name_or_a_prefix_lists_it(
    variable: str, names: tuple[str, ...], is_open: bool
) -> None:
    assert opens(variable, *names) is is_open


OWN = [
    *("PAYLOAD_STORE_URL", "STORE_URL", "CACHE_URL", "REDIS_URL", "TEMPORAL_ADDRESS", "TEMPORAL_TLS_CERT"),
    *("OPENAI_API_KEY", "STRIPE_API_KEY", "OPENAI_BASE_URL", "HTTP_SECRET_BANK", "ANABRANCH_GRAPHS", "CONTEXT_FORMAT"),
    "OTEL_EXPORTER_OTLP_HEADERS",
]


@pytest.mark.parametrize("variable", OWN)
def test_a_variable_of_the_worker_itself_is_never_opened_and_cannot_be_listed(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_own(variable)
    assert not opens(variable, "*", variable, variable[:-1] + "*")
    monkeypatch.setenv("ANABRANCH_CONNECTIONS", f"DB_*, {variable}")
    with pytest.raises(ConfigurationError, match=f"{variable} is a variable of the worker itself") as caught:
        settings_from_environment()
    assert caught.value.place == "ANABRANCH_CONNECTIONS"


@pytest.mark.parametrize("name", ["db", "D*B", "*_URL", "DB-1", "DB**"])
def test_what_is_no_name_and_no_prefix_cannot_be_listed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANABRANCH_CONNECTIONS", name)
    with pytest.raises(ConfigurationError, match="is no name of a variable"):
        settings_from_environment()


def test_a_worker_trusts_its_starters_less_than_a_command_with_its_own_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANABRANCH_CONNECTIONS", raising=False)
    monkeypatch.delenv("ANABRANCH_INLINE_GRAPHS", raising=False)
    worker = settings_from_environment()
    assert (worker.inline_graphs, worker.connections) == (False, ("DB_*", "POSTGRES_URL", "MYSQL_URL", "SQLITE_URL"))
    here = on_this_machine(worker)
    assert (here.inline_graphs, here.connections) == (True, ("*",))
    monkeypatch.setenv("ANABRANCH_CONNECTIONS", "DB_*")
    monkeypatch.setenv("ANABRANCH_INLINE_GRAPHS", "off")
    said = on_this_machine(Settings())
    assert (said.inline_graphs, said.connections) == (False, ("DB_*",))
