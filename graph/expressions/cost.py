"""What an evaluation may cost, in units that do not depend on the machine.

A unit is about a tenth of a microsecond on a usual machine: one operation on small values. What takes longer is charged
before it is done, by the size of what it touches; so an evaluation stops at the same place wherever it runs, and a
replay decides as the run did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COST_LIMIT: Final = 4_000_000
"""Units of one evaluation: an expression, a template, or all rules of a node. About half a second."""
MAX_BUILT: Final = 2 * 1024 * 1024
"""Characters that one expression may build; any other value counts as `VALUE_SIZE`."""
MAX_TURNS: Final = 10_000
"""Iterations of all loops of one expression."""
VALUE_SIZE: Final = 8
_BUILT_PER_UNIT = 8


class OverCost(Exception):
    """An evaluation is over a limit. No operator of the language catches it."""

    def __init__(self, message: str, suggestion: str) -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


@dataclass(slots=True)
class Cost:
    """What is left to spend. One that several evaluations share bounds them together."""

    left: int = COST_LIMIT
    limit: int = COST_LIMIT
    room: int = MAX_BUILT
    turns: int = MAX_TURNS

    @classmethod
    def of(cls, units: int) -> Cost:
        """So many units."""
        return cls(units, units)

    @property
    def spent(self) -> int:
        """The units that were spent."""
        return self.limit - self.left

    def begin(self, units: int) -> None:
        """Charge an expression, and start its count of iterations and of what it builds."""
        self.room, self.turns = MAX_BUILT, MAX_TURNS
        self.spend(units)

    def spend(self, units: int) -> None:
        """Charge what is about to be done; OverCost beyond the limit."""
        self.left -= units
        if self.left < 0:
            raise OverCost(
                f"it costs more than {self.limit:,} units",
                "loop over less, or give it smaller values: a foreach node for long lists, `python` for long texts",
            )

    def turn(self, units: int) -> None:
        """Charge an iteration of a loop."""
        self.turns -= 1
        if self.turns < 0:
            raise OverCost(f"it loops more than {MAX_TURNS:,} times", "use a foreach node for long lists")
        self.spend(units)

    def build(self, characters: int) -> None:
        """Charge a text or list that is about to be made."""
        self.room -= characters
        if self.room < 0:
            raise OverCost(
                f"the expression builds more than {MAX_BUILT // 1024} KiB", "build less, or in several nodes"
            )
        self.spend(characters // _BUILT_PER_UNIT)
