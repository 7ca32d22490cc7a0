"""The graphs of the repository that an editor may have open."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path(__file__).parents[2]
GRAPHS = sorted(
    path
    for folder in ("examples", "docs/reference/examples", "docs/extending/graphs")
    for path in (_ROOT / folder).glob("*.yaml")
    if not path.name.endswith(".test.yaml")
)
