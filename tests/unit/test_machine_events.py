"""How `receive` nodes come to their events: each is taken once, and none is lost."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from anabranch.errors import SizeLimitExceeded, WireFormatError
from anabranch.workflows.interpreter import snapshot, views
from anabranch.workflows.interpreter.event import Event, event_of
from anabranch.workflows.interpreter.mailbox import Mailbox
from tests.unit.machine_kit import Play, edge, failure, machine_of, python

PAID: dict[str, Any] = {"type": "receive", "event": "paid"}


def waiting(data: dict[str, Any] | None = None, **nodes: dict[str, Any]) -> Play:
    """A play of these nodes, one after the other."""
    names = list(nodes)
    edges = [edge(one, two) for one, two in pairwise(names)]
    return Play(machine_of({"nodes": nodes, "edges": edges}, data)).start()


def data_of(play: Play) -> dict[str, Any]:
    return dict(play.finish().line.data)


def warnings_of(play: Play) -> list[str]:
    return [text for _, text in play.state.trail.warnings]


def test_a_node_takes_the_event_that_comes_while_it_waits() -> None:
    play = waiting(pay=PAID)
    play.send("paid", {"amount": 7})
    assert data_of(play) == {"pay": {"amount": 7}}


def test_an_event_that_comes_early_waits_for_its_node() -> None:
    play = waiting(first=python(), pay=PAID)
    play.send("paid", 1)
    play.send("paid", 2)
    play.answer("first")
    assert data_of(play) == {"pay": 1}
    assert warnings_of(play) == ["1 event was sent that no node has received: paid (1)"]


def test_a_node_whose_event_is_there_asks_nobody() -> None:
    play = waiting(first=python(), pay=PAID)
    play.send("paid", 1)
    play.answer("first")
    assert play.ran == ["first"]


def test_an_id_is_taken_once_for_each_name() -> None:
    play = waiting(pay=PAID, again=PAID, ship={"type": "receive", "event": "shipped"})
    for name in ("paid", "paid", "shipped"):
        play.send(name, name, id="1")
    play.send("paid", "other", id="2")
    assert data_of(play) == {"pay": "paid", "again": "other", "ship": "shipped"}


def test_a_node_takes_what_it_accepts_and_leaves_the_rest_to_others() -> None:
    large = {**PAID, "accept": "event.amount >= limit"}
    play = waiting({"limit": 10}, pay=large, rest=PAID)
    play.send("paid", {"amount": 3})
    play.send("paid", {"amount": 12})
    assert data_of(play) == {"limit": 10, "pay": {"amount": 12}, "rest": {"amount": 3}}


def test_events_go_to_the_item_that_they_correlate_with() -> None:
    body = {"nodes": {"pay": {**PAID, "correlate": {"item": "event.order"}, "output": {"by": "result.id"}}}}
    play = waiting(
        all={"type": "foreach", "items": "[1, 2, 3]", "body": body, "collect": {"into": "by", "value": "by"}}
    )
    for order in (3, 1, 2):
        play.send("paid", {"order": order}, id=f"p{order}")
    assert data_of(play) == {"by": ["p1", "p2", "p3"]}


def test_an_event_on_which_a_condition_fails_is_left_with_a_warning() -> None:
    play = waiting(pay={**PAID, "accept": "event.amount > 1"})
    play.send("paid", "no object")
    play.send("paid", {"amount": 2})
    assert data_of(play) == {"pay": {"amount": 2}}
    assert len(warnings_of(play)) == 2
    assert warnings_of(play)[0].startswith("an event 'paid' is left: ")


def test_a_key_to_correlate_by_that_is_not_there_fails_the_node() -> None:
    play = Play(machine_of({"nodes": {"pay": {**PAID, "correlate": {"order.id": "event.id"}}}}, {"order": {}})).start()
    assert play.state.finished is not None
    assert play.state.finished.failure is not None
    assert play.state.finished.failure.code == "EXPRESSION_FAILED"


def test_a_node_may_wait_for_any_of_several_events() -> None:
    either = {"type": "receive", "event": ["paid", "cancelled"], "output": {"how": "result.name"}}
    play = waiting(pay=either)
    play.send("cancelled")
    assert data_of(play) == {"how": "cancelled"}


def test_a_node_that_waits_for_all_takes_none_before_all_are_there() -> None:
    both = {"type": "receive", "event": ["paid", "picked"], "mode": "all", "timeout": "1h"}
    play = Play(
        machine_of(
            {
                "nodes": {"go": both, "late": PAID},
                "edges": [edge("go", "late", outcome="timeout")],
            }
        )
    ).start()
    play.send("paid", 1)
    assert play.pending.keys() == {"go"}
    del play.pending["go"]
    play.take(play.machine.failed("go", failure("NO_EVENT").__class__("timeout", "NO_EVENT", "late", "go"), 9_000))
    assert data_of(play) == {"late": 1}


def test_all_of_several_events_come_by_their_names() -> None:
    both = {"type": "receive", "event": ["paid", "picked"], "mode": "all"}
    play = waiting(go=both, more={**both, "output": {"ids": "[result.paid.id, result.picked.id]"}})
    for name, number in (("paid", 1), ("paid", 2), ("picked", 3), ("picked", 4)):
        play.send(name, number, id=str(number))
    assert data_of(play) == {"go": {"paid": 1, "picked": 3}, "ids": ["2", "4"]}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("paid", "the signal takes one JSON object with a `name`"),
        ({"id": 1}, "the signal takes one JSON object with a `name`"),
        ({"name": "paid", "date": 1}, "an event has no field 'date'"),
        ({"name": "paid", "id": True}, "an event's id is text or an integer"),
        ({"name": "paid", "id": "x" * 300}, "an event's id has at most 256 characters"),
        ({"name": "paid", "id": "a\nb"}, "an event's id has at most 256 characters, all of which print"),
        ({"name": "paid", "by": 1}, "an event's `by` is a name of at most 100 printable characters"),
        ({"name": "paid", "by": "a\u202eb"}, "an event's `by` is a name of at most 100 printable characters"),
    ],
)
def test_what_is_no_event_is_refused_with_its_form(sent: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        event_of(sent)


def test_an_id_may_be_a_number_or_left_out() -> None:
    assert [event_of({"name": "paid", **more}).id for more in ({"id": 7}, {}, {"id": None}, {"id": ""})] == [
        "7",
        None,
        None,
        None,
    ]


def test_who_sends_an_event_is_named_where_it_is_received_also_after_a_snapshot() -> None:
    graph = {"nodes": {"first": PAID, "second": PAID}, "edges": [edge("first", "second")]}
    play = Play(machine_of(graph)).start()
    play.send("paid", 1, by="ada")
    assert play.state.decisions.described() == {"first": {"did": "delivered", "by": "ada"}}
    later = {"nodes": {"go": python(), "first": PAID}, "edges": [edge("go", "first")]}
    held = Play(machine_of(later)).start()
    held.send("paid", 2, by="bo")
    held.send("paid", 3)
    assert held.state.mailbox is not None
    dumped = held.state.mailbox.dump()
    assert dumped["events"] == [["paid", None, 2, "bo"], ["paid", None, 3]]
    assert [each.event.by for each in Mailbox.load(dumped).named(["paid"])] == ["bo", None]


def test_an_event_is_sent_as_it_is_read() -> None:
    for event in (Event("paid", None, None), Event("paid", "7", {"a": 1}, "ada")):
        assert event_of(event.sent()) == event
    assert Event("paid", None, 1).sent() == {"name": "paid", "data": 1}


def test_an_event_that_no_node_knows_is_refused_with_a_warning() -> None:
    play = waiting(pay=PAID)
    play.send("refund")
    assert warnings_of(play) == [
        "INPUT_INVALID: no node of the graph receives the event 'refund' (the events are paid)"
    ]


def test_a_mailbox_that_is_full_refuses_what_comes_and_takes_it_later() -> None:
    play = Play(machine_of({"nodes": {"first": python(), "pay": PAID}, "edges": [edge("first", "pay")]}))
    play.state.mailbox_limits = {"events": 2}
    play.start()
    for number in range(3):
        play.send("paid", number, id=str(number))
    (told,) = warnings_of(play)
    assert told.startswith("SIZE_LIMIT_EXCEEDED: the mailbox has 2 events")
    play.answer("first")
    play.send("paid", 2, id="2")
    assert play.state.mailbox is not None
    assert [each.event.data for each in play.state.mailbox.named(["paid"])] == [1, 2]


def test_a_mailbox_is_bounded_in_bytes_and_refuses_what_is_no_json() -> None:
    mailbox = Mailbox(size=1000)
    assert mailbox.put(Event("paid", "1", "x" * 600)) is not None
    with pytest.raises(SizeLimitExceeded, match="the limits are 500 events and 1000 bytes"):
        mailbox.put(Event("paid", "2", "x" * 600))
    with pytest.raises(WireFormatError):
        mailbox.put(Event("paid", "3", float("nan")))


def test_the_oldest_ids_are_forgotten() -> None:
    mailbox = Mailbox(ids=2)
    for number in range(3):
        mailbox.put(Event("paid", str(number), None))
    assert [mailbox.put(Event("paid", str(number), None)) is None for number in (2, 1, 0)] == [True, True, False]


def test_events_ids_and_what_waits_survive_a_snapshot() -> None:
    nodes = {"first": PAID, "second": {**PAID, "accept": "event > 1"}, "third": PAID}
    graph = {"nodes": nodes, "edges": [edge("first", "second"), edge("second", "third")]}
    play = Play(machine_of(graph)).start()
    play.send("paid", 0, id="0")
    play.send("paid", 1, id="1")
    play.send("unknown")
    dumped = snapshot.dump(play.state)
    after = Play(machine_of(graph))
    snapshot.load(after.state, dumped)
    after.take(after.machine.resume_from_snapshot(5_000))
    after.send("paid", 7, id="0")
    after.send("paid", 2, id="2")
    assert data_of(after) == {"first": 0, "second": 2, "third": 1}
    assert [told.split(":")[0] for told in warnings_of(after)] == ["INPUT_INVALID"]


def test_the_status_says_what_is_awaited_and_how_to_send_it() -> None:
    play = waiting(pay={**PAID, "timeout": "1h"})
    events: Any = views.status(play.state)["events"]
    assert events["pay"]["names"] == ["paid"]
    assert events["pay"]["deadline"] - events["pay"]["asked"] == 3_600_000
    assert events["pay"]["send"] == (
        "temporal workflow signal --workflow-id order-1 --name event "
        """--input '{"name": "paid", "data": {}}'"""
    )
    assert "Node `pay` waits for the event `paid` until" in views.details(play.state)


def test_an_attempt_that_is_undone_keeps_what_it_received() -> None:
    inner = {"nodes": {"pay": PAID, "book": python()}, "edges": [edge("pay", "book")]}
    block = {"type": "block", **inner, "retry": {"max_attempts": 2, "initial_interval": "1s"}}
    play = Play(machine_of({"nodes": {"b": block}}), {"b/book": failure("UNAVAILABLE")}).start()
    play.send("paid", 1)
    play.answer("b/book")
    play.answer("b")
    assert list(play.pending) == ["b~2/pay"]
