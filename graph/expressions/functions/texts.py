"""Functions of texts, with the meaning of CEL's string extension. Each is charged by what it touches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from anabranch.graph.expressions.cel_values import ELEMENT, EvaluationFailed, NoOverload
from anabranch.graph.expressions.cost import VALUE_SIZE, Cost
from anabranch.graph.expressions.functions.formatting import formatted
from anabranch.graph.expressions.functions.function import Function

_QUADRATIC_TEXT, _QUADRATIC_PART, _SHORT_TEXT = 30_000, 100, 2_500
_EVERY: Final = -1


def _texts(function: str, *values: object) -> None:
    if any(type(value) is not str for value in values):
        raise NoOverload(function, *values)


def _whole(function: str, text: object, number: object) -> None:
    if type(number) is not int:
        raise NoOverload(function, text, number)


def _search(cost: Cost, text: str, part: str) -> None:
    """Charge a search, by the worst that Python's takes: it is linear but for short texts."""
    units = 1 + len(text) // 32
    if len(text) < _SHORT_TEXT or (len(text) < _QUADRATIC_TEXT and len(part) < _QUADRATIC_PART):
        units += len(text) * len(part) // 512
    cost.spend(units)


def contains(cost: Cost, text: Any, part: Any) -> bool:
    """Whether a text holds another."""
    _texts("contains", text, part)
    _search(cost, text, part)
    return part in text


def index_of(cost: Cost, text: Any, part: Any, start: Any = 0) -> int:
    """Where a text holds another, from a position on; -1 where it does not."""
    _texts("indexOf", text, part)
    _position("indexOf", text, start)
    _search(cost, text, part)
    return int(text.find(part, start))


