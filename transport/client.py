"""The connection to Temporal: its own environment configuration, our data converter."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from temporalio.client import Client, GrpcCompression
from temporalio.converter import DataConverter
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime

from anabranch.errors import ConfigurationError, Unavailable
from anabranch.settings import Settings
from anabranch.transport.converter import data_converter

DEFAULT_ADDRESS = "localhost:7233"


async def connect(settings: Settings, *, runtime: Runtime | None = None, **overrides: Any) -> Client:
    """Connect as Temporal's variables and profiles (`TEMPORAL_ADDRESS`, `TEMPORAL_PROFILE`, …) say.

    `overrides` are arguments of `Client.connect` and win over the environment. Raises `Unavailable` naming the address
    when no server answers, `ConfigurationError` when the profile cannot be read.
    """
    options: dict[str, Any] = {"target_host": DEFAULT_ADDRESS, **_from_environment(), "runtime": runtime}
    options["data_converter"] = converter_for(settings)
    options.update(overrides)
    address = options["target_host"]
    if is_loopback(address):
        # Between processes of one machine, gzip costs more than the bytes that it saves.
        options.setdefault("grpc_compression", GrpcCompression.NONE)
    try:
        return await Client.connect(**options)
    except RuntimeError as error:
        raise Unavailable(
            f"no Temporal server answers: {_reason(error)}",
            place=address,
            suggestion="start one with `anabranch dev`, or set TEMPORAL_ADDRESS",
        ) from error


def _reason(error: RuntimeError) -> str:
    """The system's message, without the types of the SDK's core around it."""
    said = re.search(r'message: "([^"]+)"', str(error))
    return said[1] if said else str(error)


def converter_for(settings: Settings) -> DataConverter:
    """The data converter that clients and workers with these settings use."""
    if settings.payload_store_url is None:
        return data_converter(settings.context_format)
    from anabranch.transport.payload_store import offloading

    storage = offloading(settings.payload_store_url, threshold=settings.payload_store_threshold_bytes)
    return data_converter(settings.context_format, storage=storage)


def named_address() -> str | None:
    """The server that Temporal's variables or its profile name, or None. Raises `ConfigurationError`."""
    address = _from_environment().get("target_host")
    return None if address is None else str(address)


def is_loopback(address: str) -> bool:
    """Whether `host:port` names this machine."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _from_environment() -> dict[str, Any]:
    try:
        return dict(ClientConfig.load_client_connect_config())
    except RuntimeError as error:
        raise ConfigurationError(
            f"Temporal's client configuration cannot be read: {error}",
            suggestion="look at TEMPORAL_CONFIG_FILE and TEMPORAL_PROFILE",
        ) from error
