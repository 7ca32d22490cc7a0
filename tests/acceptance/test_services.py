"""`examples/services`: three processes share one context through Redis, and a conflict is settled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_three_services_share_a_context_and_settle_their_conflicts() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "examples.services"], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert [line.split()[0] for line in lines[:6]] == [
        "inventory",
        "payment",
        "order",
        "conflict",
        "conflict",
        "version",
    ]
    assert lines[3].endswith(": max gives 4")
    assert lines[5] == "version   7"
    data = json.loads("\n".join(lines[6:]))
    notes = data.pop("notes")
    assert sorted(notes) == ["shipped from the eastern warehouse", "the transfer takes three days"]
    assert data == {
        "order_id": "order-12345",
        "sku": "LAPTOP-001",
        "quantity": 2,
        "price": 1299.99,
        "delivery_days": 4,
        "reserved": True,
        "warehouse": "east",
        "paid": True,
        "status": "confirmed",
    }
