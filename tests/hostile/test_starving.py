"""What would starve a worker ends by itself: within a limit of processor time and memory, and no process dies."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.hostile.starving import attacks

PARTS = 12
ENDS = {
    "finished",
    "EXPRESSION_FAILED",
    "EXPRESSION_INVALID",
    "EXPRESSION_TOO_COSTLY",
    "INPUT_INVALID",
    "NODE_FAILED",
}


def test_there_are_many_attacks() -> None:
    assert len(list(attacks())) > 200


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, PARTS))])
def test_each_attack_ends_within_its_limits(part: int) -> None:
    command = [sys.executable, "-m", "tests.hostile.starving", str(part), str(PARTS)]
    done = subprocess.run(command, capture_output=True, check=False, env=_without_coverage())
    found: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, len(found)) == (0, len(list(attacks())[part::PARTS])), done.stderr.decode()
    assert [each for each in found if each["wrong"] is not None or each["end"] not in ENDS] == []


def _without_coverage() -> dict[str, str]:
    """The environment: to trace each line of the code costs more than the code, which has the limits."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
