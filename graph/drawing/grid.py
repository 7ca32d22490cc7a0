"""The plain layout, in rows with straight lines: for nodes without edges, and for what is too much for a better one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import isqrt
from typing import Final

from anabranch.graph.drawing.places import Box, Layout, Link, Point, Route

GAP: Final = 24.0
_BETWEEN_RANKS: Final = 64.0


def in_rows(boxes: Sequence[Box], links: Sequence[Link]) -> Layout:
    """Each rank of boxes in as many rows as it needs, so that the whole is about as wide as it is high."""
    columns = max(3, isqrt(len(boxes)) * 2 // 3)
    rank = ranks(len(boxes), links)
    width = max(box.width + box.beside for box in boxes) + GAP
    corners: dict[int, Point] = {}
    bottom, before = -GAP, 0
    for numbers in _rows(rank, columns):
        top = bottom + (GAP if rank[numbers[0]] == before else _BETWEEN_RANKS)
        before = rank[numbers[0]]
        for column, number in enumerate(numbers):
            spare = width - GAP - boxes[number].width - boxes[number].beside
            corners[number] = column * width + spare / 2, top
        bottom = top + max(boxes[number].height + boxes[number].below for number in numbers)
    routes = tuple(_straight(boxes, corners, link) for link in links)
    used = min(columns, max(Counter(rank).values()))
    return Layout(used * width - GAP, bottom, tuple(corners[number] for number in range(len(boxes))), routes)


def ranks(count: int, links: Sequence[Link]) -> list[int]:
    """The longest way to each box from one that no link leads to."""
    rank, waiting = [0] * count, [0] * count
    leaving: list[list[int]] = [[] for _ in range(count)]
    for link in links:
        leaving[link.source].append(link.target)
        waiting[link.target] += 1
    ready = [number for number in range(count) if not waiting[number]]
    for number in ready:
        for target in leaving[number]:
            rank[target] = max(rank[target], rank[number] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return rank


def _rows(rank: Sequence[int], columns: int) -> Iterator[list[int]]:
    """The numbers of the boxes of each row."""
    ranked: dict[int, list[int]] = {}
    for number, each in enumerate(rank):
        ranked.setdefault(each, []).append(number)
    for _, numbers in sorted(ranked.items()):
        yield from (numbers[start : start + columns] for start in range(0, len(numbers), columns))


def _straight(boxes: Sequence[Box], corners: dict[int, Point], link: Link) -> Route:
    (left, top), source = corners[link.source], boxes[link.source]
    x, y = corners[link.target]
    start, end = (left + source.width / 2, top + source.height), (x + boxes[link.target].width / 2, y)
    middle = None if link.label is None else ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    return Route((start, end), middle)
