"""What the code of a problem or an error means, and what to do about it: from docs/problems.md and `errors.py`."""

from __future__ import annotations

import inspect
import re
from functools import cache
from importlib.resources import files
from typing import Any

from anabranch import errors
from anabranch.errors import AnabranchError, InputError
from anabranch.graph.source.problems import did_you_mean

_CELLS = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"`([A-Z][A-Z_0-9]+)`")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")


def explained(code: str) -> dict[str, Any]:
    """The meaning of a code. Raises InputError for one that nothing has."""
    wanted = code.strip().strip("`").upper()
    problems, known_errors = _problems(), _errors()
    told = problems.get(wanted) or known_errors.get(wanted)
    if told is None:
        suggestion = did_you_mean(wanted, [*problems, *known_errors])
        raise InputError(f"no problem and no error has the code {wanted[:64]!r}", place="code", suggestion=suggestion)
    return {"code": wanted, **told}


@cache
def _problems() -> dict[str, dict[str, Any]]:
    """The rows of the page by their codes."""
    page = files("anabranch").joinpath("problems.md").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = {}
    for row in page.splitlines():
        if not row.startswith("| `"):
            continue
        codes, means, fix = [*_CELLS.split(row)[1:4], "", ""][:3]
        told: dict[str, Any] = {"level": "warning" if "*w*" in codes else "error", "means": _plain(means)}
        found |= dict.fromkeys(_CODE.findall(codes), told | ({"fix": _plain(fix)} if _plain(fix) else {}))
    return found


def _plain(cell: str) -> str:
    return _LINK.sub(r"\1", cell).replace("\\|", "|").strip()


@cache
def _errors() -> dict[str, dict[str, Any]]:
    """What runs, workers and commands fail with."""
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, AnabranchError)]
    return {
        each.code: {"level": "error", "means": inspect.getdoc(each) or "", "may_be_retried": each.retryable}
        for each in kinds
    }
