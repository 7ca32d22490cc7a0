"""What went wrong between us and a database, by the codes of each driver.

Only codes are read and repeated here: a driver's words may name the host, the user or a value.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy.exc import ArgumentError, CompileError, DBAPIError, StatementError

from anabranch.errors import AnabranchError, ConfigurationError, Unavailable

_RETRYABLE_STATES: Final = ("08", "40", "53", "55P03", "57014", "57P", "58")
_CREDENTIAL_STATES: Final = ("28", "3D000")
_RETRYABLE_MYSQL: Final = frozenset(
    {1020, 1205, 1206, 1213, 3572}  # another transaction was faster, or holds a lock
    | {1021, 1037, 1038, 1040, 1041, 1114, 1203, 1226}  # full: disk, memory, connections
    | {1047, 1053, 1836}  # starting, stopping or no longer the primary
    | {1317, 1927, 1969, 3024, 3101}  # the statement was interrupted, or took too long
    | {1158, 1159, 1160, 1161, 2002, 2003, 2006, 2013, 2014, 2055, 4031}  # the connection
)
_CREDENTIAL_MYSQL: Final = frozenset({1044, 1045, 1049, 1698})
_RETRYABLE_SQLITE: Final = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_PROTOCOL")
_CREDENTIAL_SQLITE: Final = ("SQLITE_CANTOPEN", "SQLITE_NOTADB")


_VALUE_ERRORS: Final = (ArithmeticError, TypeError, ValueError)
_STATEMENT_ERRORS: Final = (DBAPIError, StatementError, CompileError, ArgumentError)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a database did not do what it was asked for.

    `unavailable`: the connection was lost or refused, a deadlock, a lock or statement time-out, a server that is full
    or going down; it may be tried again. `credentials`: user, password or database are wrong. `statement`: the
    statement is wrong, or the data breaks a constraint. `value`: the driver can neither send nor read a value.
    """

    kind: Literal["unavailable", "credentials", "statement", "value"]
    code: str
    """SQLSTATE, MySQL's number or SQLite's name; without any of them the exception's name."""
    driver: BaseException
    """What the driver raised. Its words hold values, names and addresses: see `error_text`."""


def diagnose(error: Exception) -> Diagnosis:
    """What any error means that SQLAlchemy, a driver or the system raises while a database is used."""
    driver = _driver_error(error)
    if isinstance(driver, OSError | EOFError):
        return Diagnosis("unavailable", type(driver).__name__, driver)
    code = code_of(driver)
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if lost or _is_retryable(driver):
        return Diagnosis("unavailable", code or type(driver).__name__, driver)
    if _is_credential(driver):
        return Diagnosis("credentials", code, driver)
    if code:
        return Diagnosis("statement", code, driver)
    name = type(driver).__name__
    if isinstance(driver, _VALUE_ERRORS):
        return Diagnosis("value", name, driver)
    return Diagnosis("statement" if isinstance(error, _STATEMENT_ERRORS) else "unavailable", name, driver)


def _driver_error(error: Exception) -> BaseException:
    """What the driver raised: SQLAlchemy wraps it at most moments, and not while rows are fetched."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return error
    return error.orig.__cause__ or error.orig


@contextmanager
def as_unavailable(place: str | None, suggestion: str) -> Generator[None]:
    """Errors of a database that keeps what is ours: Unavailable, or ConfigurationError for wrong credentials.

    Neither repeats the driver's words.
    """
    try:
        yield
    except AnabranchError:
        raise
    except Exception as failed:
        found = diagnose(failed)
        if found.kind == "credentials":
            raise ConfigurationError(
                f"the database refused the credentials ({found.code})",
                place=place,
                suggestion="correct the user, the password and the database's name in the URL",
            ) from None
        name = found.code or type(found.driver).__name__
        raise Unavailable(
            f"the database did not answer as it should: {name}", place=place, suggestion=suggestion
        ) from None


def mysql_number(driver: BaseException) -> int | None:
    """MySQL's error number; its SQLSTATE is HY000 for very different errors."""
    match driver.args:
        case (int(number), str()):
            return number
        case _:
            return None


def state_of(driver: BaseException) -> str:
    """The SQLSTATE, or SQLite's name for the error; empty where the error has neither."""
    return str(getattr(driver, "sqlstate", None) or getattr(driver, "sqlite_errorname", None) or "")


def code_of(driver: BaseException) -> str:
    """What to call a driver's error; empty where it has no code."""
    number = mysql_number(driver)
    return state_of(driver) if number is None else f"error {number}"


def _is_retryable(driver: BaseException) -> bool:
    is_retryable_state = state_of(driver).startswith((*_RETRYABLE_STATES, *_RETRYABLE_SQLITE))
    return is_retryable_state or mysql_number(driver) in _RETRYABLE_MYSQL


def _is_credential(driver: BaseException) -> bool:
    is_credential_state = state_of(driver).startswith((*_CREDENTIAL_STATES, *_CREDENTIAL_SQLITE))
    return is_credential_state or mysql_number(driver) in _CREDENTIAL_MYSQL
