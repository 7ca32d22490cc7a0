"""The traces and the logs of one order: each tells the whole story, once, and no value of it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from anabranch.dev.devserver import DevServer
from tests.acceptance.order_story import CANARY, STARTER, TRACE_ID, Story, told
from tests.acceptance.otlp_receiver import attributes, failed

pytestmark = pytest.mark.timeout(300)
ATTEMPTS = ("load_graph", "rule", "db", "http", "POST", "ai", "chat judge-1", "python", "publish order")
"""What a machine that is too busy for a time limit does again."""


@pytest.fixture(scope="module")
def story(dev_server: DevServer, nats_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Story:
    return asyncio.run(told(dev_server.address, nats_url, valkey_url, tmp_path_factory.mktemp("shop")))


def calls_a_database(span: Span) -> bool:
    """Whether it is a call of a database or of Redis: how many a node takes is their own affair."""
    return "db.system.name" in attributes(span)


def nodes_of(line: dict[str, Any]) -> tuple[str, str | None, str | None]:
    return line["event"], line.get("node"), line.get("code")


def test_the_spans_of_a_run_are_one_tree_below_who_sent_the_event(story: Story) -> None:
    spans = story.received.spans
    assert {span.trace_id.hex() for span in spans} == {TRACE_ID}
    ids = {span.span_id for span in spans}
    roots = [(span.name, span.parent_span_id.hex()) for span in spans if span.parent_span_id not in ids]
    assert roots == [("event order", STARTER)]
    paths = Counter(story.received.path(span) for span in spans if not calls_a_database(span))
    run = "event order/order"
    attempts = {path for path in paths if path.rpartition("/")[2] in ATTEMPTS}
    assert {path: count for path, count in paths.items() if path not in attempts} == {
        "event order": 1,
        run: 1,
        **{f"{run}/{node}": 1 for node in ("left", "right", "check", "charge", "pay", "judge", "pack", "lines")},
        **{f"{run}/{node}": 1 for node in ("shrink", "nap", "weigh", "sign", "boom", "undo charge")},
        f"{run}/pack/packing": 1,
        f"{run}/pack/packing/wrap": 1,
        f"{run}/lines/price": 2,
        f"{run}/shrink/halve": 2,
    }
    assert attempts == {
        "event order/publish order",
        f"{run}/load_graph",
        *(f"{run}/{node}/rule" for node in ("left", "right", "check", "lines/price", "shrink/halve")),
        f"{run}/pack/packing/wrap/rule",
        f"{run}/charge/db",
        f"{run}/pay/http",
        f"{run}/pay/http/POST",
        f"{run}/judge/ai",
        f"{run}/judge/ai/chat judge-1",
        f"{run}/weigh/python",
        f"{run}/boom/python",
        f"{run}/undo charge/db",
    }


def test_no_span_is_there_twice_though_every_task_was_a_replay_and_a_worker_was_killed(story: Story) -> None:
    assert [key for key, count in Counter(span.span_id for span in story.received.spans).items() if count > 1] == []
    (weighed,) = [span for span in story.received.named("python") if attributes(span)["node"] == "weigh"]
    assert attributes(weighed)["attempt"] == 2  # the first one's worker did not live to tell


def test_calls_of_databases_and_of_redis_are_below_the_attempt_that_made_them(story: Story) -> None:
    paths = {story.received.path(span) for span in story.received.spans if calls_a_database(span)}
    run = "event order/order"
    assert {f"{run}/charge/db/INSERT", f"{run}/undo charge/db/DELETE"} <= paths
    assert any(path.startswith(f"{run}/pay/http/EVAL") for path in paths)
    around = ("charge/db/", "undo charge/db/", "pay/http/")
    assert {path for path in paths if not path.startswith(tuple(f"{run}/{each}" for each in around))} == set()


def test_spans_name_graph_node_attempt_and_version_and_the_code_of_what_failed(story: Story) -> None:
    pays = sorted(story.received.named("http"), key=lambda span: span.start_time_unix_nano)
    assert [(attributes(span)["attempt"], failed(span)) for span in pays] == [(1, "UNAVAILABLE"), (2, None)]
    for span in pays:
        assert attributes(span).items() >= {"graph": "order", "node": "pay", "session_id": story.order}.items()
    (packing,) = story.received.named("packing")
    assert attributes(packing).items() >= {"graph": "packing", "session_id": f"{story.order}/pack"}.items()
    (check,) = story.received.named("check")
    assert attributes(check)["version"] > attributes(story.received.named("left")[0])["version"]
    assert {failed(span) for name in ("boom", "order") for span in story.received.named(name)} == {"NO_STOCK"}
    prices = {attributes(span)["node"] for span in story.received.named("price")}
    assert prices == {"lines[0]/price", "lines[1]/price"}


def test_services_and_the_next_topic_are_told_the_trace(story: Story) -> None:
    posts = sorted(story.received.named("POST"), key=lambda span: span.start_time_unix_nano)
    assert story.parents == [f"00-{TRACE_ID}-{span.span_id.hex()}-01" for span in posts]
    (published,) = story.received.named("publish order")
    assert story.letter["traceparent"] == f"00-{TRACE_ID}-{published.span_id.hex()}-01"


def test_the_log_of_a_session_tells_its_story_once(story: Story) -> None:
    others = ("Context updated", "Attempt was cancelled")
    lines = [nodes_of(line) for line in story.lines if line["event"] not in others]
    for side_by_side in (slice(1, 3), slice(10, 12)):
        lines[side_by_side] = sorted(lines[side_by_side])
    assert lines == [
        ("Run started", None, None),
        ("Node succeeded", "left", None),
        ("Node succeeded", "right", None),
        ("Conflicts detected during merge", "check", None),
        ("Node succeeded", "check", None),
        ("Node succeeded", "charge", None),
        ("Attempt failed", "pay", "UNAVAILABLE"),
        ("Node succeeded", "pay", None),
        ("Node succeeded", "judge", None),
        ("Node succeeded", "pack", None),
        ("Node succeeded", "lines[0]/price", None),
        ("Node succeeded", "lines[1]/price", None),
        ("Node succeeded", "lines", None),
        ("Node succeeded", "shrink[0]/halve", None),
        ("Node succeeded", "shrink[1]/halve", None),
        ("Node succeeded", "shrink", None),
        ("Node succeeded", "nap", None),
        ("Node succeeded", "weigh", None),
        ("Node succeeded", "sign", None),
        ("Attempt failed", "boom", "NO_STOCK"),
        ("Node failed", "boom", "NO_STOCK"),
        ("Undo started", "charge", None),
        ("Undo succeeded", "charge", None),
        ("Run failed", "boom", "NO_STOCK"),
    ]


def test_each_line_about_a_run_says_which_and_the_two_of_the_user_s_guide_are_among_them(story: Story) -> None:
    for line in story.lines:
        ids = {"workflow_id": story.order, "graph": "order", "trace_id": TRACE_ID}
        assert line.items() >= ids.items()
        assert line["run_id"]
    updated = [line for line in story.lines if line["event"] == "Context updated"]
    assert [line["number"] for line in updated] == list(range(1, len(updated) + 1))
    assert {line["level"] for line in updated} == {"info"}
    assert all(line["version"] >= 0 for line in updated)
    (merged,) = [line for line in story.lines if line["event"] == "Conflicts detected during merge"]
    assert (merged["level"], merged["conflicts"], merged["settled"]) == ("warning", 1, True)
    inner = [nodes_of(json.loads(line)) for line in story.logged if f'"{story.order}/pack"' in line]
    assert ("Run completed", None, None) in inner


def test_an_expected_failure_is_one_line_without_a_traceback(story: Story) -> None:
    assert [line for line in story.logged if "Traceback" in line or '"exception"' in line] == []
    assert {json.loads(line)["logger"].partition(".")[0] for line in story.logged} <= {"anabranch", "temporalio"}
    assert [json.loads(line)["level"] for line in story.logged if "Attempt failed" in line] == ["warning", "warning"]


def test_no_value_is_in_a_span_or_in_a_line(story: Story) -> None:
    assert [line for line in story.logged if CANARY in line] == []
    assert [body for body in story.received.bodies if CANARY.encode() in body] == []
