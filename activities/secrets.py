"""Keep secrets out of what is said: errors and the history."""

from __future__ import annotations

from collections.abc import Iterable

from anabranch.masking import mask_of


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret masked, in every form that decodes to it; empty secrets are ignored."""
    return mask_of(*secrets).text(text)
