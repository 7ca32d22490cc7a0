"""`http` nodes: one request, at least once, with an `Idempotency-Key` that is the same for every attempt.

What `output` sees as `result`: `status`, `headers` (names in lower case) and `body` (JSON where the answer says it is
JSON, else text, null where it is empty). Without `output` the body is written under the node's id. A node may ask again
until an answer is what it waits for (`polling.py`), or for page after page (`pages.py`).

A value that is exactly `env:HTTP_SECRET_…` is taken from that variable of the worker (`secrets.py`): it never enters
the history, and is masked where the answer repeats it. So are tokens of issuers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import partial

from anabranch.activities.http.call import call_of
from anabranch.activities.http.exchange import Exchange
from anabranch.activities.http.pages import collected
from anabranch.activities.http.polling import polled
from anabranch.activities.http.secrets import HttpSecrets
from anabranch.activities.http.sending import Sender
from anabranch.activities.node_result import NodeResult, own_key
from anabranch.graph.model import HttpNode
from anabranch.limits import NODE_LIMITS, NodeLimits
from anabranch.transport.node_protocol import NodeTask


class HttpActivity:
    """Runs `http` nodes over one pooled client."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        environ: Mapping[str, str] | None = None,
        limits: NodeLimits = NODE_LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sender = Sender(Exchange(allow_private=allow_private, limits=limits), clock)
        self._secrets = HttpSecrets(os.environ if environ is None else environ)
        self._limits = limits

    async def __call__(self, task: NodeTask, node: HttpNode) -> NodeResult:
        """Send the request and judge its status by the node's `expect`."""
        call = await call_of(task, node, self._secrets)
        ask = partial(self._sender.answer, node)
        if node.pages is not None:
            return await collected(task, node.pages, call, ask, self._limits)
        answer = await (ask(call) if node.poll is None else polled(task, node.poll, call, ask))
        return NodeResult(answer.result(), {own_key(task): answer.body})

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self._sender.aclose()
