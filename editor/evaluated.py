"""Names and functions within an expression, or within the holes of a template."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from anabranch.context.values import Path
from anabranch.editor.document import Here
from anabranch.editor.outline import Outline
from anabranch.editor.spot import NAMES
from anabranch.graph.expressions.functions.catalogue import CATALOGUE, NAMESPACED
from anabranch.graph.expressions.functions.function import Function
from anabranch.graph.fields import HOLE

_WRITTEN: Final = re.compile(
    r"(?P<holder>(?:(?<![\w.\])])[A-Za-z_]\w*\.\??)(?:[A-Za-z_]\w*\.\??)*)?(?P<word>[A-Za-z_]\w*)?$", re.ASCII
)
_LAST: Final = 1024
"""So many characters before the place are looked at."""
_MEMBER: Final = re.compile(r"(?!math|lists)\w+\.\w+\(")
_TEXT: Final = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Written:
    """A name that is being written: `order.to` has the holder `order` and the word `to`."""

    holder: Path
    word: str
    is_member: bool
    """Whether it belongs to a value."""


def written(here: Here) -> Written | None:
    """The name before the place; None where nothing is evaluated, and in a text of the expression."""
    if here.spot is None:
        return None
    text = here.cursor.text
    if here.spot.is_template:
        start = text.rfind(HOLE)
        if start < 0 or text.rfind("}}") > start:
            return None
        text = text[start + len(HOLE) :]
    text = text[-_LAST:]
    if {'"', "'"} & set(_TEXT.sub("", text)):
        return None
    if (found := _WRITTEN.search(text)) is None:
        return None
    steps = (found["holder"] or "").replace("?", "").strip(".")
    before = text[: found.start()].rstrip()
    return Written(tuple(steps.split(".")) if steps else (), found["word"] or "", bool(steps) or before.endswith("."))


def functions_for(name: Written) -> Iterator[tuple[str, Function]]:
    """The functions that may be called there, with what is left to write of their names."""
    prefix = ".".join((*name.holder, ""))
    if name.holder and (found := [each for each in NAMESPACED if each.startswith(prefix)]):
        yield from ((full.removeprefix(prefix), CATALOGUE[full]) for full in sorted(found))
        return
    for full, function in CATALOGUE.items():
        kinds = {False} if full in NAMESPACED else {_MEMBER.match(form) is not None for form in function.forms}
        if name.is_member in kinds:
            yield full, function


def function_named(name: Written) -> Function | None:
    """The function of that name."""
    full = ".".join((*name.holder, name.word))
    return CATALOGUE.get(full if full in NAMESPACED else name.word)


def key_path(name: Written) -> Path:
    """The path in the context that a name with its holder means."""
    steps = (*name.holder, name.word)
    return steps[1:] if steps[0] == "context" and len(steps) > 1 else steps


def parts_of(name: Written, outline: Outline) -> dict[str, Path]:
    """What may follow the holder: keys of the context, their parts, fields of reserved names."""
    if name.is_member and not name.holder:
        return {}
    if len(name.holder) == 1 and name.holder[0] in NAMES and name.holder[0] != "context":
        return {field: (name.holder[0], field) for field in NAMES[name.holder[0]].fields}
    above = key_path(name)[:-1]
    found = {path[len(above)]: path[: len(above) + 1] for path in outline.keys if _is_below(path, above)}
    schema = None if (key := outline.keys.get(above)) is None else key.schema
    properties = (schema or {}).get("properties")
    return found | {each: (*above, each) for each in (properties if isinstance(properties, dict) else ())}


def _is_below(path: Path, above: Path) -> bool:
    return len(path) > len(above) and path[: len(above)] == above
