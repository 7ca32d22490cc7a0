"""Why the console refuses a request, as an exception and as an answer: one JSON object for every error."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from anabranch.console.pages.shell import page
from anabranch.errors import (
    AnabranchError,
    ConflictError,
    RunOpen,
    SchemaViolation,
    SizeLimitExceeded,
    TimedOut,
    Unavailable,
    VersionMismatch,
)

_STATUS: Final[tuple[tuple[type[AnabranchError], int], ...]] = (
    (SizeLimitExceeded, 413),
    (SchemaViolation, 422),
    (ConflictError, 409),
    (VersionMismatch, 409),
    (RunOpen, 409),
    (TimedOut, 503),
    (Unavailable, 503),
)
_CODES: Final = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 500: "FAILED"}
_TITLES: Final = {403: "You may not see this", 404: "There is no such page"}


class Refused(HTTPException):
    """A request that is not carried out. `code` is stable; `suggestion` says what to do."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        place: str | None = None,
        suggestion: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, headers)
        self.code = code
        self.place = place
        self.suggestion = suggestion

    @classmethod
    def of(cls, error: AnabranchError, status: int | None = None) -> Refused:
        """The refusal for an error, with the status of its kind unless another is given."""
        found = next((number for kind, number in _STATUS if isinstance(error, kind)), 400)
        place = None if error.place is None else str(error.place)
        return cls(status or found, error.code, error.message, place=place, suggestion=error.suggestion)

    def told(self) -> dict[str, Any]:
        """As JSON: `{"error": {"code", "message", "place", "suggestion"}}`."""
        said = {"code": self.code, "message": self.detail, "place": self.place, "suggestion": self.suggestion}
        return {"error": said}


async def refusal(request: Request, error: Exception) -> Response:
    """The answer to a request that was refused: a page for who opens one, else JSON."""
    refused = _refused(error)
    is_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    return page_of(refused) if is_page else answer(refused)


def _refused(error: Exception) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, AnabranchError):
        return Refused.of(error)
    status = error.status_code if isinstance(error, HTTPException) else 500
    said = error.detail if isinstance(error, HTTPException) else "the console failed"
    return Refused(status, _CODES.get(status, "INPUT_INVALID"), said)


def answer(refused: Refused) -> Response:
    """A refusal as JSON."""
    return JSONResponse(refused.told(), status_code=refused.status_code, headers=refused.headers)


def page_of(refused: Refused) -> Response:
    """A refusal as a page."""
    title = _TITLES.get(refused.status_code, "This cannot be shown")
    more = f"<p>{escape(refused.suggestion)}</p>" if refused.suggestion else ""
    body = f'<div class="empty"><h1>{title}</h1><p>{escape(str(refused.detail))}</p>{more}</div>'
    shown = page(title, None, active="", body=body)
    shown.status_code = refused.status_code
    return shown
