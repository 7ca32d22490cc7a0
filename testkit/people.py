"""The answers of several people to one approval, as a test gives them: what no run would take."""

from __future__ import annotations

from collections.abc import Sequence

from anabranch.errors import SchemaViolation
from anabranch.graph.model import ApprovalNode
from anabranch.graph.people import is_refusal
from anabranch.testkit.given import GivenAnswer
from anabranch.workflows.interpreter.input import check_value_against


def wrong_answers(node: ApprovalNode, address: str, answers: Sequence[GivenAnswer]) -> tuple[str, str] | None:
    """Why these are no answers to a question, and what to write instead."""
    if node.answers == 1:
        return f"node {address!r} needs the answer of one person", "write `answer: …`"
    names = [each.by for each in answers]
    if twice := next((name for index, name in enumerate(names) if name in names[:index]), None):
        return f"node {address!r} is answered twice by {twice!r}", "let each person answer once"
    if node.schema_ is not None:
        for each in answers:
            try:
                check_value_against(node.schema_, each.answer, what="the answer", by=address)
            except SchemaViolation as error:
                return f"node {address!r} cannot have the answer of {each.by!r}: {error.message}", "fit its schema"
    is_refused = any(is_refusal(node.schema_, each.answer) for each in answers)
    if len(answers) < node.answers and node.timeout is None and not is_refused:
        message = f"node {address!r} needs {node.answers} answers, and gets {len(answers)}: it would wait for ever"
        return message, "give more answers, or the node a `timeout`"
    return None
