"""Keep secrets out of what is said: errors and the history."""

from __future__ import annotations

import json
from collections.abc import Iterable

from anabranch.context.values import Json
from anabranch.masking import Mask, mask_of


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret masked, in every form that decodes to it; empty secrets are ignored."""
    return mask_of(*secrets).text(text)


def masked_json(body: Json, mask: Mask) -> Json:
    """Data without the secrets that a server repeats in it."""
    body = mask.value(body)
    whole = json.dumps(body, ensure_ascii=False) if mask else ""
    # A secret may be spread over several values: an object of JSON that is the secret.
    return body if mask.text(whole) == whole else mask.text(whole)
