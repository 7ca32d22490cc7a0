"""Between JSON and SQL values."""

import datetime
import uuid
from decimal import Decimal

import pytest

from anabranch.activities.sql.values import JsonNumber, array_binds, bind_value, json_document, json_row, json_value
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


LONG = Decimal("1234567890.123456789012345678")


@pytest.mark.parametrize("value", [LONG, Decimal(2**64), Decimal("0.1234567890123456789"), -Decimal(2**63) - 1])
def test_a_decimal_that_no_number_is_equal_to_is_refused_unless_the_node_decides(value: Decimal) -> None:
    for inside in (value, [value], {"a": [value]}, JsonNumber(value)):
        with pytest.raises(NodeError, match="column 'price' has a decimal that no JSON number is equal to"):
            json_value(inside, "price")
    assert json_value(value, "price", "text") == format(value, "f")
    assert json_value(JsonNumber(value), "price", "text") == format(value, "f")
    assert json_value(value, "price", "round") == float(value)


@pytest.mark.parametrize(("value", "text"), [("1.50", "1.50"), ("2E+3", "2000"), ("7", "7")])
def test_decimals_that_are_to_be_text_are_all_text(value: str, text: str) -> None:
    assert json_value(Decimal(value), "price", "text") == text


def test_the_largest_whole_numbers_stay_whole() -> None:
    for value in (2**64 - 1, -(2**63)):
        assert json_value(Decimal(value), "n") == value
        assert json_value(Decimal(value), "n", "round") == value


def test_numbers_of_a_json_column_keep_their_digits_until_the_node_decides() -> None:
    document = json_document('{"a": [1, 1.5, -0.1, 1e2], "b": 12345678901234567890123, "c": 0.12345678901234567890}')
    assert document["a"] == [1, 1.5, -0.1, 100.0]
    with pytest.raises(NodeError, match="column 'notes'"):
        json_value(document, "notes")
    rounded = {"a": [1, 1.5, -0.1, 100.0], "b": 1.2345678901234568e22, "c": 0.12345678901234568}
    assert json_value(document, "notes", "round") == rounded
    kept = {"a": [1, 1.5, -0.1, 100.0], "b": "12345678901234567890123", "c": "0.12345678901234567890"}
    assert json_value(document, "notes", "text") == kept


def test_bytes_are_refused_naming_the_column() -> None:
    with pytest.raises(NodeError, match=r"column 'photo' is of type bytes.*encode"):
        json_row(["id", "photo"], [1, b"\x00"])


@pytest.mark.parametrize(
    ("value", "expected"), [({"a": [1, "ü"]}, '{"a":[1,"ü"]}'), ([1], "[1]"), ("x", "x"), (1.5, 1.5), (None, None)]
)
def test_objects_and_lists_travel_to_sql_as_json_text(value: Json, expected: object) -> None:
    assert bind_value(value) == expected


def test_a_list_that_the_statement_casts_to_an_array_travels_as_one() -> None:
    query = "select 1 where a = any(cast(:ids as text[])) and b = any(CAST( :big AS numeric(12, 2) [])) and c = :list"
    assert array_binds(query) == frozenset({"ids", "big"})
    assert bind_value(["a", 1], is_array=True) == ["a", 1]
    assert bind_value({"a": 1}, is_array=True) == '{"a":1}'
