"""The tests' clients ask a query again that was not answered in time, and no other."""

from typing import Any, cast

import pytest
from temporalio.client import OutboundInterceptor, QueryWorkflowInput
from temporalio.service import RPCError, RPCStatusCode

from tests.asking import ATTEMPTS, AskAgain


class Server(OutboundInterceptor):
    """Answers after so many refusals; it stands in for a server, which nothing makes too busy at will."""

    def __init__(self, refusals: int, status: RPCStatusCode) -> None:
        self.refusals, self.status, self.asked = refusals, status, 0

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:  # noqa: A002 - the SDK's name
        self.asked += 1
        if self.asked <= self.refusals:
            raise RPCError("refused", self.status, b"")
        return "answer"


async def ask(server: Server) -> Any:
    return await AskAgain().intercept_client(server).query_workflow(cast("QueryWorkflowInput", None))


async def test_a_query_that_was_not_answered_in_time_is_asked_again() -> None:
    assert await ask(Server(2, RPCStatusCode.CANCELLED)) == "answer"


@pytest.mark.parametrize(
    ("status", "asked"), [(RPCStatusCode.CANCELLED, ATTEMPTS), (RPCStatusCode.INVALID_ARGUMENT, 1)]
)
async def test_a_query_that_is_never_answered_or_is_refused_fails(status: RPCStatusCode, asked: int) -> None:
    server = Server(100, status)
    with pytest.raises(RPCError, match="refused"):
        await ask(server)
    assert server.asked == asked
