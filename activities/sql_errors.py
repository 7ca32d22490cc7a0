"""Which database errors a retry may mend, and what may be said about them.

`Unavailable` (retried): the connection was lost or refused, a deadlock, a serialization failure, a lock or statement
timeout, a server that is full or going down. `ConfigurationError`: the connection's variable is wrong. `NodeError`: the
statement is wrong, or the data breaks a constraint. A driver's words about the *connection* are never repeated.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.exc import DBAPIError

from activities.secrets import redact
from errors import AnabranchError, ConfigurationError, NodeError, Unavailable

_RETRYABLE_STATES = ("08", "40", "53", "55P03", "57014", "57P", "58")
_CREDENTIAL_STATES = ("28", "3D000")
_RETRYABLE_MYSQL = frozenset({1040, 1158, 1159, 1160, 1161, 1205, 1213, 2002, 2003, 2006, 2013, 2014})
_CREDENTIAL_MYSQL = frozenset({1044, 1045, 1049, 1698})
_RETRYABLE_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_PROTOCOL")
_MESSAGE_LIMIT = 500


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
    state = _state(driver)
    if error.connection_invalidated or _is_retryable(driver, state):
        return _unreachable(variable, state or type(driver).__name__)
    if _is_credential(driver, state):
        return _wrong_variable(variable, f"the database refused it ({state})")
    return _statement_error(driver, state, secrets)


def _state(driver: BaseException) -> str:
    state = getattr(driver, "sqlstate", None) or getattr(driver, "sqlite_errorname", None)
    if state is None and driver.args and isinstance(driver.args[0], int):
        state = f"error {driver.args[0]}"  # MySQL
    return str(state or "")


def _is_retryable(driver: BaseException, state: str) -> bool:
    number = driver.args[0] if driver.args else None
    return state.startswith((*_RETRYABLE_STATES, *_RETRYABLE_SQLITE)) or number in _RETRYABLE_MYSQL


def _is_credential(driver: BaseException, state: str) -> bool:
    number = driver.args[0] if driver.args else None
    return state.startswith((*_CREDENTIAL_STATES, "SQLITE_CANTOPEN", "SQLITE_NOTADB")) or number in _CREDENTIAL_MYSQL


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


def _statement_error(driver: BaseException, state: str, secrets: Iterable[str]) -> NodeError:
    text = redact(" ".join(str(driver).split()), secrets)[:_MESSAGE_LIMIT]
    return NodeError(f"the statement failed: {text}" + (f" ({state})" if state else ""), suggestion=_mend(state))


def _mend(state: str) -> str | None:
    if state in ("42P08", "42P18"):
        return "give the bind a type in the query, e.g. `cast(:name as text)`"
    if state.startswith(("23", "SQLITE_CONSTRAINT")):
        return "the data breaks a constraint of the table; take the case with an edge of `outcome: failure`"
    return None
