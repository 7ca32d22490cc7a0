"""The certificates that a `grpc` node trusts in place of the system's: a variable of the worker holds them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from anabranch.errors import ConfigurationError


def certificates(environ: Mapping[str, str], variable: str) -> bytes:
    """The certificates that a variable holds, or the file that it names. Raises ConfigurationError."""
    value = environ.get(variable, "")
    try:
        pem = value if value.lstrip().startswith("-----BEGIN") else Path(value).read_text("ascii")
        ssl.create_default_context(cadata=pem)
    except (OSError, ValueError):  # SSLError is an OSError
        raise ConfigurationError(
            f"the environment variable {variable} holds no certificates, and names no file of them",
            suggestion="set it in the worker's environment: certificates in PEM, or the path of their file",
        ) from None
    return pem.encode()
