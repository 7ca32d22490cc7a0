"""The tests' client: queries are asked again where a busy machine did not let them be answered."""

from __future__ import annotations

from typing import Any

from temporalio.client import Client, Interceptor, OutboundInterceptor, QueryWorkflowInput
from temporalio.service import RPCError, RPCStatusCode

from anabranch.dev.devserver import DevServer
from anabranch.settings import Settings
from anabranch.transport.client import connect

ATTEMPTS = 6
_NOT_IN_TIME = {RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED}


async def connect_to(server: DevServer) -> Client:
    """A client of this server with our data converter, whatever server the environment names."""
    return await connect(
        Settings(),
        target_host=server.address,
        namespace="default",
        api_key=None,
        tls=False,
        rpc_metadata={},
        interceptors=[AskAgain()],
    )


class AskAgain(Interceptor):
    """The server gives a worker ten seconds to answer a query, which pass where other processes have the CPU."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 - the SDK's name
        return _Outbound(next)


class _Outbound(OutboundInterceptor):
    async def query_workflow(self, input: QueryWorkflowInput) -> Any:  # noqa: A002 - the SDK's name
        for _ in range(ATTEMPTS - 1):
            try:
                return await super().query_workflow(input)
            except RPCError as error:
                if error.status not in _NOT_IN_TIME:
                    raise
        return await super().query_workflow(input)
