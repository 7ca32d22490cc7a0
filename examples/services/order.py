"""The order service: opens the context, asks the two others at the same time, and decides on what they wrote."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import httpx2
from starlette.requests import Request

from anabranch.context import ContextStore, DistributedCache, DistributedContext
from anabranch.context.propagation import inject, trace_of
from examples.services.sharing import Answer, serve


async def place(request: Request, shared: ContextStore) -> Answer:
    """Share an order's context, and answer with what it has become."""
    body: dict[str, Any] = await request.json()
    contexts = DistributedCache(shared)
    order = DistributedContext(body["order_id"], {**body, "delivery_days": 1, "notes": []})
    order.modified_by = "order"
    await contexts.put(order, ttl=600)
    headers: dict[str, str] = {}
    inject(order, headers, trace=trace_of(request.headers))
    async with httpx2.AsyncClient(headers=headers, trust_env=False, timeout=30) as client:
        answers = await asyncio.gather(
            client.post(f"{os.environ['INVENTORY_URL']}/reserve"), client.post(f"{os.environ['PAYMENT_URL']}/charge")
        )
    for answer in answers:
        answer.raise_for_status()
    final = await contexts.update(order.session_id, decide)
    settled = [conflict for answer in answers for conflict in answer.json()["settled"]]
    return {"version": final.metadata.version, "data": final.data, "settled": settled}


def decide(order: DistributedContext) -> None:
    """Confirm an order that is reserved and paid."""
    order.set("status", "confirmed" if order["reserved"] and order["paid"] else "refused")
    order.modified_by = "order"


if __name__ == "__main__":
    serve("/orders", place)
