"""The modules that a script imports: a page names them all, so that a browser asks for them at once."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

STATIC: Final = Path(__file__).resolve().parent.parent / "static"
_IMPORT: Final = re.compile(r'^(?:import|export|\})[^"\n]*?"(\.{1,2}/[^"\n]+\.js)";', re.MULTILINE)


@cache
def modules(script: str) -> tuple[str, ...]:
    """The names below `/static/` of all that a script imports, and of what that imports, without its own."""
    found: dict[str, None] = {script: None}
    for name in (reached := list(found)):
        text = (STATIC / name).read_text(encoding="utf-8")
        for place in _IMPORT.findall(text):
            imported = _resolved(PurePosixPath(name).parent / place)
            if imported not in found:
                found[imported] = None
                reached.append(imported)
    return tuple(each for each in found if each != script)


def _resolved(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
