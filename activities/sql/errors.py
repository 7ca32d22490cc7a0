"""What a `db` node says about its database's errors.

`Unavailable` may be tried again; `ConfigurationError`: the connection's variable is wrong; `NodeError`: the statement
is wrong, or the data breaks a constraint. Of a driver's words only what `error_text` lets through is repeated.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.exc import DBAPIError

from anabranch.activities.secrets import redact
from anabranch.errors import AnabranchError, ConfigurationError, NodeError, Unavailable
from anabranch.sql.error_text import error_text
from anabranch.sql.errors import Diagnosis, diagnose, state_of

_MESSAGE_LIMIT = 500


def connect_error(error: Exception, variable: str) -> AnabranchError:
    """The typed error for a connection that did not open. Raise it `from None`: the cause holds the URL's parts."""
    if isinstance(error, TypeError | ValueError) and not isinstance(error, DBAPIError):
        return _wrong_variable(variable, "the driver does not know its options")
    return database_error(error, variable, ())


def database_error(error: Exception, variable: str, secrets: Iterable[str]) -> AnabranchError:
    """The typed error for what was raised while a connection was used. Raise it `from None`."""
    found = diagnose(error)
    match found.kind:
        case "unavailable":
            return Unavailable(
                f"the database of {variable} is not available now ({found.code})",
                suggestion=f"if this lasts, check that the server runs and that {variable} names it",
            )
        case "credentials":
            return _wrong_variable(variable, f"the database refused it ({found.code})")
        case "value":
            return _value_error(found)
        case "statement":
            return _statement_error(found, getattr(error, "statement", None), secrets)


def _value_error(found: Diagnosis) -> NodeError:
    return NodeError(
        f"the driver cannot convert a value ({found.code})",  # its words hold the value
        suggestion="convert it in the query, e.g. `cast(… as text)`",
    )


def _wrong_variable(variable: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"the environment variable {variable} does not open a database: {reason}",
        suggestion="correct it in the worker's environment: user, password, database, options",
    )


def _statement_error(found: Diagnosis, statement: str | None, secrets: Iterable[str]) -> NodeError:
    text = redact(error_text(found.driver, statement), secrets)[:_MESSAGE_LIMIT]
    return NodeError(f"the statement failed: {text} ({found.code})", suggestion=_suggestion(state_of(found.driver)))


def _suggestion(state: str) -> str | None:
    if state in ("42P08", "42P18"):
        return "give the bind a type in the query, e.g. `cast(:name as text)`"
    if state == "SQLITE_AUTH":
        return "a node neither controls its transaction, nor attaches databases, nor sets pragmas"
    if state.startswith(("23", "SQLITE_CONSTRAINT")):
        return "the data breaks a constraint of the table; take the case with an edge of `outcome: failure`"
    return None
