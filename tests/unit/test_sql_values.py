"""Between JSON and SQL values."""

import datetime
import uuid
from decimal import Decimal

import pytest

from anabranch.activities.sql.values import bind_value, json_row, json_value
from anabranch.context.values import Json
from anabranch.errors import NodeError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("19.90"), 19.9),
        (Decimal("20.00"), 20),
        (Decimal("1e30"), 1e30),
        (datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC), "2026-01-02T03:04:00+00:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(3, 4), "03:04:00"),
        (datetime.timedelta(days=1, milliseconds=500), 86400.5),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ([Decimal(1), None], [1, None]),
        ({"a": Decimal("0.5")}, {"a": 0.5}),
        (True, True),
        (None, None),
    ],
)
def test_a_column_becomes_json(value: object, expected: object) -> None:
    converted = json_value(value, "c")
    assert converted == expected
    assert type(converted) is type(expected)


def test_bytes_are_refused_naming_the_column() -> None:
    with pytest.raises(NodeError, match=r"column 'photo' is of type bytes.*encode"):
        json_row(["id", "photo"], [1, b"\x00"])


@pytest.mark.parametrize(
    ("value", "expected"), [({"a": [1, "ü"]}, '{"a":[1,"ü"]}'), ([1], "[1]"), ("x", "x"), (1.5, 1.5), (None, None)]
)
def test_objects_and_lists_travel_to_sql_as_json_text(value: Json, expected: object) -> None:
    assert bind_value(value) == expected
