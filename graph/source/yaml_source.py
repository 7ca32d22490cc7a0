"""YAML 1.2 text to plain JSON values, with a place in the file for each of them.

Only PyYAML's pure-Python event stream is used (its C twin overflows the stack on nested brackets, its constructors
follow YAML 1.1): `on` and `yes` stay strings, `12:30:45` stays a string, dates stay strings. What only an attacker
needs is refused: anchors and aliases, tags, merge keys, duplicate keys, depth, size. JSON is a subset.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NoReturn, TypeAlias, cast

import yaml
from yaml.error import Mark

from anabranch.context.values import Json
from anabranch.errors import GraphError, Problem, SourceLocation
from anabranch.graph.source.syntax_advice import syntax_advice

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_PROBLEMS = 20
Pointer: TypeAlias = tuple[str | int, ...]

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]+", re.ASCII)
_PREFIXED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LONGEST_INTEGER = 32
_ESCAPE = re.compile(r"\\(?:x..|u....|U........|.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Extent:
    """One scalar or collection in the text: where it starts and ends, where its key starts, how it is quoted."""

    start: Mark
    end: Mark
    key: Mark | None
    style: str | None
    scalar: bool


@dataclass(frozen=True, slots=True)
class Source:
    """A value, and the place of each part of it.

    `moved` maps paths of `value` to paths of the text, `attached` paths of other files' texts to their names.
    """

    file: str
    text: str
    value: Json
    spans: Mapping[Pointer, Extent]
    moved: Mapping[Pointer, Pointer] = field(default_factory=dict)
    attached: Mapping[Pointer, str] = field(default_factory=dict)

    def rebased(self, value: Json, moved: Mapping[Pointer, Pointer]) -> Source:
        """The same text, read as another value whose changed paths `moved` leads back to the text."""
        return replace(self, value=value, moved=moved)

    def with_files(self, value: Json, attached: Mapping[Pointer, str]) -> Source:
        """The same text, with the content of files instead of their names."""
        return replace(self, value=value, attached=attached)

    def place(self, path: Pointer, *, key: bool = False) -> SourceLocation:
        """The place of the scalar at `path`, or of the collection's key; else that of its nearest parent."""
        span = self._span(path)
        named = span.key is not None and (key or not span.scalar)
        return _place(self.file, span.key if named and span.key else span.start)

    def written_at(self, path: Pointer) -> SourceLocation | None:
        """The place in the text where what is at `path` begins; None for what the text does not have."""
        return self.place(path, key=True) if self.origin(path) in self.spans else None

    def place_in(self, path: Pointer, offset: int) -> SourceLocation:
        """The place of the character `offset` (from 0) of the string at `path`."""
        span, value = self._span(path), value_at(self.value, path)
        if not isinstance(value, str) or not span.scalar:
            return self.place(path)
        if path in self.attached:
            return _place_at(self.attached[path], value, offset)
        return _place_at(self.file, self.text, _align(self.text, span, value, offset))

    def plain_text(self, path: Pointer) -> str | None:
        """The text of the scalar at `path` where it is in this file, without quotes; else None."""
        span = None if path in self.attached else self.spans.get(self.origin(path))
        if span is None or not span.scalar or span.style is not None:
            return None
        return self.text[span.start.index : span.end.index]

    def _span(self, path: Pointer) -> Extent:
        origin = self.origin(path)
        while origin and origin not in self.spans:
            origin = origin[:-1]
        return self.spans[origin]

    def origin(self, path: Pointer) -> Pointer:
        """The path in the text of what is at `path` of the value."""
        for length in range(len(path), -1, -1):
            if (old := self.moved.get(path[:length])) is not None:
                return old + path[length:]
        return path


def read_yaml(text: str, file: str) -> Source:
    """The one YAML (or JSON) document in `text`; GraphError with every place that is not plain data."""
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES // 1024} KiB"
        raise GraphError(
            (Problem("YAML_TOO_LARGE", message, SourceLocation(file, 1, 1), "split it with `type: graph` nodes"),)
        )
    if text.lstrip().startswith("{") and "\t" in text and _is_json(text):
        text = text.replace("\t", " ")  # JSON may indent with tabs, YAML may not; strings hold them as \t only
    return _Reader(text, file).read()


