"""Loops on a real server: conditions, limits, collected values, and items that fail."""

from __future__ import annotations

import pytest

from tests.integration.graph_kit import MODES, Served, chain, put

pytestmark = pytest.mark.parametrize("mode", [MODES[1]], indirect=False)


async def test_a_loop_until_a_condition_holds_collects_what_its_turns_came_to_and_warns_at_its_limit(
    served: Served,
) -> None:
    body = chain(grow=put(n="{{ n * 2 }}", said="turn {{ turn }}"))
    found = {"type": "while", "until": "n > 20", "body": body, "collect": {"into": "told", "value": "[said, n]"}}
    stopped = {"type": "while", "until": "false", "body": body, "max_iterations": 2, "on_limit": "continue"}
    result = await served.run(chain(found=found, stopped=stopped), {"n": 3})
    told = [["turn 1", 6], ["turn 2", 12], ["turn 3", 24]]
    assert result["data"] == {"n": 12, "said": "turn 2", "told": told}
    assert result["warnings"] == [
        {"by": "stopped", "warning": "`until` does not hold after max_iterations = 2 turns"},
    ]
