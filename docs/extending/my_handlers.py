"""Handlers of `python` nodes."""

from anabranch import DistributedContext, node

from context.prices import price_of


@node("weigh")
async def weigh(context: DistributedContext, quantity: int) -> dict[str, int]:
    """What the parcel weighs, in grams, and costs, in cents."""
    grams = quantity * 250
    return {"grams": grams, "price": price_of(grams)}
