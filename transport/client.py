"""The connection to Temporal: its own environment configuration, our data converter."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import re
import ssl
import time
from collections.abc import Iterable
from typing import Any, Final

import structlog
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, GrpcCompression
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from anabranch import spans
from anabranch.backoff import Backoff
from anabranch.errors import AnabranchError, ConfigurationError, Unavailable
from anabranch.settings import Settings
from anabranch.transport.converter import data_converter
from anabranch.transport.marking import MarkingDataConverter

DEFAULT_ADDRESS = "localhost:7233"
_PAUSES: Final = Backoff(first=0.5, longest=10)
_ATTEMPT_SECONDS: Final = 20.0
_HANDSHAKE_SECONDS: Final = 3.0
_LOG_SECONDS: Final = 30.0
"""A worker that waits for hours does not fill its log."""

log = structlog.get_logger("anabranch.worker")


async def connect(settings: Settings, *, runtime: Runtime | None = None, **overrides: Any) -> Client:
    """Connect as Temporal's variables and profiles (`TEMPORAL_ADDRESS`, `TEMPORAL_PROFILE`, …) say.

    `overrides` are arguments of `Client.connect` and win over the environment. Raises `Unavailable` naming the address
    when no server answers; `ConfigurationError` when the profile cannot be read, TLS fails, or credentials are refused.
    """
    options: dict[str, Any] = {"target_host": DEFAULT_ADDRESS, **_from_environment(), "runtime": runtime}
    options["data_converter"] = converter_for(settings)
    options.update(overrides)
    if spans.tracer() is not None:
        from temporalio.contrib.opentelemetry import OpenTelemetryPlugin

        # It carries the trace from process to process; the spans are ours.
        options["plugins"] = [OpenTelemetryPlugin(), *options.get("plugins", ())]
    address = options["target_host"]
    if is_loopback(address):
        # Between processes of one machine, gzip costs more than the bytes that it saves.
        options.setdefault("grpc_compression", GrpcCompression.NONE)
    try:
        return await Client.connect(**options)
    except ValueError as error:
        raise ConfigurationError(
            f"this is not the address of a server: {error}", place=address, suggestion="set TEMPORAL_ADDRESS=host:port"
        ) from error
    except RuntimeError as error:
        raise await _failure(str(error), address, plain=not (options.get("tls") or options.get("api_key"))) from error


async def connect_when_up(settings: Settings, *, pauses: Iterable[float] = _PAUSES, **overrides: Any) -> Client:
    """Connect as soon as a server answers, and serves the namespace. A log line says now and then what it waits for.

    Raises `ConfigurationError` for what no waiting changes.
    """
    logged = -math.inf
    for pause in pauses:
        try:
            async with asyncio.timeout(_ATTEMPT_SECONDS):
                client = await connect(settings, **overrides)
                await check_namespace(client)
                return client
        except (Unavailable, TimeoutError) as error:
            if (now := time.monotonic()) - logged >= _LOG_SECONDS:
                logged = now
                address = overrides.get("target_host") or named_address() or DEFAULT_ADDRESS
                reason = str(error) or f"no answer within {_ATTEMPT_SECONDS:g} s"
                log.warning("waiting for Temporal", address=address, reason=reason)
        await asyncio.sleep(pause)
    raise Unavailable("no Temporal server answers")


async def check_namespace(client: Client) -> None:
    """Ask the server for the client's namespace: one that starts answers before it knows its namespaces.

    Some check credentials only here. Raises Unavailable, ConfigurationError.
    """
    address = client.service_client.config.target_host
    try:
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    except RPCError as error:
        if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED):
            raise _refused(error.message, address) from error
        if error.status == RPCStatusCode.NOT_FOUND:
            raise ConfigurationError(
                f"the Temporal server has no namespace {client.namespace!r}",
                place=address,
                suggestion="create it by `temporal operator namespace create`, or set TEMPORAL_NAMESPACE",
            ) from error
        raise Unavailable(f"the Temporal server does not serve yet: {error.message}", place=address) from error


async def _failure(said: str, address: str, *, plain: bool) -> AnabranchError:
    """What the SDK's core says of a connection that failed. It has no types for it."""
    if re.search("code: (Unauthenticated|PermissionDenied)", said):
        return _refused(_reason(said), address)
    if "kind: InvalidData" in said:
        return ConfigurationError(
            f"no TLS connection to the Temporal server: {_reason(said)}",
            place=address,
            suggestion="look at TEMPORAL_TLS and the other TEMPORAL_TLS_… variables; an API key asks for TLS too",
        )
    if plain and "tcp connect error" not in said and await _speaks_tls(address):
        return ConfigurationError("the Temporal server asks for TLS", place=address, suggestion="set TEMPORAL_TLS=true")
    return Unavailable(
        f"no Temporal server answers: {_reason(said)}",
        place=address,
        suggestion="start one with `anabranch dev`, or set TEMPORAL_ADDRESS",
    )


def _refused(said: str, address: str) -> ConfigurationError:
    return ConfigurationError(
        f"the Temporal server refuses the credentials: {said}",
        place=address,
        suggestion="look at TEMPORAL_API_KEY, TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_NAMESPACE",
    )


def _reason(said: str) -> str:
    """The system's message, without the types of the SDK's core around it."""
    parts = re.findall(r"kind: InvalidData, error: (.+?)\s*\}", said) or re.findall(
        r'(?:message|error): "([^"]+)"', said
    )
    return parts[-1] if parts else said


async def _speaks_tls(address: str) -> bool:
    """Whether a server that closes plain connections takes a TLS handshake; who it is does not matter here."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except (OSError, ValueError, TimeoutError):
        return False
    writer.transport.abort()
    return True


def converter_for(settings: Settings) -> MarkingDataConverter:
    """The data converter that clients and workers with these settings use. Raises ConfigurationError."""
    cipher = settings.cipher()
    if settings.payload_store_url is None:
        return data_converter(settings.context_format, cipher=cipher)
    from anabranch.transport.payload_store import offloading

    storage = offloading(settings.payload_store_url, threshold=settings.payload_store_threshold_bytes)
    return data_converter(settings.context_format, storage=storage, cipher=cipher)


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
