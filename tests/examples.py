"""How many examples a property is tried on.

`make test` tries two fifths of them, the first ones; `make coverage`, which CI runs, tries all.
"""

from __future__ import annotations

import os

ALL = os.environ.get("ANABRANCH_TEST_EXAMPLES") == "all"


def examples(count: int) -> int:
    """So many of `count` as are tried here."""
    return count if ALL else count * 2 // 5
