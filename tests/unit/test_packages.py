"""The names of our packages are generic; in this environment they must be ours."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = (
    *("activities", "cli", "console", "context", "events", "examples", "graph", "transport", "workflows"),
    *("errors", "settings", "worker"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_generic_name_leads_to_our_own_code(name: str):
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    assert ROOT in Path(found.origin).parents
