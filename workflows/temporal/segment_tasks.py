"""What a segment is given, and what it is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final

from anabranch.context.values import Json
from anabranch.graph.expressions.expressions import ROOTS
from anabranch.transport.node_protocol import NodeTask
from anabranch.transport.segment import Segment, Step
from anabranch.workflows.interpreter.followers import Follower

_NAME: Final = 160
"""Characters of what a segment is called."""
_ARROW: Final = " → "


def segment_of(task: NodeTask, data: Mapping[str, Json], behind: Sequence[Follower], times: Sequence[float]) -> Segment:
    """What follows a node: the tasks of those `behind` it, as far as they are not known from its own.

    `data` is the context that the node sees; `times` are the seconds that an attempt of each may take, its own first.
    """
    seconds, *others = times
    if not behind:
        return Segment(seconds)
    steps = [
        Step(each.address, each.planned.wire, each.key, each.planned.reads, time)
        for each, time in zip(behind, others, strict=True)
    ]
    reads = [task.reads, *(step.reads for step in steps)]
    crossing = set(data) if None in reads else set(chain.from_iterable(each for each in reads if each is not None))
    more = {key: value for key, value in data.items() if key in crossing and key not in task.context.data}
    fences = {*(key for key in data if key not in crossing), *ROOTS, *task.roots}
    return Segment(seconds, tuple(steps), more, tuple(sorted(fences)))


def named(names: Sequence[str]) -> str:
    """Nodes that run one behind the other."""
    whole = _ARROW.join(names)
    return whole if len(whole) <= _NAME else f"{names[0]}{_ARROW}…{_ARROW}{names[-1]}"


def listed(names: Iterable[str]) -> str:
    """What runs beside each other, each name once."""
    different = list(dict.fromkeys(names))
    whole = ", ".join(different)
    return whole if len(whole) <= 2 * _NAME else f"{different[0]}, …, {different[-1]}"
