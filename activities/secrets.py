"""Keep secrets out of what is said: errors, logs and the history."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote, unquote

MASK = "***"


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret masked, as it is, percent-encoded and escaped in JSON; empty ones are ignored."""
    forms = {form for secret in secrets if secret for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def _forms(secret: str) -> tuple[str, ...]:
    return secret, quote(secret, safe=""), unquote(secret), json.dumps(secret)[1:-1]
