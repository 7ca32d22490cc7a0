"""Names that look like slips of the pen: `amont` beside `amount`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

_SHORTEST = 5
"""Letters from which on a difference of one is more likely a slip than another word."""


def similar_names(inputs: Sequence[str], written: Iterable[str]) -> dict[str, str]:
    """For each of `inputs` that resembles a key that is written, or an input that is read more often: that one.

    `inputs` holds a name once for each place that reads it, in order; of two that are read as often the first is right.
    """
    counts = Counter(inputs)
    found: dict[str, str] = {}
    known = sorted(written)
    for name in sorted(counts, key=lambda one: -counts[one]):  # stable: in the order of their first places
        other = next((one for one in known if is_slip(name, one)), None)
        if other is None:
            known.append(name)
        else:
            found[name] = other
    return found


def is_slip(name: str, other: str) -> bool:
    """Whether two names differ by one letter that is missing, other or swapped with the next one.

    Not where that is the last one (`price_a` and `price_b`, `item` and `items`) or a digit (`line1` and `line2`).
    """
    if min(len(name), len(other)) < _SHORTEST or name == other:
        return False
    start = _common(name, other)
    end = min(_common(name[::-1], other[::-1]), min(len(name), len(other)) - start)
    rest, instead = name[start : len(name) - end], other[start : len(other) - end]
    if not (rest + instead).isalpha():
        return False
    swapped = len(rest) == 2 and rest == instead[::-1]  # noqa: PLR2004 - two letters
    return swapped or (end > 0 and max(len(rest), len(instead)) == 1)


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next(
        (index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
