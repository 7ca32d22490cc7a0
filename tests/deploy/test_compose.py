"""`deploy/docker-compose.yaml` names what is there: services, files, variables."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from anabranch.worker import GRACE
from tests.deploy.files import DEPLOY, ROOT, unknown_variables

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
WORKER = SERVICES["worker"]


def test_there_are_a_server_a_database_a_store_and_a_worker() -> None:
    assert SERVICES.keys() == {"temporal", "postgres", "valkey", "worker"}
    assert COMPOSE.keys() == {"name", "services", "volumes"}


def test_the_worker_is_given_variables_that_it_knows() -> None:
    environment = WORKER["environment"]
    assert unknown_variables(set(environment) - set(environment["ANABRANCH_CONNECTIONS"].split(","))) == set()


def test_every_address_that_the_worker_is_given_is_a_service() -> None:
    hosts = re.findall(r"(?:^|//|@)([a-z]+):\d+", "\n".join(WORKER["environment"].values()), re.MULTILINE)
    assert sorted(hosts) == ["postgres", "temporal", "valkey"]


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_mounts_and_waits_for_is_there(name: str) -> None:
    service = SERVICES[name]
    for volume in service.get("volumes", ()):
        source = volume.split(":")[0]
        assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
    for other, condition in service.get("depends_on", {}).items():
        assert condition["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]


@pytest.mark.parametrize("name", SERVICES)
def test_only_this_machine_reaches_a_service(name: str) -> None:
    assert [port for port in SERVICES[name].get("ports", ()) if not port.startswith("127.0.0.1:")] == []


def test_the_worker_is_built_of_the_containerfile_and_runs_without_rights() -> None:
    build = WORKER["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).exists()
    assert (WORKER["read_only"], WORKER["cap_drop"], WORKER["tmpfs"]) == (True, ["ALL"], ["/tmp"])
    assert int(WORKER["stop_grace_period"].removesuffix("s")) > 30 > GRACE.total_seconds()


def test_the_store_forgets_no_limit_to_make_room() -> None:
    command = SERVICES["valkey"]["command"]
    given = dict(zip(command[1::2], command[2::2], strict=True))
    assert (given["--maxmemory-policy"], given["--appendonly"]) == ("noeviction", "yes")
