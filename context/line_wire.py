"""Lines of descent as plain JSON, for a run that continues elsewhere.

Writes are a table in which later ones refer to earlier ones, so that a write that lines share is one write again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from context.lineage import Line, Write
from context.values import MISSING, Missing


def dump_lines(lines: Mapping[str, Line]) -> list[Any]:
    """Roots, the table of writes, and each line's name with what it refers to."""
    roots = list({id(line.root): line.root for line in lines.values()}.values())
    root_index = {id(root): index for index, root in enumerate(roots)}
    writes = _ordered(write for line in lines.values() for found in line.writes.values() for write in found)
    write_index = {id(write): index for index, write in enumerate(writes)}
    table = [_dump_write(write, write_index) for write in writes]
    told = [
        [
            name,
            root_index[id(line.root)],
            line.root_version,
            line.data,
            str(line.seen),
            str(line.made),
            [write_index[id(write)] for found in line.writes.values() for write in found],
        ]
        for name, line in lines.items()
    ]
    return [roots, table, told]


def load_lines(wire: list[Any]) -> dict[str, Line]:
    """The inverse of `dump_lines`."""
    roots, table, told = wire
    writes: list[Write] = []
    for path, there, value, writer, by, version, at, before in table:
        chosen = value if there else MISSING
        writes.append(Write(tuple(path), chosen, writer, by, version, at, tuple(writes[index] for index in before)))
    lines: dict[str, Line] = {}
    for name, root, root_version, data, seen, made, own in told:
        by_path: dict[tuple[str, ...], tuple[Write, ...]] = {}
        for index in own:
            by_path[writes[index].path] = (*by_path.get(writes[index].path, ()), writes[index])
        lines[name] = Line(roots[root], root_version, data, int(seen), int(made), by_path)
    return lines


def _dump_write(write: Write, index: Mapping[int, int]) -> list[Any]:
    there = not isinstance(write.value, Missing)
    before = [index[id(each)] for each in write.before]
    return [list(write.path), there, write.value if there else None, write.writer, write.by, write.version, write.at, before]


def _ordered(writes: Iterable[Write]) -> list[Write]:
    """The writes and all that stand before them, each after those that it refers to."""
    ordered: dict[int, Write] = {}
    stack = list(writes)[::-1]
    while stack:
        write = stack[-1]
        missing = [each for each in write.before if id(each) not in ordered]
        if id(write) in ordered or not missing:
            ordered.setdefault(id(write), write)
            stack.pop()
        else:
            stack.extend(missing)
    return list(ordered.values())
