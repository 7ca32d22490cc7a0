"""What a form sends has an id that is made when the form is shown: sent again by it, the same is carried out once."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from anabranch.console.routes import Body
from anabranch.context.values import Json
from anabranch.errors import InputError

_LONGEST: Final = 100
"""Characters of an id."""


def sent_id(body: Body, field: str) -> str | None:
    """The id that a request was made with; None where it has none. Raises InputError."""
    given = body.get(field) or None
    if given is not None and (not isinstance(given, str) or len(given) > _LONGEST or not given.isprintable()):
        raise InputError(f"it is a text of at most {_LONGEST} characters", place=field)
    return given


def sign_of(sent: str, *said: Json) -> str:
    """What a request is known by again: hexadecimal digits, others where something else is said by the same form."""
    told = json.dumps([sent, *said], sort_keys=True)
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
