import subprocess
import sys
from pathlib import Path

import pytest

from examples import distributed_context

OUTPUT = """\
Serialization
  MessagePack: 186 bytes, JSON: 499 bytes (2.7 times as many)
  both decode to version 5 by 'order-service'
State sharing
  version 2 by order-service: customer_id, order_total
  version 4 by inventory-service: customer_id, order_total, stock_available, warehouse
  version 6 by shipping-service: customer_id, order_total, stock_available, warehouse, shipping_cost
Sharing between tasks
  counter is 10 at version 11
Caching
  session-1: 1; the next three in one round trip: [2, 3, None]
  after an update and with the cached copy gone: 10
  3 hits, 2 misses, 0 errors with write_through
Conflict resolution
  last_write_wins: price 120
  higher_version_wins: price 100
  fail_on_conflict: 1 unsettled conflict: 'price' was absent, \
local (version 3) set it to 100 and remote (version 2) set it to 120
  merge_all: price [100, 120]
Three-way merge
  price: 120
  stock: 45
  sold: 17
  description: 'New'
  category: 'Electronics'
  sold was 10, became 12 (local) and 15 (remote); settled as 17
"""


def test_the_example_prints_what_each_part_promises(capsys: pytest.CaptureFixture[str]) -> None:
    distributed_context.main()
    assert capsys.readouterr().out == OUTPUT


def test_the_example_runs_as_a_file() -> None:
    file = Path(distributed_context.__file__)
    finished = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=True)
    assert finished.stdout == OUTPUT
    assert finished.stderr == ""


def test_the_context_package_loads_no_client_and_no_temporal() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import context, context.merge, context.versioned, sys; print('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    heavy = {"redis", "sqlalchemy", "temporalio", "pydantic", "asyncio"}
    assert heavy.isdisjoint(loaded)
    assert "anabranch.context.merge.three_way" in loaded
