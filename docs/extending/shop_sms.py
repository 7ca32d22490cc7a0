"""The node type `sms`: its model, its handler, its record."""

from typing import Literal

from anabranch import BaseNode, NodeKind, NodeResult, NodeTask, render, template


class SmsNode(BaseNode):
    """What a graph says of an `sms` node."""

    type: Literal["sms"]
    to: str
    text: str


class SmsHandler:
    """Sends messages; here it only prints them."""

    async def __call__(self, task: NodeTask, node: SmsNode) -> NodeResult:
        """Send one."""
        to, text = await render(node.to, task), await render(node.text, task)
        print(f"SMS to {to}: {text}", flush=True)
        return NodeResult.under_id(task, text)


SMS = NodeKind(
    SmsNode,
    handler=lambda settings: SmsHandler(),
    fields=(template("to"), template("text")),
    summary=lambda node: f"to {node.to}",
)
