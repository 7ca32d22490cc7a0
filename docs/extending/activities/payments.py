"""Activities of the shop, as any Temporal worker has them."""

from temporalio import activity


@activity.defn
async def charge(order_id: str, cents: int) -> str:
    """The number of the receipt."""
    return f"receipt {order_id}-{cents}"
