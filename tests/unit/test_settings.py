"""What the environment says of a worker's version."""

import pytest

from anabranch.errors import ConfigurationError
from anabranch.settings import settings_from_environment

TOGETHER = "ANABRANCH_DEPLOYMENT and ANABRANCH_BUILD_ID go together"


@pytest.mark.parametrize(
    ("deployment", "build_id"),
    [("ANABRANCH_DEPLOYMENT", "ANABRANCH_BUILD_ID"), ("TEMPORAL_DEPLOYMENT_NAME", "TEMPORAL_WORKER_BUILD_ID")],
)
def test_a_worker_s_version_has_our_names_and_those_of_the_worker_controller(
    monkeypatch: pytest.MonkeyPatch, deployment: str, build_id: str
) -> None:
    monkeypatch.setenv(deployment, "orders")
    monkeypatch.setenv(build_id, "1.0")
    found = settings_from_environment()
    assert (found.deployment, found.build_id, found.versioning) == ("orders", "1.0", "pinned")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"ANABRANCH_DEPLOYMENT": "orders"}, TOGETHER),
        ({"ANABRANCH_BUILD_ID": "1"}, TOGETHER),
        ({"ANABRANCH_DEPLOYMENT": "or.ders", "ANABRANCH_BUILD_ID": "1"}, "holds a dot"),
        ({"ANABRANCH_DEPLOYMENT": "__orders", "ANABRANCH_BUILD_ID": "1"}, "begins with __"),
    ],
)
def test_half_a_version_or_a_name_that_temporal_refuses_is_an_error(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], message: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=message):
        settings_from_environment()


@pytest.mark.parametrize("url", ["http://console:8234", "https://ops.example/anabranch/"])
def test_the_console_is_where_its_address_says(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("ANABRANCH_CONSOLE_URL", url)
    assert settings_from_environment().console_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url", ["", "console:8234", "javascript:alert(1)", "https://", "https://h/?x=1", "https://h/#a", "https://h/)[x](y"]
)
def test_what_is_no_address_of_a_console_is_an_error(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("ANABRANCH_CONSOLE_URL", url)
    with pytest.raises(ConfigurationError, match="ANABRANCH_CONSOLE_URL: "):
        settings_from_environment()