class _Reader:
    """Builds values out of YAML events; depth is bounded before anything recurses."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text.removeprefix("\ufeff")
        self.file = file
        self.spans: dict[Pointer, Extent] = {}
        self.problems: list[Problem] = []
        self.events: Iterator[yaml.Event] = yaml.parse(self.text, yaml.SafeLoader)

    def read(self) -> Source:
        try:
            value = self._document()
        except yaml.reader.ReaderError as error:
            self._unreadable(error)
        except yaml.MarkedYAMLError as error:
            self._syntax(error)
        if self.problems:
            raise GraphError(tuple(self.problems))
        return Source(self.file, self.text, value, self.spans)

    def _document(self) -> Json:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            self._stop("YAML_EMPTY", "the file is empty", None, "a graph needs at least `name:` and `nodes:`")
        value = self._value((), None, self._next())
        self._next()
        if not isinstance(last := self._next(), yaml.StreamEndEvent):
            self._stop("YAML_SYNTAX", "a second document starts here", _start(last), "one file is one graph")
        return value

    def _value(self, path: Pointer, key: Mark | None, event: yaml.Event) -> Json:
        if len(path) > MAX_DEPTH:
            self._stop("YAML_TOO_DEEP", f"nested deeper than {MAX_DEPTH} levels", _start(event))
        self._plain_data(event)
        style = event.style if isinstance(event, yaml.ScalarEvent) else None
        end = cast("Mark", event.end_mark)
        self.spans[path] = Extent(_start(event), end, key, style, isinstance(event, yaml.ScalarEvent))
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._scalar(event) if isinstance(event, yaml.ScalarEvent) else None

    def _mapping(self, path: Pointer) -> dict[str, Json]:
        found: dict[str, Json] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            mark = _start(event)
            key = self._key(event)
            if key in found:
                first = self.spans[(*path, key)].key
                where = f"; it is already in line {first.line + 1}" if first else ""
                self._report("YAML_DUPLICATE_KEY", f"the key {key!r} is given twice{where}", mark)
            found[key] = self._value((*path, key), mark, self._next())
        return found

    def _sequence(self, path: Pointer) -> list[Json]:
        found: list[Json] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            found.append(self._value((*path, len(found)), None, event))
        return found

    def _key(self, event: yaml.Event) -> str:
        self._plain_data(event)
        if not isinstance(event, yaml.ScalarEvent):
            hole = self.text.startswith("{{", _start(event).index - 1)
            advice = 'a text that begins with {{ is written in quotes: "{{ … }}"' if hole else None
            self._stop("YAML_KEY", "a key must be a string", _start(event), advice)
        key = self._scalar(event)
        if event.value == "<<" and event.style is None:
            self._report("YAML_ALIAS", "merge keys (`<<`) are not read", _start(event), "write the fields out")
        if not isinstance(key, str):
            message = f"the key {event.value!r} is not a string"
            self._report("YAML_KEY", message, _start(event), f'write "{event.value}"')
            return str(event.value)
        return key

    def _scalar(self, event: yaml.ScalarEvent) -> Json:
        if event.style is None:
            try:
                return plain_value(event.value)
            except ValueError as error:
                self._report("YAML_VALUE", str(error), _start(event))
                return None
        text = _joined_surrogates(event.value) if event.style == '"' else event.value
        if text is None or _CONTROL.search(text):
            what = "a lone surrogate" if text is None else "a control character"
            self._report("YAML_VALUE", f"the string holds {what}", _start(event))
            return ""
        return str(text)

    def _plain_data(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._report("YAML_ALIAS", f"aliases (`*{event.anchor}`) are not read", _start(event), "write it out")
        elif isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            message = f"anchors (`&{event.anchor}`) are not read"
            self._report("YAML_ALIAS", message, _start(event), "remove it; write the values instead of its aliases")
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
            self._report("YAML_TAG", f"tags ({event.tag!r}) are not read", _start(event), "quote it if it is a text")

    def _next(self) -> yaml.Event:
        return next(self.events)

    def _report(self, code: str, message: str, mark: Mark | None, suggestion: str | None = None) -> None:
        place = _place(self.file, mark) if mark else SourceLocation(self.file, 1, 1)
        self.problems.append(Problem(code, message, place, suggestion))
        if len(self.problems) >= MAX_PROBLEMS:
            raise GraphError(tuple(self.problems))

    def _stop(self, code: str, message: str, mark: Mark | None, suggestion: str | None = None) -> NoReturn:
        self._report(code, message, mark, suggestion)
        raise GraphError(tuple(self.problems))

    def _unreadable(self, error: yaml.reader.ReaderError) -> NoReturn:
        place = _place_at(self.file, self.text, error.position)
        message = f"the character U+{ord(self.text[error.position]):04X} is not allowed in YAML"
        raise GraphError((*self.problems, Problem("YAML_SYNTAX", message, place)))

    def _syntax(self, error: yaml.MarkedYAMLError) -> NoReturn:
        message = ", ".join(part for part in (error.context, error.problem) if part)
        mark = error.problem_mark or error.context_mark
        self._stop("YAML_SYNTAX", message, mark, error.note or syntax_advice(error, self.text, mark))


def _start(event: yaml.Event) -> Mark:
    return cast("Mark", event.start_mark)


def _place(file: str, mark: Mark) -> SourceLocation:
    return SourceLocation(file, mark.line + 1, mark.column + 1)


def _place_at(file: str, text: str, index: int) -> SourceLocation:
    return SourceLocation(file, text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def plain_value(text: str) -> Json:
    """What a scalar without quotes is, by the YAML 1.2 core schema; ValueError for a number that JSON cannot hold."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _PREFIXED.fullmatch(text):
        return _bounded(int(text[2:], 8 if text[1] == "o" else 16), text)
    if _INTEGER.fullmatch(text):
        return _bounded(int(text) if len(text) <= _LONGEST_INTEGER else None, text)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a number that JSON can hold")
    if not _FLOAT.fullmatch(text):
        return text
    if abs(number := float(text)) == float("inf"):
        raise ValueError(f"{text[:32]} is too large for a number")
    return number


