"""The shop's own worker, which serves graphs too."""

import asyncio

from temporalio.client import Client
from temporalio.worker import Worker

from anabranch import AnabranchPlugin

import my_handlers  # noqa: F401  (this registers its handlers)
from activities.payments import charge
from settings import ADDRESS, TASK_QUEUE
from workflows.checkout import Checkout


async def main() -> None:
    """Work until Ctrl-C."""
    client = await Client.connect(ADDRESS, plugins=[AnabranchPlugin(graphs="graphs")])
    await Worker(client, task_queue=TASK_QUEUE, workflows=[Checkout], activities=[charge]).run()


if __name__ == "__main__":
    asyncio.run(main())
