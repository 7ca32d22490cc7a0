"""What may be told of a database's error: its name, and those of constraints, tables and columns. No value ever.

A driver's words hold values: `Failing row contains (…)`, `Duplicate entry '…'`, `invalid input syntax … "…"`, the
part of a statement where it is wrong. They are told only where all that they quote is in the statement's own text.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from typing import Final

from anabranch.sql.errors import mysql_number, state_of

_PARTS: Final = ("constraint", "table", "column")
_QUOTED: Final = re.compile(r"\"([^\"]*)\"|'([^']*)'|`([^`]*)`")
_STATE_OF_TEXT: Final = "42"
"""The class of SQLSTATEs of a statement that is wrong as it is written, or not allowed."""
_MYSQL_OF_NAMES: Final = frozenset(
    {1046, 1048, 1051, 1052, 1054, 1060, 1061, 1072, 1091, 1109, 1136, 1142, 1143, 1146, 1222, 1241, 1264, 1305, 1318}
    | {1364, 1370, 1406, 1451, 1452, 3819, 4025}
)
"""Errors whose words hold names alone."""
_MYSQL_SYNTAX: Final = 1064
_MYSQL_LINE: Final = re.compile(r" at line \d+$")
_MYSQL_OF_VALUES: Final = frozenset({1062, 1265, 1292, 1366, 1367, 1411, 1586})
"""Errors whose words say what is wrong, then quote a value, then may name a key or a column."""
_MYSQL_NAME: Final = re.compile(r"(?:for key|for column) (?:'[^']*'|\S+)(?: at row \d+)?$")
_MYSQL_ACCOUNT: Final = re.compile(r"(?<=user )'[^']*'@'[^']*'")
_SQLITE_OF_NAMES: Final = tuple(
    f"SQLITE_CONSTRAINT_{name}" for name in ("CHECK", "FOREIGNKEY", "NOTNULL", "PRIMARYKEY", "UNIQUE")
)
_SQLITE_OF_TEXT: Final = "SQLITE_ERROR"


def error_text(driver: BaseException, statement: str | None) -> str:
    """One line on what a driver raised; `statement` is the SQL that was sent, where it is known."""
    if (number := mysql_number(driver)) is not None:
        return _of_mysql(number, driver.args[1])
    state, name = state_of(driver), type(driver).__name__
    words = " ".join(str(driver.args[0]).split()) if driver.args else ""
    if state.startswith("SQLITE"):
        if state in _SQLITE_OF_NAMES or (state == _SQLITE_OF_TEXT and _quotes(words, statement)):
            return words
        return name
    if state.startswith(_STATE_OF_TEXT) and _quotes(words, statement):
        return words
    parts = [f"{part} {value}" for part in _PARTS if (value := getattr(driver, f"{part}_name", None))]
    return ", ".join((name, *parts))


def _quotes(words: str, statement: str | None) -> bool:
    """Whether all that the words quote is in the statement."""
    if statement is None:
        return False
    text = " ".join(statement.split())
    return all(piece in text for found in _QUOTED.finditer(words) for piece in found.groups() if piece)


def _of_mysql(number: int, words: str) -> str:
    if number == _MYSQL_SYNTAX:
        line = _MYSQL_LINE.search(words)
        return words.partition(";")[0] + (line[0] if line else "")
    if number in _MYSQL_OF_NAMES:
        return _MYSQL_ACCOUNT.sub("***", words)
    if number in _MYSQL_OF_VALUES:
        name = _MYSQL_NAME.search(words)
        return " ".join((words.partition("'")[0].rstrip(" :"), name[0] if name else "")).rstrip()
    return _mysql_names().get(number, "the server refused it")


@cache
def _mysql_names() -> dict[int, str]:
    """The names of MySQL's errors by their numbers."""
    constants = vars(import_module("asyncmy.constants.ER"))
    return {number: name for name, number in constants.items() if isinstance(number, int) and name.isupper()}
