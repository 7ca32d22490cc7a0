"""gRPC's library, which is an extra of its own (`anabranch[grpc]`): everything here takes it from this module.

It is configured by variables that it reads when it is imported. Its core writes to standard error what it sees of other
servers, past the logs and what masks secrets in them.
"""

from __future__ import annotations

import os

from anabranch.errors import ConfigurationError

os.environ.setdefault("GRPC_VERBOSITY", "NONE")

try:
    import grpc
    from grpc import aio
    from grpc_reflection.v1alpha import reflection_pb2
except ImportError as missing:
    raise ConfigurationError(
        "`grpc` nodes need a package that is not installed", suggestion="pip install 'anabranch[grpc]'"
    ) from missing

__all__ = ["aio", "grpc", "reflection_pb2"]
