"""The payment service: charges an order, and says when the money is there."""

from __future__ import annotations

from starlette.requests import Request

from anabranch.context import ContextStore
from examples.services.sharing import Answer, carried, serve, write_back

LIMIT = 5000


async def charge(request: Request, shared: ContextStore) -> Answer:
    """Write `paid`, and the delivery's days into the context that the request carries."""
    base = carried(request)
    mine = base.copy()
    mine.merge(
        {
            "paid": float(str(base["price"])) * int(str(base["quantity"])) <= LIMIT,
            "delivery_days": 4,
            "notes": ["the transfer takes three days"],
        }
    )
    mine.modified_by = "payment"
    settled = await write_back(shared, base, mine)
    return {"service": "payment", "settled": list(settled)}


if __name__ == "__main__":
    serve("/charge", charge)
