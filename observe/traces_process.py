"""Whether a process sends traces, and for how long."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from anabranch.errors import ConfigurationError
from anabranch.settings import Settings

_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP: Final = "http/protobuf"


@contextmanager
def traces_sent(settings: Settings) -> Generator[None]:
    """Send traces while the block runs, if the environment says where to. Raises ConfigurationError."""
    if (endpoint := settings.traces_endpoint) is None:
        yield
        return
    for variable in _PROTOCOLS:
        if os.environ.get(variable, _HTTP) != _HTTP:
            raise ConfigurationError(
                f"traces are sent by OTLP over HTTP only ({_HTTP})",
                place=variable,
                suggestion="unset it, and name the collector's port for HTTP, mostly 4318",
            )
    try:
        from anabranch.observe.traces_provider import end_traces, send_traces
    except ImportError as missing:
        raise ConfigurationError(
            f"traces need OpenTelemetry's SDK, and {missing.name!r} is not installed",
            place="OTEL_EXPORTER_OTLP_ENDPOINT",
            suggestion="pip install 'anabranch[otel]', or set OTEL_TRACES_EXPORTER=none",
        ) from None
    provider = send_traces(endpoint)
    try:
        yield
    finally:
        end_traces(provider)
