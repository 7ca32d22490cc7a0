"""`schedule` of a graph: its cron expressions, what `validate` finds, and what it says to the server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.errors import InputError
from anabranch.graph.cron import FIELDS, Cron, CronInvalid, parse_cron
from anabranch.graph.load import load_text, written_out
from anabranch.graph.model import Graph
from anabranch.transport.schedules import Wanted
from tests.unit.test_finally import codes

NODES = {"a": {"type": "stop"}}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("30 6 * * 1-5", "30 6 * * 1-5"),
        ("30 6 * * MON-FRI", "30 6 * * 1-5"),
        ("*/15 * * * *", "0,15,30,45 * * * *"),
        ("5/20 * * * *", "5,25,45 * * * *"),
        ("0 0-23 * * *", "0 * * * *"),
        ("0 8-18/5 * jan,jul *", "0 8,13,18 * 1,7 *"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * 5-7", "0 0 * * 0,5-6"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("@daily", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
    ],
)
def test_a_cron_expression_has_one_spelling_for_all_that_mean_the_same(text: str, wanted: str) -> None:
    assert (str(parse_cron(text)), parse_cron(wanted)) == (wanted, parse_cron(text))


@given(st.tuples(*(st.frozensets(st.integers(kind.first, kind.last), min_size=1) for kind in FIELDS)))
def test_the_spelling_of_any_sets_is_read_as_the_same_sets(fields: tuple[frozenset[int], ...]) -> None:
    minute, hour, _, month, weekday = fields
    cron = Cron((minute, hour, frozenset(range(1, 32)), month, weekday))
    assert parse_cron(str(cron)) == cron


@pytest.mark.parametrize(
    ("text", "offset", "said"),
    [
        ("0 0 * *", 0, "it has 4 fields, not five"),
        ("@soon", 0, "'@soon' is none of @hourly"),
        ("60 * * * *", 0, "the minute '60' is not from 0 to 59"),
        ("0 9,24 * * *", 4, "the hour '24' is not from 0 to 23"),
        ("0 0 1 SUN *", 6, "the month 'SUN' is not from 1 to 12, or JAN to DEC"),
        ("0 0 * * 8", 8, "the day of week '8' is not from 0 to 7"),
        ("0 0 L * *", 4, "the day of month 'L' is not from 1 to 31"),
        ("0 0 ? * *", 4, "the day of month '\\?' is no number, range, step"),
        ("*/0 * * * *", 0, "a step of the minute is 0"),
        ("30-10 * * * *", 0, "the minute '30-10' ends before it begins"),
        ("0 0 31 2,4 *", 4, "it never comes"),
        ("0 0 1 * MON", 8, "days of the month and days of the week"),
    ],
)
def test_what_is_no_cron_expression_is_refused_where_it_is_wrong(text: str, offset: int, said: str) -> None:
    with pytest.raises(CronInvalid, match=said) as refused:
        parse_cron(text)
    assert refused.value.offset == offset


GRAPH = "name: g\nschedule: {}\ninputs: {{n: {{type: integer}}}}\nnodes: {{a: {{type: stop}}}}\n"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ('{cron: "0 6 * * *", input: {n: 1}}', []),
        ("{every: 15m, jitter: 30s, input: {n: 1}}", []),
        ("{input: {n: 1}}", ["2:1 SCHEDULE_TIMES"]),
        ('{cron: "0 6 * * *", every: 1h, input: {n: 1}}', ["2:1 SCHEDULE_TIMES"]),
        ("{every: 0.5s, input: {n: 1}}", ["2:19 SCHEDULE_TIMES"]),
        ("{every: 1h, catchup: 5s, input: {n: 1}}", ["2:32 SCHEDULE_TIMES"]),
        ('{cron: "0 26 * * *", input: {n: 1}}', ["2:21 SCHEDULE_CRON"]),
        ('{cron: ["0 6 * * *", "0 0 * * MOO"], input: {n: 1}}', ["2:41 SCHEDULE_CRON"]),
        ('{cron: "0 6 * * *", timezone: Europe/Berln, input: {n: 1}}', ["2:41 SCHEDULE_TIMEZONE"]),
        ("{every: 1h, timezone: UTC, input: {n: 1}}", ["2:33 FIELD_HAS_NO_EFFECT"]),
        ("{every: 1h}", ["2:1 INPUT_LACKING"]),
        ("{every: 1h, input: {n: one}}", ["2:34 INPUT_UNFIT"]),
    ],
)
def test_validate_finds_what_is_wrong_with_it_in_its_place(said: str, found: list[str]) -> None:
    assert codes(GRAPH.format(said)) == found


def test_an_id_of_the_graph_has_to_be_made_of_its_input() -> None:
    text = GRAPH.format("{every: 1h, input: {n: 1}}").replace("inputs:", 'id: "{{ context.name }}"\ninputs:')
    assert codes(text) == ["2:23 RUN_ID_INVALID"]


def wanted(**said: Any) -> Wanted:
    graph = Graph.model_validate({"name": "g", "id": "run-{{ n }}", "schedule": said, "nodes": NODES})
    return Wanted.of([graph], "q")["g"]


def test_it_says_the_same_whatever_its_spelling() -> None:
    one = wanted(cron="0 6 * * MON-FRI", timezone="Europe/Berlin", jitter="1m", input={"n": 7})
    other = wanted(cron=["0 6 * * 1-5"], timezone="Europe/Berlin", jitter=60, input={"n": 7})
    assert one.said == other.said
    assert (one.id, one.said) == (
        "anabranch:q:g",
        {
            "graph": "g",
            "task_queue": "q",
            "workflow_id": "run-7",
            "input": {"n": 7},
            "cron": ["0 6 * * 1-5"],
            "every": [],
            "timezone": "Europe/Berlin",
            "jitter": 60,
            "overlap": "skip",
            "catchup": 31_536_000,
            "paused": None,
        },
    )


def test_a_schedule_whose_id_would_be_too_long_is_refused() -> None:
    graph = Graph.model_validate({"name": "g", "schedule": {"every": "1h"}, "nodes": NODES})
    with pytest.raises(InputError, match="1002 bytes"):
        Wanted.of([graph], "q" * 990)


def test_a_run_is_not_held_to_when_it_is_started() -> None:
    loaded = load_text(GRAPH.format("{every: 1h, input: {n: 1}}").replace("inputs:", "id: x\ninputs:"))
    held = Graph.model_validate_json(written_out(loaded.graph))
    assert (held.schedule, held.id) == (None, None)
