"""Where in a graph a place of its text is, by indentation and brackets alone: the text need not be whole.

Only the lines that lead to the place are looked at, those around them for the fields beside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from anabranch.editor.flow import scan
from anabranch.graph.source.yaml_source import MAX_DEPTH, Pointer

_DASH = re.compile(r" *-(?= |$)")
_QUOTED_KEY = re.compile(r"""(?P<key>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*:(?=\s|$)""")
_COLON = re.compile(r":(?=\s|$)")
_NO_KEY = frozenset("#{}[],&*!|>%@`?:")
"""What no plain key begins with."""
_CLOSED = re.compile(r"""\s*(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'(?!'))\s*""", re.DOTALL)
_COMMENT = re.compile(r"(?:^|\s)#")
_MAX_COLUMN = 4096
"""What is further to the right in a line is not looked at: a regular expression would take too long."""
_OPENING = ("{", "[", '"', "'", "|", ">")
_DEPTH = 2
"""Fields beside a place are looked for below it as far as its entry of a section reaches."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place. At a key, `path` leads to the mapping that has it; at a value, to the value."""

    path: Pointer
    is_key: bool
    """A key is being written there, or nothing yet."""
    text: str
    """What the scalar holds so far, up to the place; without its first quote."""
    given: frozenset[str]
    """The keys of the mapping around, but for the one at the place."""
    types: Mapping[Pointer, str]
    """The `type` of each mapping on the path that has one."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """A dash (`key` is None) or a key in a line, and where its value begins."""

    column: int
    key: str | None
    rest: int


@dataclass(slots=True)
class _Level:
    column: int
    key: str | None
    index: int = 0


@dataclass(slots=True)
class _Walk:
    """What is found on the way from a place upwards."""

    limit: int
    """Only what is further to the left is around what was found so far."""
    column: int
    """Where the key, or the item, begins that is being written."""
    levels: list[_Level] = field(default_factory=list)
    """The innermost first."""
    start: tuple[int, int] | None = None
    """Line and column where a value begins that holds the place."""
    beside: list[tuple[int, str, str]] = field(default_factory=list)
    """Of each key beside those on the way: how many levels are inside of its mapping, the key, what stands behind."""

    def is_owner(self, mark: _Mark, *, is_first: bool) -> bool:
        """Whether a mark is around what was found: a list may stand as far left as its key."""
        if mark.column < self.limit:
            return True
        is_item = bool(self.levels) and self.levels[-1].key is None
        return mark.column == self.limit and mark.key is not None and is_item and is_first

    def enter(self, mark: _Mark, value_at: tuple[int, int] | None) -> None:
        """A mark is around all that was found so far; with a value in its line, that holds the place."""
        if value_at is not None:
            self.levels.clear()
            self.beside.clear()
            self.start = value_at
        self.levels.append(_Level(mark.column, mark.key))
        self.limit = mark.column

    def pass_by(self, mark: _Mark, value: str) -> None:
        """A mark is beside what was found, or inside of what is."""
        if mark.column != self.limit:
            return
        if mark.key is not None:
            self.beside.append((len(self.levels), mark.key, value))
        elif self.levels and self.levels[-1].key is None:
            self.levels[-1].index += 1


def cursor_at(lines: Sequence[str], line: int, column: int) -> Cursor | None:
    """The place before a character, counted from 0; None in a comment, and behind a value that is over."""
    if line >= len(lines) or column > _MAX_COLUMN:
        return None
    head = lines[line][:column]
    walk = _begun(head, line)
    _upwards(walk, lines, line)
    if walk.start is None and _COMMENT.search(head):
        return None
    _downwards(walk, lines, line)
    placed = _placed(walk, _held(walk, lines, line, head))
    return None if placed is None or len(placed.path) > MAX_DEPTH else placed


def _begun(head: str, line: int) -> _Walk:
    """What the line of the place itself says."""
    marks = list(_marks(head))
    rest = marks[-1].rest if marks else 0
    value = head[rest:].lstrip()
    column = len(head) - len(value)
    walk = _Walk(marks[0].column if marks else column, column)
    walk.levels = [_Level(mark.column, mark.key) for mark in reversed(marks)]
    if (marks and marks[-1].key is not None) or value.startswith(_OPENING):
        walk.start = (line, rest)
    return walk


def _marks(line: str) -> Iterator[_Mark]:
    at = 0
    while (dash := _DASH.match(line, at)) is not None:
        yield _Mark(dash.end() - 1, None, dash.end())
        at = dash.end()
    if (key := _key(line, at)) is not None:
        yield key


def _key(line: str, at: int) -> _Mark | None:
    """The key that begins a line, or what stands behind its dashes."""
    start = at + len(line[at:_MAX_COLUMN]) - len(line[at:_MAX_COLUMN].lstrip(" "))
    first = line[start : start + 1]
    if first in {'"', "'"}:
        quoted = _QUOTED_KEY.match(line, start, _MAX_COLUMN)
        return None if quoted is None else _Mark(start, unquoted(quoted["key"]), quoted.end())
    if not first or first in _NO_KEY or (colon := _COLON.search(line, start, _MAX_COLUMN)) is None:
        return None
    key = line[start : colon.start()].rstrip()
    return None if "#" in key else _Mark(start, key, colon.end())


def _upwards(walk: _Walk, lines: Sequence[str], line: int) -> None:
    for number in range(line - 1, -1, -1):
        text = lines[number]
        if not (stripped := text.lstrip()) or stripped[0] == "#":
            continue
        if (indent := len(text) - len(stripped)) > walk.limit:
            continue
        marks = list(_marks(text))
        if not marks and stripped[0] in "{[" and (indent < walk.limit or not indent):
            walk.levels.clear()
            walk.beside.clear()
            walk.start, walk.limit = (number, indent), indent
        for mark in reversed(marks):
            value = valued(text[mark.rest :])
            if walk.is_owner(mark, is_first=mark is marks[0]):
                walk.enter(mark, (number, mark.rest) if value and mark is marks[-1] else None)
            else:
                walk.pass_by(mark, value)


def _downwards(walk: _Walk, lines: Sequence[str], line: int) -> None:
    """The keys below the place that are beside it, or beside what leads to it."""
    total = len(walk.levels)
    columns = [(level.column, inner + 1) for inner, level in enumerate(walk.levels) if level.key is not None]
    if walk.start is None:
        columns.insert(0, (walk.column, 0))
    columns = [(column, inner) for column, inner in columns if total - inner >= _DEPTH]
    for text in lines[line + 1 :]:
        if not (stripped := text.lstrip()) or stripped[0] == "#":
            continue
        while columns and len(text) - len(stripped) < columns[0][0]:
            columns.pop(0)
        if not columns:
            return
        for mark in _marks(text):
            if mark.key is not None and mark.column == columns[0][0]:
                walk.beside.append((columns[0][1], mark.key, valued(text[mark.rest :])))


def _held(walk: _Walk, lines: Sequence[str], line: int, head: str) -> str | None:
    """The value that holds the place, from where it begins; None where none does."""
    if walk.start is None:
        return None
    first, column = walk.start
    return "\n".join([*lines[first:line], head])[column:]


def _placed(walk: _Walk, held: str | None) -> Cursor | None:
    path: Pointer = tuple(level.index if level.key is None else level.key for level in reversed(walk.levels))
    types = {path[: len(path) - inner]: unquoted(value) for inner, key, value in walk.beside if key == "type"}
    if held is None:
        given = frozenset(key for inner, key, _ in walk.beside if inner == 0)
        return Cursor(path, True, "", given, types)
    value = held.lstrip()
    if value.startswith(("{", "[")):
        return _in_brackets(path, value, types)
    given = frozenset(key for inner, key, _ in walk.beside if inner == 1)
    if value.startswith(("'", '"')):
        return None if _CLOSED.match(value) else Cursor(path, False, value[1:], given, types)
    if value.startswith(("|", ">")):
        return Cursor(path, False, value.partition("\n")[2], given, types)
    return None if _COMMENT.search(held) else Cursor(path, False, value, given, types)


def _in_brackets(path: Pointer, text: str, types: dict[Pointer, str]) -> Cursor | None:
    flow = scan(text)
    if not flow.opened or flow.in_comment:
        return None
    for opened in flow.opened[: MAX_DEPTH + 1]:
        if (named := opened.values.get("type")) is not None:
            types[path] = named
        if opened.is_list:
            path = (*path, opened.index)
        elif opened.key is not None:
            path = (*path, opened.key)
    innermost = flow.opened[-1]
    given = frozenset(innermost.values)
    is_key = not innermost.is_list and innermost.key is None
    return Cursor(path, is_key, "" if is_key else flow.token, given, types)


def valued(rest: str) -> str:
    """What stands behind a key in its line, without a comment."""
    if rest.lstrip()[:1] in ("'", '"') or "#" not in rest:
        return rest.strip()
    return rest[: found.start()].strip() if (found := _COMMENT.search(rest)) else rest.strip()


def unquoted(text: str) -> str:
    """A scalar without its quotes."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