def last_index_of(cost: Cost, text: Any, part: Any, start: Any = None) -> int:
    """Where a text holds another last, beginning at most at a position; -1 where it does not."""
    _texts("lastIndexOf", text, part)
    if start is not None:
        _position("lastIndexOf", text, start)
    # Python's search from the right is not linear for any text.
    cost.spend(1 + len(text) // 32 + len(text) * len(part) // 64)
    return int(text.rfind(part) if start is None else text.rfind(part, 0, start + len(part)))


def _position(function: str, text: str, position: Any) -> None:
    _whole(function, text, position)
    if not 0 <= position <= len(text):
        raise EvaluationFailed(f"{function} from {position} in a text of {len(text)} characters")


def char_at(cost: Cost, text: Any, position: Any) -> str:
    """The character at a position; at the end of the text an empty one."""
    _texts("charAt", text)
    _position("charAt", text, position)
    cost.build(1)
    return str(text[position : position + 1])


def starts_with(cost: Cost, text: Any, part: Any) -> bool:
    """Whether a text begins with another."""
    _texts("startsWith", text, part)
    cost.spend(len(part) // 1024)
    return bool(text.startswith(part))


def ends_with(cost: Cost, text: Any, part: Any) -> bool:
    """Whether a text ends with another."""
    _texts("endsWith", text, part)
    cost.spend(len(part) // 1024)
    return bool(text.endswith(part))


def replace(cost: Cost, text: Any, old: Any, new: Any, limit: Any = _EVERY) -> str:
    """Replaces a part of a text wherever it is, or at its first places."""
    _texts("replace", text, old, new)
    _whole("replace", text, limit)
    _search(cost, text, old)
    found = text.count(old)
    found = found if limit < 0 else min(found, limit)
    cost.build(len(text) + found * max(0, len(new) - len(old)))
    _search(cost, text, old)
    cost.spend(found)
    return str(text.replace(old, new, found))


def split(cost: Cost, text: Any, separator: Any, limit: Any = _EVERY) -> list[str]:
    """The parts of a text between separators; without one, its characters."""
    _texts("split", text, separator)
    _whole("split", text, limit)
    if limit == 0:
        return []
    _search(cost, text, separator)
    parts = text.count(separator) + 1 if separator else len(text)
    parts = parts if limit < 0 else min(parts, limit)
    cost.build(VALUE_SIZE * parts + len(text))
    cost.spend(ELEMENT * parts)
    if separator:
        return [*text.split(separator, parts - 1)]
    return list(text) if parts == len(text) else [*text[: parts - 1], text[parts - 1 :]]


def join(cost: Cost, parts: Any, separator: Any = "") -> str:
    """Texts as one, with a separator between them."""
    if type(parts) is not list or type(separator) is not str:
        raise NoOverload("join", parts, separator)
    cost.spend(ELEMENT * len(parts))
    if not all(type(part) is str for part in parts):
        raise EvaluationFailed("join takes a list of texts")
    cost.build(sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


def _ascii(name: str, change: Callable[[str], str]) -> Callable[[Cost, Any], str]:
    letters = {ord(c): change(c) for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"}

    def apply(cost: Cost, text: Any) -> str:
        _texts(name, text)
        cost.build(len(text))
        if text.isascii():
            return change(text)
        cost.spend(len(text))
        return str(text.translate(letters))

    return apply


def trim(cost: Cost, text: Any) -> str:
    """A text without the white space around it."""
    _texts("trim", text)
    cost.build(len(text))
    return str(text.strip())


def substring(cost: Cost, text: Any, start: Any, end: Any = None) -> str:
    """A part of a text, by positions."""
    stop = len(text) if end is None and type(text) is str else end
    if type(text) is not str or type(start) is not int or type(stop) is not int:
        raise NoOverload("substring", text, start, *(() if end is None else (end,)))
    if not 0 <= start <= stop <= len(text):
        raise EvaluationFailed(f"substring {start} to {stop} of a text of {len(text)} characters")
    cost.build(stop - start)
    return str(text[start:stop])


def _padded(name: str, *, at_start: bool) -> Callable[..., str]:
    def apply(cost: Cost, text: Any, width: Any, fill: Any = " ") -> str:
        _texts(name, text, fill)
        _whole(name, text, width)
        if len(fill) != 1:
            raise EvaluationFailed(f"{name} fills with one character, not with {len(fill)}")
        cost.build(max(width, len(text)))
        return str(text.rjust(width, fill) if at_start else text.ljust(width, fill))

    return apply


TEXTS: Final = (
    Function(
        "contains",
        ("text.contains(part: text) -> boolean",),
        "Whether a text holds another.",
        ('name.contains("d") => true',),
        contains,
        known=1,
    ),
    Function(
        "startsWith",
        ("text.startsWith(part: text) -> boolean",),
        "Whether a text begins with another.",
        ('name.startsWith("A") => true',),
        starts_with,
        known=1,
    ),
    Function(
        "endsWith",
        ("text.endsWith(part: text) -> boolean",),
        "Whether a text ends with another.",
        ('name.endsWith("a") => true',),
        ends_with,
        known=1,
    ),
    Function(
        "indexOf",
        ("text.indexOf(part: text) -> whole", "text.indexOf(part: text, start: whole) -> whole"),
        "Where a text holds another first, from a position on; -1 where it does not.",
        ('name.indexOf("d") => 1', 'name.indexOf("z") => -1', '"a-b-c".indexOf("-", 2) => 3'),
        index_of,
    ),
    Function(
        "lastIndexOf",
        ("text.lastIndexOf(part: text) -> whole", "text.lastIndexOf(part: text, start: whole) -> whole"),
        "Where a text holds another last, at most at a position; -1 where it does not.",
        ('"a-b-c".lastIndexOf("-") => 3', '"a-b-c".lastIndexOf("-", 2) => 1'),
        last_index_of,
    ),
    Function(
        "charAt",
        ("text.charAt(position: whole) -> text",),
        "The character at a position, counted from 0.",
        ('name.charAt(0) => "A"',),
        char_at,
    ),
    Function(
        "substring",
        ("text.substring(start: whole) -> text", "text.substring(start: whole, end: whole) -> text"),
        "The part of a text from a position to its end, or up to another position.",
        ('name.substring(1) => "da"', 'name.substring(0, 2) => "Ad"'),
        substring,
    ),
    Function(
        "replace",
        ("text.replace(old: text, new: text) -> text", "text.replace(old: text, new: text, limit: whole) -> text"),
        "Replaces a part of a text wherever it is, or at its first places.",
        ('name.replace("A", "O") => "Oda"', '"a-b-c".replace("-", "", 1) => "ab-c"'),
        replace,
    ),
    Function(
        "split",
        ("text.split(separator: text) -> texts", "text.split(separator: text, limit: whole) -> texts"),
        "The parts of a text between separators, or so many of which the last holds the rest. "
        "An empty separator splits it into characters.",
        ('"a,b".split(",") => ["a", "b"]', '"a,b,c".split(",", 2) => ["a", "b,c"]'),
        split,
    ),
    Function(
        "join",
        ("list.join() -> text", "list.join(separator: text) -> text"),
        "The texts of a list as one, with a separator between them.",
        ('tags.join(", ") => "new, gift"', 'tags.join() => "newgift"'),
        join,
    ),
    Function(
        "trim",
        ("text.trim() -> text",),
        "A text without the white space around it.",
        ('" tea ".trim() => "tea"',),
        trim,
    ),
    Function(
        "lowerAscii",
        ("text.lowerAscii() -> text",),
        "A text with the letters A to Z in lower case.",
        ('name.lowerAscii() => "ada"',),
        _ascii("lowerAscii", str.lower),
    ),
    Function(
        "upperAscii",
        ("text.upperAscii() -> text",),
        "A text with the letters a to z in upper case.",
        ('name.upperAscii() => "ADA"',),
        _ascii("upperAscii", str.upper),
    ),
    Function(
        "padStart",
        ("text.padStart(width: whole) -> text", "text.padStart(width: whole, fill: text) -> text"),
        "A text with blanks, or another character, before it, up to a width.",
        ('string(total).padStart(6, "0") => "000120"', 'name.padStart(5) => "  Ada"'),
        _padded("padStart", at_start=True),
        own=True,
    ),
    Function(
        "padEnd",
        ("text.padEnd(width: whole) -> text", "text.padEnd(width: whole, fill: text) -> text"),
        "A text with blanks, or another character, behind it, up to a width.",
        ('name.padEnd(5, ".") => "Ada.."', 'name.padEnd(4) => "Ada "'),
        _padded("padEnd", at_start=False),
        own=True,
    ),
    Function(
        "format",
        ("text.format(values: list) -> text",),
        "A text with its clauses filled in, one value of the list for each. "
        "`%s` takes any value, as a template writes it, and `null`; `%d` a whole number, `%x`, `%X`, `%o` and `%b` one "
        "in hexadecimal, octal or binary; `%f`, `%.2f` and `%e` a number, rounded half to even of what it is in binary "
        "(`fixed` rounds as money is); `%%` is a percent sign.",
        (
            '"%s: %.2f".format([name, 19.5]) => "Ada: 19.50"',
            '"%d %x".format([total, 255]) => "120 ff"',
            '"%.1e".format([1234.5]) => "1.2e+03"',
        ),
        formatted,
    ),
)
