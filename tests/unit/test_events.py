"""What the events room decides without a broker: addresses, ids, offsets, the command's refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from anabranch.brokers.address import Address, parse_address
from anabranch.brokers.kafka import client_options
from anabranch.brokers.offsets import Offsets
from anabranch.brokers.source import Message
from anabranch.cli.main import app
from anabranch.context.distributed import DistributedContext
from anabranch.context.values import Json
from anabranch.errors import ConfigurationError, EvaluationError, InputError
from anabranch.events.delivery import Delivery
from anabranch.events.event import MAX_ID_CHARACTERS, Event, Reading, read_event
from anabranch.events.event_workflow import event_workflow_id, run_id
from anabranch.events.resending import again
from anabranch.events.service import events_queue

NAMES = ("Content-Type", "Anabranch-Event-Id", "Anabranch-Context", "traceparent")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nats://h/orders", Address("nats", ("h:4222",), "orders")),
        ("nats://a:1,b:2/orders.eu", Address("nats", ("a:1", "b:2"), "orders.eu")),
        ("kafka://h/a_b-c.d", Address("kafka", ("h:9092",), "a_b-c.d")),
        ("kafka://[::1]:9/t", Address("kafka", ("[::1]:9",), "t")),
        ("kafka+ssl://me:p%40ss@h/t", Address("kafka+ssl", ("h:9093",), "t", "me", "p@ss")),
        ("nats://token@h/t", Address("nats", ("h:4222",), "t", "token")),
    ],
)
def test_an_address_names_servers_topic_and_credentials(url: str, expected: Address) -> None:
    assert parse_address(url, "--from") == expected


@pytest.mark.parametrize(
    "url",
    ["orders", "http://h/t", "nats://h", "nats:///t", "nats://h/a..b", "nats://h/a.*", "nats://h/a b", "nats://h:x/t",
     "nats://h:99999/t", "kafka://h/ä", "kafka://h/a/b", "kafka://h/..", "nats://h/a%0d%0ab"],
)  # fmt: skip
def test_what_is_no_address_is_refused_naming_the_option(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_address(url, "--to")
    assert refused.value.place == "--to"


def test_a_password_is_not_shown() -> None:
    address = parse_address("nats://me:hunter2@h/t", "--from")
    assert "hunter2" not in f"{address} {address!r}"


def test_kafka_is_told_of_tls_and_of_the_user() -> None:
    plain = client_options(parse_address("kafka://h/t", "--from"))
    assert (plain["security_protocol"], plain["bootstrap_servers"]) == ("PLAINTEXT", ["h:9092"])
    secure = client_options(parse_address("kafka+ssl://me:secret@h/t", "--from"))
    assert secure["security_protocol"] == "SASL_SSL"
    assert (secure["sasl_plain_username"], secure["sasl_plain_password"]) == ("me", "secret")
    assert "ssl_context" in secure


def test_ids_of_runs_and_of_their_events_never_meet() -> None:
    """No graph's name holds a colon or a slash."""
    assert run_id("order", "1") == "order:1"
    assert event_workflow_id("order", "1") == "event/order:1"
    assert events_queue("q", "order", parse_address("nats://h/t", "--from")) == "q/events/order/nats/t"


def json_event(body: bytes, **headers: str) -> Message:
    return Message(body, headers, "T-1")


@pytest.mark.parametrize(
    ("body", "event_id"),
    [(b'{"id": "a"}', "a"), (b'{"id": 12}', "12"), (b'{"id": ""}', "T-1"), (b'{"id": null}', "T-1"), (b"{}", "T-1")],
)
def test_the_id_of_a_json_event(body: bytes, event_id: str) -> None:
    assert read_event(json_event(body), Reading()).id == event_id


def test_the_id_may_stand_deeper_and_in_another_header() -> None:
    reading = Reading(id_header="ce-id", id_field=("order", "no"))
    assert read_event(json_event(b'{"order": {"no": 7}}'), reading).id == "7"
    assert read_event(json_event(b'{"order": {"no": 7}}', **{"CE-ID": "h"}), reading).id == "h"
    assert read_event(json_event(b'{"order": 7}'), reading).id == "T-1"


@pytest.mark.parametrize(
    "value", ["true", "1.5", "[]", "{}", '"a\\nb"', '"a\\u0000"', f'"{"x" * (MAX_ID_CHARACTERS + 1)}"']
)
def test_an_id_is_printable_text_or_an_integer(value: str) -> None:
    with pytest.raises(InputError, match="id"):
        read_event(json_event(f'{{"id": {value}}}'.encode()), Reading())


@pytest.mark.parametrize("content_type", ["application/json", "application/cloudevents+json; charset=utf-8", "text/x"])
def test_json_is_declared_or_detected(content_type: str) -> None:
    event = read_event(json_event(b'{"id": "a", "n": 1.5}', **{"content-type": content_type}), Reading())
    data: dict[str, Json] = {"id": "a", "n": 1.5}
    assert (event.format, event.context.data, event.context.session_id) == ("json", data, "a")


def test_offsets_are_committed_up_to_the_first_that_is_in_hand() -> None:
    offsets: Offsets[str] = Offsets()
    for offset in (5, 6, 9):
        offsets.take("p", offset)
    assert offsets.uncommitted() == {}
    offsets.finish("p", 6)
    assert offsets.uncommitted() == {}
    offsets.finish("p", 5)
    assert offsets.uncommitted() == {"p": 9}
    offsets.committed({"p": 9})
    assert offsets.uncommitted() == {}
    offsets.finish("p", 9)
    assert offsets.uncommitted() == {"p": 10}


