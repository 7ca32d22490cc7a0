"""Where a place is within collections in brackets (`{from: a, to: `), read from their beginning up to the place."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_QUOTED = re.compile(r"""\"(?:[^"\\]|\\.)*(?P<double>"?)|'(?:[^']|'')*(?P<single>'?)""", re.DOTALL)
_PLAIN = re.compile(r"[^\"'#{}\[\],:]+")


@dataclass(slots=True)
class Opened:
    """A collection that is not closed yet. `key` is the one whose value is being written, if any."""

    is_list: bool
    key: str | None = None
    index: int = 0
    values: dict[str, str] = field(default_factory=dict)
    """The keys before, with their values where those are scalars."""


@dataclass(slots=True)
class Flow:
    """The collections around a place, the outermost first, and the scalar that is being written there."""

    opened: list[Opened] = field(default_factory=list)
    token: str = ""
    """Of a quoted scalar without its first quote."""
    in_comment: bool = False


def scan(text: str) -> Flow:
    """What is open at the end of a text that begins with a bracket; nothing where all of it is closed again."""
    return _Scanner(text).scan()


class _Scanner:
    """Goes over the text once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._flow = Flow()
        self._pieces: list[str] = []
        """Of the scalar that is being read. The first one is not blank."""
        self._is_quote_over = False

    def scan(self) -> Flow:
        flow, text = self._flow, self._text
        while self._at < len(text):
            char = text[self._at]
            if char in "\"'" and not self._pieces:
                self._quoted()
            elif char == "#" and (self._at == 0 or text[self._at - 1].isspace()):
                self._comment()
            elif char in "{}[],":
                self._bracket(char)
                self._at += 1
                if not flow.opened:
                    break
            elif char == ":" and self._ends_key():
                self._key()
            else:
                self._plain()
        flow.token = "".join(self._pieces).lstrip()
        return flow

    def _plain(self) -> None:
        found = _PLAIN.match(self._text, self._at)
        piece = self._text[self._at] if found is None else found[0]
        if self._pieces or piece.strip():
            self._pieces.append(piece)
        self._at += len(piece)

    def _quoted(self) -> None:
        found = _QUOTED.match(self._text, self._at)
        quoted = self._text[self._at :] if found is None else found[0]
        is_closed = found is not None and bool(found["double"] or found["single"]) and len(quoted) > 1
        self._pieces = [quoted[1:-1] if is_closed else quoted[1:]]
        self._is_quote_over = is_closed
        self._at += len(quoted)

    def _comment(self) -> None:
        end = self._text.find("\n", self._at)
        self._flow.in_comment = end < 0
        self._at = len(self._text) if end < 0 else end

    def _ends_key(self) -> bool:
        opened = self._flow.opened
        if not opened or opened[-1].is_list or opened[-1].key is not None:
            return False
        following = self._text[self._at + 1 : self._at + 2]
        return not following or following.isspace() or following in ",}]" or self._is_quote_over

    def _key(self) -> None:
        self._flow.opened[-1].key = self._taken()
        self._at += 1

    def _bracket(self, char: str) -> None:
        opened = self._flow.opened
        if char in "{[":
            self._taken()
            opened.append(Opened(is_list=char == "["))
            return
        token = self._taken()
        if char in "}]":
            opened.pop()
            return
        innermost = opened[-1]
        if innermost.key is not None:
            innermost.values[innermost.key] = token
        innermost.key = None
        innermost.index += 1

    def _taken(self) -> str:
        token = "".join(self._pieces).strip()
        self._pieces, self._is_quote_over = [], False
        return token
