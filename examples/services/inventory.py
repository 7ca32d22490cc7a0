"""The inventory service: reserves what an order asks for, and says from where and when it comes."""

from __future__ import annotations

from starlette.requests import Request

from anabranch.context import ContextStore
from examples.services.sharing import Answer, carried, serve, write_back

STOCK = {"LAPTOP-001": 5, "MOUSE-042": 40}


async def reserve(request: Request, shared: ContextStore) -> Answer:
    """Write `reserved`, `warehouse`, and the delivery's days into the context that the request carries."""
    base = carried(request)
    mine = base.copy()
    mine.merge(
        {
            "reserved": STOCK.get(str(base["sku"]), 0) >= int(str(base["quantity"])),
            "warehouse": "east",
            "delivery_days": 2,
            "notes": ["shipped from the eastern warehouse"],
        }
    )
    mine.modified_by = "inventory"
    settled = await write_back(shared, base, mine)
    return {"service": "inventory", "settled": list(settled)}


if __name__ == "__main__":
    serve("/reserve", reserve)
