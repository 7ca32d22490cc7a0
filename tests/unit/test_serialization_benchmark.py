import re

import pytest

from benchmarks import serialization


def test_the_measured_order_is_the_one_of_186_bytes() -> None:
    context = serialization.order(2)
    assert len(context.serialize()) == 186
    assert len(context.to_json()) == 499


def test_it_prints_a_table_with_every_contestant_and_plain_msgpack_as_1(capsys: pytest.CaptureFixture[str]) -> None:
    serialization.main(["--items", "2", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "An order with 2 items, fastest of 1 rounds"
    names = [re.split(r"  +", line)[0] for line in lines[2:7]]
    assert names == ["context", "msgpack", "json", "orjson", "context as JSON"]
    assert lines[2].split()[1] == lines[3].split()[1] == "186"
    assert lines[3].endswith("1.00 / 1.00")
