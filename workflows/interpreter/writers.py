"""Who writes into a run without being one of its nodes: services (`outside:crm`) and operators (`operator:ada`).

No node's address has a colon. So nobody passes for a node, in the audit trail, among the candidates of a conflict and
wherever else a writer is named.
"""

from __future__ import annotations

from typing import Final, Literal

from anabranch.errors import InputError

MAX_NAME: Final = 100
"""Characters."""
UNNAMED: Final = "unnamed"


def outsider(kind: Literal["outside", "operator"], name: object = None) -> str:
    """The writer that a request names by its `by`. Raises InputError for what is not a name."""
    return f"{kind}:{UNNAMED if name is None else the_name(name)}"


def the_name(name: object) -> str:
    """The name of somebody who tells a run something. Raises InputError for what is not a name."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        raise InputError(
            f"`by` is a name of at most {MAX_NAME} printable characters, without a space at its ends",
            suggestion="give the name of who writes, or leave it out",
        )
    return name


def writer_place(by: str) -> str:
    """A writer as the place of an error."""
    return by if by == "input" or ":" in by else f"node {by!r}"
