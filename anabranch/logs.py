"""Log entries without secrets: ours and those of libraries, in our commands and in a worker of somebody else.

Masked are the secrets of this process's environment, in every form (`masking`), and of each URL what stands before the
`@` and the values of its query.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import structlog

from anabranch.errors import ConfigurationError, EncryptionKeyMissing, PlaintextRefused
from anabranch.masking import MASK, Mask, credentials, mask_of, url_secrets

TALKATIVE: Final = ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "anthropic", "pydantic_ai")
"""Libraries that write requests, URLs and bodies at levels below WARNING."""
_SHORTEST: Final = 6
"""Characters of a variable's secret that is looked for: shorter ones are in every other word."""
_NAMES: Final = re.compile(
    r"OTLP_.*HEADERS|PASSW|PASSPHRASE|SECRET|TOKEN|API_KEY|ACCESS_KEY|PRIVATE_KEY|ENCRYPTION_KEY|CREDENTIAL"
)
_KEYS: Final = "ANABRANCH_ENCRYPTION_KEYS"
_URL: Final = re.compile(r"\b([a-z][a-z0-9+.-]*://)([^\s\"'<>/?#]*@)?([^\s\"'<>?#]*)(\?[^\s\"'<>#]*)?", re.IGNORECASE)
_VALUE: Final = re.compile(r"=[^&;]*")
_ABOUT_KEYS: Final = (ConfigurationError, EncryptionKeyMissing, PlaintextRefused)
"""Errors that hold no data, and that an operator must read."""


def secrets_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The secrets that variables hold: by their names, and in URLs."""
    found: list[str] = []
    for name, value in environ.items():
        if _NAMES.search(name) and not name.endswith(("_HOSTS", "_FILE", "_PATH")):
            found += credentials(value)
        if name == _KEYS:
            found += [entry.partition(":")[2].strip() for entry in re.split(r"[,\n]", value)]
        if "://" in value:
            found += url_secrets(value)
    return tuple(sorted({secret for secret in found if len(secret) >= _SHORTEST}))


def redacted(_logger: object, _method: str, entry: Any) -> Any:
    """A processor of structlog that masks an entry, or the line that a renderer made of it."""
    mask = _known()
    if isinstance(entry, str | bytes):
        return _text(entry, mask) if isinstance(entry, str) else _text(entry.decode(), mask).encode()
    cleaned = {key: _value(value, mask) for key, value in entry.items()}
    if told := _traceback(entry.get("exc_info")):
        # As text, and Python's own: a renderer's may show the values of local variables.
        cleaned = {**cleaned, "exception": _text(told, mask).rstrip("\n")}
        del cleaned["exc_info"]
    return cleaned


@dataclass(slots=True)
class _Guard:
    """What this process holds back of what it logs."""

    hides_errors: bool = False


_guard: Final = _Guard()


def guard_logging(*, hide_errors: bool = False) -> None:
    """Mask what this process logs from now on, whoever logs and however logging is configured.

    Libraries that would write requests are held to WARNING where nobody has set their level. With `hide_errors` of an
    exception only the type is logged: where payloads are encrypted, its message and stack trace may hold what is.
    """
    _guard.hides_errors = hide_errors
    for name in TALKATIVE:
        if (logger := logging.getLogger(name)).level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
    if not isinstance(make := logging.getLogRecordFactory(), _Redacting):
        logging.setLogRecordFactory(_Redacting(make))
    processors = structlog.get_config()["processors"]
    if redacted not in processors:
        structlog.configure(processors=[redacted, *processors])


class _Redacting:
    """Makes log records as another factory does, without secrets in their text."""

    def __init__(self, make: Any) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        """The record; its message is formatted already where it held a secret."""
        record: logging.LogRecord = self._make(*args, **kwargs)
        try:
            said = record.getMessage()
        except Exception:
            return record  # logging tells of a message that does not fit its arguments
        mask = _known()
        if (text := _text(said, mask)) != said:
            record.msg, record.args = text, ()
        told = _traceback(record.exc_info)
        if told and ((text := _text(told, mask)) != told or _guard.hides_errors):
            record.exc_info, record.exc_text = None, text.rstrip("\n")
        return record


def _known() -> Mask:
    """The mask of the secrets that the environment holds now: commands set variables for a while."""
    return mask_of(*secrets_of(os.environ))


def _value(value: Any, mask: Mask) -> Any:
    if isinstance(value, str):
        return _text(value, mask)
    if isinstance(value, Mapping):
        return {_value(key, mask): _value(inner, mask) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_value(inner, mask) for inner in value]
    if isinstance(value, BaseException):
        return _told(value) if _guard.hides_errors else _text(repr(value), mask)
    return value


def _text(text: str, mask: Mask) -> str:
    return mask.text(_URL.sub(_plain_url, text))


def _plain_url(found: re.Match[str]) -> str:
    scheme, user, rest, query = found.groups()
    return f"{scheme}{MASK + '@' if user else ''}{rest}{_VALUE.sub('=' + MASK, query or '')}"


def _traceback(info: Any) -> str:
    """The text of what `exc_info` may be; empty where it is nothing."""
    if info is True:
        info = sys.exc_info()
    match info:
        case BaseException() as error:
            return _told(error)
        case (type(), BaseException() as error, TracebackType() | None):
            return _told(error)
    return ""


def _told(error: BaseException) -> str:
    if _guard.hides_errors and not isinstance(error, _ABOUT_KEYS):
        return f"{type(error).__qualname__} (its message is encrypted in the history alone)"
    return "".join(traceback.format_exception(error))
