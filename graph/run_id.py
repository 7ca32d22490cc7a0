"""The workflow id that a graph gives its runs, made of what they are started with."""

from __future__ import annotations

from collections.abc import Mapping

from anabranch.context.values import Json
from anabranch.errors import EvaluationError, RunIdInvalid
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.model import Graph
from anabranch.limits import SERVER_NAME_BYTES

_PLACE = "`id` of the graph"


def run_id(graph: Graph, data: Mapping[str, Json]) -> str | None:
    """The id of a run with this input; None where the graph does not say it. Raises RunIdInvalid."""
    if graph.id is None:
        return None
    defaults = {name: schema["default"] for name, schema in (graph.inputs or {}).items() if "default" in schema}
    given = {**defaults, **data}
    template = compile_template(graph.id.value)
    try:
        parts, made = template.values(given, {}), template.text(given, {})
    except EvaluationError as error:
        raise RunIdInvalid(
            f"it cannot be made of the input: {error.message}", place=_PLACE, suggestion=error.suggestion
        ) from None
    if any(each in (None, "") or isinstance(each, list | dict) for each in parts):
        raise RunIdInvalid(
            "one of its holes yields nothing, or a list or an object: other runs would have the same id",
            place=_PLACE,
            suggestion="let each hole yield a text or a number",
        )
    try:
        return check_run_id(made)
    except ValueError as error:
        raise RunIdInvalid(f"it {error}: {made[:80]!r}", place=_PLACE) from None


def check_run_id(value: str) -> str:
    """The id, if a workflow may have it. Raises ValueError."""
    if not value:
        raise ValueError("is empty")
    if (size := len(value.encode(errors="surrogatepass"))) > SERVER_NAME_BYTES:
        raise ValueError(f"has {size} bytes, over the server's limit of {SERVER_NAME_BYTES}")
    if not value.isprintable() or value != value.strip():
        raise ValueError("has characters that are not printed, or a space at one of its ends")
    return value
