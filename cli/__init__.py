"""The `anabranch` command. Thin: parse, call, print."""

import gc
from typing import Final

EVERY: Final = gc.get_threshold()
"""Python's own: after how many new objects those, and older ones, are looked through for garbage."""
# Nothing that is imported is garbage: to look for it takes a quarter of a command's start.
# What runs for long looks for it again: `leaving.collect_as_ever`.
gc.set_threshold(200_000, 10, 10)
