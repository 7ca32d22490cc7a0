"""Lines of descent as plain JSON, for a run that continues as new.

All writes are in one table, and refer to earlier writes by index. A write that several lines share is therefore one
object again after decoding, which merging relies on: writes are compared by identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anabranch.context.merge.lineage import Line, Write, oldest_first, replay
from anabranch.context.values import MISSING, Json, Missing, Path
from anabranch.errors import WireFormatError


def dump_lines(lines: Mapping[str, Line]) -> list[Any]:
    """`[roots, writes, lines]`: each root and each write once, bit sets as text."""
    roots = list({id(line.root): line.root for line in lines.values()}.values())
    writes = oldest_first([write for line in lines.values() for found in line.writes.values() for write in found])
    root_index = {id(root): place for place, root in enumerate(roots)}
    index = {write: place for place, write in enumerate(writes)}
    rows = [
        [
            name,
            root_index[id(line.root)],
            line.root_version,
            f"{line.seen:x}",
            f"{line.made:x}",
            [index[write] for found in line.writes.values() for write in found],
        ]
        for name, line in lines.items()
    ]
    return [roots, [_dump_write(write, index) for write in writes], rows]


def load_lines(wire: Any) -> dict[str, Line]:
    """The inverse of `dump_lines`. Raises WireFormatError for anything else."""
    try:
        roots, table, rows = wire
        writes: list[Write] = []
        for row in table:
            writes.append(_load_write(row, writes))
        return {name: _load_line(row, roots, writes) for name, *row in rows}
    except (TypeError, ValueError, LookupError, AttributeError):
        raise WireFormatError(
            "these are not encoded lines of descent", suggestion="encode them with dump_lines"
        ) from None


def _dump_write(write: Write, index: Mapping[Write, int]) -> list[Any]:
    value = [] if isinstance(write.value, Missing) else [write.value]
    before = [index[each] for each in write.before]
    return [list(write.path), value, write.writer, write.by, write.version, write.at, before, write.settled]


def _load_write(row: Any, writes: Sequence[Write]) -> Write:
    path, value, writer, by, version, at, before, settled = row
    known = tuple(writes[place] for place in before)
    return Write(tuple(path), value[0] if value else MISSING, writer, by, version, at, known, settled)


def _load_line(row: Any, roots: Sequence[dict[str, Json]], writes: Sequence[Write]) -> Line:
    root, root_version, seen, made, own = row
    held: dict[Path, tuple[Write, ...]] = {}
    for write in (writes[place] for place in own):
        held[write.path] = (*held.get(write.path, ()), write)
    data = replay(roots[root], (found[0] for found in held.values()))
    return Line(roots[root], root_version, data, int(seen, 16), int(made, 16), held)