def _bounded(number: int | None, text: str) -> int:
    if number is None or not -(2**63) <= number < 2**64:
        raise ValueError(f"{text[:32]} does not fit in 64 bits; quote it if it is a text")
    return number


def _joined_surrogates(text: str) -> str | None:
    """JSON's escaped pairs as the characters that they mean; None if one has no partner."""
    if not any("\ud800" <= char <= "\udfff" for char in text):
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return None


def value_at(value: Json, path: Pointer) -> Json:
    """The part of a value that a path leads to; None if it leads nowhere."""
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _align(text: str, span: Extent, value: str, offset: int) -> int:
    """The index in `text` of the character `offset` of the scalar's value: quotes, escapes and folds apart."""
    index, end = span.start.index, span.end.index
    if span.style in ("|", ">"):
        index = text.find("\n", index, end) + 1
    elif span.style:
        index += 1
    for position in range(min(offset, len(value))):
        index = _after(text, index, end, span.style, value[position])
    while index < end and text[index].isspace() and offset < len(value) and not value[offset].isspace():
        index += 1
    return min(index, max(span.start.index, end - 1))


def _after(text: str, index: int, end: int, style: str | None, char: str) -> int:
    """The index after the text of one character of a scalar."""
    if not char.isspace():
        while index < end and text[index].isspace():
            index += 1
    if style == '"' and (escape := _ESCAPE.match(text, index, end)):
        pair = 2 if len(escape[0]) == len("\\u0000") and char > "\uffff" else 1
        return index + pair * len(escape[0])
    if style == "'" and text.startswith("''", index):
        return index + 2
    folded_away = char.isspace() and not (index < end and text[index].isspace())
    return index if folded_away else index + 1
