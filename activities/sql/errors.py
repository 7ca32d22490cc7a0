"""Which database errors a retry may mend, and what may be said about them.

`Unavailable` (retried): the connection was lost or refused, a deadlock, a serialization failure, a lock or statement
timeout, a server that is full or going down. `ConfigurationError`: the connection's variable is wrong. `NodeError`: the
statement is wrong, or the data breaks a constraint. A driver's words about the *connection* are never repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlalchemy.exc import DBAPIError

from anabranch.activities.secrets import redact
from anabranch.errors import AnabranchError, ConfigurationError, NodeError, Unavailable

_RETRYABLE_STATES = ("08", "40", "53", "55P03", "57014", "57P", "58")
_CREDENTIAL_STATES = ("28", "3D000")
_RETRYABLE_MYSQL = frozenset(
    {1020, 1205, 1206, 1213, 3572}  # another transaction was faster, or holds a lock
    | {1021, 1037, 1038, 1040, 1041, 1114, 1203, 1226}  # full: disk, memory, connections
    | {1047, 1053, 1836}  # starting, stopping or no longer the primary
    | {1317, 1927, 1969, 3024, 3101}  # the statement was interrupted, or took too long
    | {1158, 1159, 1160, 1161, 2002, 2003, 2006, 2013, 2014, 2055, 4031}  # the connection
)
_CREDENTIAL_MYSQL = frozenset({1044, 1045, 1049, 1698})
_RETRYABLE_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_PROTOCOL")
_MESSAGE_LIMIT = 500
_MYSQL_ACCOUNT = re.compile(r"(?<=user )'[^']*'@'[^']*'")


def connect_error(error: Exception, variable: str) -> AnabranchError:
    """The typed error for a connection that did not open. Raise it `from None`: the cause holds the URL's parts."""
    if isinstance(error, DBAPIError):
        return database_error(error, variable, ())
    if isinstance(error, TypeError | ValueError):
        return _wrong_variable(variable, "its options are not what the driver takes")
    return _unreachable(variable, type(error).__name__)


def database_error(error: Exception, variable: str, secrets: Iterable[str]) -> AnabranchError:
    """The typed error for what was raised while a connection was used. Raise it `from None`."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return _unreachable(variable, type(error).__name__)
    driver = error.orig.__cause__ or error.orig
    if error.connection_invalidated or _is_retryable(driver):
        return _unreachable(variable, _name(driver) or type(driver).__name__)
    if _is_credential(driver):
        return _wrong_variable(variable, f"the database refused it ({_name(driver)})")
    return _statement_error(driver, secrets)


def value_error(error: Exception, secrets: Iterable[str]) -> NodeError:
    """The typed error for a value that a driver can neither send nor read. Raise it `from None`."""
    text = redact(" ".join(str(error).split()), secrets)[:_MESSAGE_LIMIT]
    return NodeError(
        f"the driver cannot convert a value: {text} ({type(error).__name__})",
        suggestion="convert it in the query, e.g. `cast(… as text)`",
    )


def _state(driver: BaseException) -> str:
    return str(getattr(driver, "sqlstate", None) or getattr(driver, "sqlite_errorname", None) or "")


def _number(driver: BaseException) -> int | None:
    """MySQL's error number; its SQLSTATE is HY000 for very different errors."""
    match driver.args:
        case (int(number), str()):
            return number
        case _:
            return None


def _name(driver: BaseException) -> str:
    number = _number(driver)
    return _state(driver) if number is None else f"error {number}"


def _is_retryable(driver: BaseException) -> bool:
    state = _state(driver)
    return state.startswith((*_RETRYABLE_STATES, *_RETRYABLE_SQLITE)) or _number(driver) in _RETRYABLE_MYSQL


def _is_credential(driver: BaseException) -> bool:
    state = _state(driver)
    return (
        state.startswith((*_CREDENTIAL_STATES, "SQLITE_CANTOPEN", "SQLITE_NOTADB"))
        or _number(driver) in _CREDENTIAL_MYSQL
    )


def _unreachable(variable: str, reason: str) -> Unavailable:
    return Unavailable(
        f"the database of {variable} is not available now ({reason})",
        suggestion=f"if this lasts, check that the server runs and that {variable} names it",
    )


def _wrong_variable(variable: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"the environment variable {variable} does not open a database: {reason}",
        suggestion="correct it in the worker's environment: user, password, database, options",
    )


def _statement_error(driver: BaseException, secrets: Iterable[str]) -> NodeError:
    words = str(driver) if _number(driver) is None else _MYSQL_ACCOUNT.sub("***", driver.args[1])
    text = redact(" ".join(words.split()), secrets)[:_MESSAGE_LIMIT]
    name = _name(driver)
    return NodeError(f"the statement failed: {text}" + (f" ({name})" if name else ""), suggestion=_mend(_state(driver)))


def _mend(state: str) -> str | None:
    if state in ("42P08", "42P18"):
        return "give the bind a type in the query, e.g. `cast(:name as text)`"
    if state.startswith(("23", "SQLITE_CONSTRAINT")):
        return "the data breaks a constraint of the table; take the case with an edge of `outcome: failure`"
    return None
