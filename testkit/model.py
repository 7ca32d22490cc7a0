"""A test file as its author wrote it, typed and immutable."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, JsonValue

from anabranch.context.nested import by_path
from anabranch.graph.fields import JsonObject, Model
from anabranch.testkit.given import GivenOutcome

TIMEOUT = "timeout"
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def _outcome(value: object) -> object:
    if isinstance(value, str) and value != TIMEOUT:
        raise ValueError(f"{value[:64]!r} is not an outcome; write {{set: {{…}}}}, {{fail: CODE}} or {TIMEOUT}")
    return {TIMEOUT: True} if value == TIMEOUT else value


def _conflict(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


def _time(value: object) -> object:
    if isinstance(value, str):
        return value
    raise ValueError("not a time such as 2026-01-31T08:00:00Z")


GivenOutcomes = dict[str, Annotated[GivenOutcome, BeforeValidator(_outcome)]]
"""How nodes end, by address: `reserve`, `pack/weigh` for every item, `pack[3]/weigh` for one, `undo reserve`."""
Choices = dict[str, dict[str, JsonValue] | Literal["timeout"]]
"""How the conflicts at a join are settled, by the join's address and the path: a writer, or a value."""


def _with_paths(values: JsonObject | None) -> JsonObject | None:
    by_path(values or {})
    return values


Values = Annotated[JsonObject | None, AfterValidator(_with_paths)]
"""Values by path; of two of which one is inside of the other only one."""


class ExpectedConflict(Model):
    """A conflict that a merge has to settle. What is not given is not compared."""

    path: str
    at: str | None = Field(None, description="The node at whose join it arises; `(end)` is the end of the graph")
    strategy: str | None = None
    writers: tuple[str, ...] | None = None
    choice: JsonValue = None


class ExpectedError(Model):
    """Why the run fails; `message` is a part of the text."""

    node: str | None = None
    code: str | None = None
    message: str | None = None


class Expectation(Model):
    """The expected outcome of a run. What is not given is not compared, except `status`."""

    status: Literal["completed", "failed", "cancelled", "paused"] | None = Field(
        None, description="By default failed if an `error` is expected, else completed"
    )
    path: tuple[str, ...] | None = Field(None, description="All leaf nodes that ran, in the order in which they ended")
    ran: tuple[str, ...] = Field((), description="Nodes that ran, whatever else did")
    skipped: tuple[str, ...] = Field((), description="Nodes that did not run")
    context: Values = Field(None, description="Paths and values in the context at the end; it may hold more")
    whole_context: Values = Field(None, description="Exactly the context at the end")
    result: Values = Field(None, description="Exactly the `data` that the run ends with")
    absent: tuple[str, ...] = Field((), description="Paths that the context does not hold at the end")
    search_attributes: JsonObject | None = Field(
        None, description="Exactly what the graph's own search attributes say at the end"
    )
    conflicts: tuple[Annotated[ExpectedConflict, BeforeValidator(_conflict)], ...] | None = None
    compensated: tuple[str, ...] | None = Field(None, description="Nodes that are undone, in this order")
    not_compensated: tuple[str, ...] | None = Field(None, description="Nodes whose compensation failed")
    notices: tuple[str, ...] | None = Field(
        None, description="Reminders and escalations of which people are told: `reminder 1 of ask`, in this order"
    )
    error: ExpectedError | None = None
    finally_failed: ExpectedError | tuple[ExpectedError, ...] | None = Field(
        None, description="Why a `finally` fails, of the graph or of a block; a list for several; without it, none does"
    )

    @property
    def last_errors(self) -> tuple[ExpectedError, ...]:
        """Why each `finally` is to fail that does."""
        if self.finally_failed is None:
            return ()
        return self.finally_failed if isinstance(self.finally_failed, tuple) else (self.finally_failed,)

    @property
    def end(self) -> str:
        """The status that is expected."""
        return self.status or ("completed" if self.error is None else "failed")


class Case(Model):
    """One test: an input, how nodes end, and what is expected then."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    input: JsonObject | str = Field(default_factory=dict, description="The data, or a JSON or YAML file with it")
    at: Annotated[AwareDatetime, Field(ge=_EARLIEST, le=_LATEST), BeforeValidator(_time)] = Field(
        EPOCH, description="When the run starts"
    )
    outcomes: GivenOutcomes = Field(default_factory=dict)
    order: tuple[str, ...] = Field((), description="Addresses in the order in which they end")
    choose: Choices = Field(default_factory=dict)
    cancel_after: str | None = Field(None, description="The run is cancelled as soon as this node has ended")
    expect: Expectation


class Cases(Model):
    """One test file. Paths of files are relative to it."""

    graph: str
    assume: bool = Field(False, description="Nodes without an outcome succeed, with example values")
    outcomes: GivenOutcomes = Field(default_factory=dict, description="Outcomes for all tests; a test's own win")
    tests: Annotated[tuple[Case, ...], Field(min_length=1, max_length=1000)]