def test_offsets_of_a_partition_that_was_forgotten_are_not_committed() -> None:
    offsets: Offsets[str] = Offsets()
    offsets.take("p", 1)
    offsets.forget("p")
    offsets.finish("p", 1)
    offsets.committed({"p": 2})
    assert offsets.uncommitted() == {}


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--from", "nats://h/a", "--to", "nats://h/a"], "--to"),
        (["--from", "nats://h/a", "--dead-letter", "a"], "--dead-letter"),
        (["--from", "nats://h/a", "--to", "nats://h/b", "--dead-letter", "x y"], "--dead-letter"),
        (["--from", "amqp://h/a"], "--from"),
        (["--from", "nats://h/a", "--graph", "a:b"], "--graph"),
        (["--from", "nats://h/a", "--consumer", "a.b"], "--consumer"),
        (["--from", "nats://h/a", "--graphs", "tests/fixtures/language"], "error[GRAPH_UNKNOWN]"),
    ],
)
def test_the_command_refuses_a_flow_that_cannot_be(arguments: list[str], option: str) -> None:
    result = CliRunner().invoke(app, ["events", "--graph", "order", *arguments])
    assert (result.exit_code, option in result.output) == (1, True)


@given(
    st.binary() | st.text().map(str.encode), st.dictionaries(st.sampled_from(NAMES), st.text()), st.none() | st.text()
)
def test_any_message_is_an_event_or_poison(body: bytes, headers: dict[str, str], message_id: str | None) -> None:
    try:
        event = read_event(Message(body, headers, "T-1", message_id), Reading(max_bytes=200))
    except InputError:
        return
    assert 0 < len(event.id) <= MAX_ID_CHARACTERS
    assert event.id.isprintable()
    assert event.context.session_id


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing says what becomes of the events"),
        (("--graph", "g", "--deliver", "paid", "--to-run", "{{ id }}"), "--graph and --deliver exclude each other"),
        (("--graph", "g", "--resend"), "--graph and --resend exclude each other"),
        (("--graph", "g", "--to-run", "{{ id }}"), "--to-run: only events that are delivered go to a run"),
        (("--deliver", "paid"), "--to-run: nothing says to which run"),
        (("--deliver", "paid", "--to-run", "order"), "--to-run: every event would go to one run"),
        (("--deliver", "a b", "--to-run", "{{ id }}"), "--deliver: 'a b' cannot be a name here"),
        (
            ("--deliver", "paid", "--to-run", "{{ id }}", "--to", "nats://h/u"),
            "--to: events that are",
        ),
        (("--resend",), "--to: 't' does not end with .dead"),
    ],
)
def test_what_becomes_of_events_is_said_once(arguments: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(app, ["events", "--from", "nats://h/t", *arguments])
    assert result.exit_code == 1
    assert said in result.output


def test_a_dead_letter_is_sent_again_without_what_made_it_one() -> None:
    headers = {
        "Anabranch-Graph": "order",
        "Anabranch-Error-Code": "RUN_NOT_FOUND",
        "Anabranch-Error-Reason": "no",
        "Anabranch-Source": "T-1",
        "Nats-Msg-Id": "dead/1",
        "Mine": "kept",
        "Anabranch-Event-Id": "7",
    }
    sent = again(Message(b"{}", headers, "T.dead-3", stored_at=5), "T")
    assert (sent.topic, sent.body, sent.id) == ("T", b"{}", "again/T.dead-3@5")
    assert sent.headers == {"Mine": "kept", "Anabranch-Event-Id": "7"}


def test_an_event_whose_run_failed_is_sent_again_under_the_next_id() -> None:
    for before, after in (("7", "7~2"), ("7~2", "7~3"), ("a~b", "a~b~2")):
        headers = {"Anabranch-Run": "order:7", "Anabranch-Event-Id": before}
        assert again(Message(b"{}", headers, "T-1"), "T").headers == {"Anabranch-Event-Id": after}


def test_an_event_is_sent_again_with_its_id_where_its_flow_looks_for_it() -> None:
    flow = Reading(id_header="Order-No")
    failed = Message(b'{"id": "7"}', {"Anabranch-Run": "order:7", "Anabranch-Event-Id": "7", "order-no": "7"}, "T-1")
    sent = again(failed, "T", flow.id_header)
    assert sent.headers == {"Order-No": "7~2"}
    assert read_event(Message(sent.body, sent.headers, "T-2"), flow).id == "7~2"
    unheard = {"Anabranch-Event-Id": "8", "Order-No": "8"}
    assert again(Message(b"{}", unheard, "T-1"), "T", flow.id_header).headers == {"Order-No": "8"}
    assert again(Message(b"{}", {"Anabranch-Event-Id": "T-3@5"}, "T-1"), "T", flow.id_header).headers == {
        "Order-No": "T-3@5"
    }
    assert again(Message(b"x", {"Order-No": "9"}, "T-1"), "T", flow.id_header).headers == {"Order-No": "9"}


def test_an_event_is_for_the_run_whose_id_its_data_makes() -> None:
    def event(**data: Json) -> Event:
        return Event("e1", DistributedContext("e1", data), "json", {})

    delivery = Delivery("paid", "order-{{ order.id }}")
    assert delivery.run_of(event(order={"id": 7})) == "order-7"
    with pytest.raises(EvaluationError):
        delivery.run_of(event())
    with pytest.raises(InputError, match="is not the workflow id of a run"):
        Delivery("paid", "{{ id }}").run_of(event(id="a\nb"))
