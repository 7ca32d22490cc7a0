"""A workflow of the shop that runs a graph as its child."""

from typing import Any

from temporalio import workflow


@workflow.defn
class Checkout:
    """Sends the parcel of one order."""

    @workflow.run
    async def run(self, order: dict[str, Any]) -> str:
        """The receipt."""
        sent = await workflow.execute_child_workflow("parcel", order, id=f"parcel-{order['order_id']}")
        return str(sent["data"]["receipt"])
