"""What client libraries raise beside their own errors when the other side sends what it should not."""

from __future__ import annotations

import struct
from typing import Final

BROKEN: Final = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RuntimeError,
    struct.error,
)
"""Libraries take bytes apart as if they were whole: an answer that is cut off, or of another protocol, surfaces so.

Errors of ours are among them too (`InputError` is a ValueError): let those pass first.
"""
