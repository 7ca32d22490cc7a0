"""Changes that come from outside of the graph: which paths may be written, and under which names."""

from __future__ import annotations

from typing import Any

import pytest

from anabranch.context.changes import ChangeSet, apply
from anabranch.context.values import parse_path
from anabranch.errors import InputError, ReservedName
from anabranch.workflows.interpreter.edits import check_edits
from anabranch.workflows.interpreter.writers import outsider, writer_place
from tests.unit.machine_kit import Play, changes, failure, machine_of, python

DATA: dict[str, Any] = {"n": 5, "l": [1], "o": {"k": 1}, "null": None, "text": "t", "deep": {"l": [{}]}}


def given(*paths: str, removed: tuple[str, ...] = ()) -> ChangeSet:
    return ChangeSet(1, {parse_path(path): 9 for path in paths}, tuple(map(parse_path, removed)))


@pytest.mark.parametrize(
    ("edits", "changed"),
    [
        (given("n", "l", "o", "null", "text"), {"n": 9, "l": 9, "o": 9, "null": 9, "text": 9}),
        (given("o.k", "o.new.deep", "new.deep"), {"o": {"k": 9, "new": {"deep": 9}}, "new": {"deep": 9}}),
        (given("o.k", removed=("o.j", "gone.far")), {"o": {"k": 9}}),
        (given(r"a\.b", "a.b"), {"a.b": 9, "a": {"b": 9}}),
        (given("ab", "a"), {"ab": 9, "a": 9}),
    ],
)
def test_paths_through_objects_and_through_nothing_change_what_they_name_alone(
    edits: ChangeSet, changed: dict[str, Any]
) -> None:
    check_edits(edits, DATA)
    assert apply(DATA, edits) == {**DATA, **changed}


@pytest.mark.parametrize(
    ("edits", "reported"),
    [
        (given("l.0"), "the path 'l.0' leads through 'l', which holds a list and not an object (give 'l' as a whole)"),
        (given("n.x"), "the path 'n.x' leads through 'n', which holds a single value"),
        (given("null.x"), "'null.x' leads through 'null'"),
        (given("text.x.y"), "'text.x.y' leads through 'text'"),
        (given("deep.l.0.k"), "'deep.l.0.k' leads through 'deep.l', which holds a list"),
        (given(removed=("l.0",)), "'l.0' leads through 'l'"),
        (given("a", "a.b"), "the path 'a.b' is inside 'a', which is given too"),
        (given("a.b.c", "a"), "the path 'a.b.c' is inside 'a'"),
        (given("a.b", removed=("a",)), "the path 'a.b' is inside 'a'"),
        (given("a", removed=("a.b",)), "the path 'a.b' is inside 'a'"),
        (given("a", removed=("a",)), "the path 'a' is given twice"),
        (given(removed=("a", "a")), "the path 'a' is given twice"),
        (given("a..b"), "the path 'a..b' has an empty key"),
        (given(""), "the path '' has an empty key"),
    ],
)
def test_a_path_that_would_replace_what_it_does_not_name_is_refused(edits: ChangeSet, reported: str) -> None:
    with pytest.raises(InputError) as refused:
        check_edits(edits, DATA)
    assert reported in str(refused.value)


@pytest.mark.parametrize("name", ["crm", "ada@example.com", "Ada Lovelace", "Åsa", "r", "x" * 100])
def test_an_outsider_has_a_name_that_no_node_can_have(name: str) -> None:
    assert (outsider("outside", name), outsider("operator", name)) == (f"outside:{name}", f"operator:{name}")
    assert (writer_place(outsider("outside", name)), writer_place("r")) == (f"outside:{name}", "node 'r'")


@pytest.mark.parametrize(
    "name", ["", "x" * 101, 7, True, ["a"], " a", "a ", "a\nb", "\x1b[31m", "a\u202eb", "a\u200bb"]
)
def test_what_is_not_a_name_names_nobody(name: Any) -> None:
    with pytest.raises(InputError, match="`by` is a name of at most 100 printable characters"):
        outsider("outside", name)


RESERVED = ("run", "context")


@pytest.mark.parametrize("name", RESERVED)
def test_an_input_has_no_key_of_a_reserved_name(name: str) -> None:
    machine = machine_of({"nodes": {"a": python()}}, {name: 1})
    with pytest.raises(ReservedName, match=f"'{name}' is a reserved name"):
        machine.start(1)


@pytest.mark.parametrize("node", [python(), {"type": "approval"}], ids=["an activity", "an answer"])
@pytest.mark.parametrize("name", RESERVED)
def test_a_node_that_writes_a_reserved_name_fails_after_its_effect(name: str, node: dict[str, Any]) -> None:
    """SQL columns, the bodies of HTTP answers and what handlers return all arrive in this way."""
    graph = {"nodes": {"a": {**node, "compensate": python()}}}
    finish = Play(machine_of(graph), {"a": {name: 1}}).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node, finish.compensated) == ("NAME_RESERVED", "a", ("a",))


@pytest.mark.parametrize(("name", "fails"), [("part", True), ("index", True), ("item", False)])
def test_the_loop_variables_of_a_body_are_reserved_in_it_and_nowhere_else(name: str, fails: bool) -> None:
    body = {"nodes": {"a": python()}}
    graph = {"nodes": {"each": {"type": "foreach", "items": "[1]", "as": "part", "body": body}, "b": python()}}
    finish = Play(machine_of(graph), {"each[0]/a": {name: 1}, "b": {"part": 2}}).run()
    assert (finish.failure is not None) is fails
    assert finish.line.data.get("part") == 2


@pytest.mark.parametrize("name", RESERVED)
def test_a_compensation_that_writes_a_reserved_name_has_failed(name: str) -> None:
    nodes = {"a": python(compensate=python()), "b": python()}
    graph = {"nodes": nodes, "edges": [{"from": "a", "to": "b"}]}
    finish = Play(machine_of(graph), {"b": failure(), "undo a": {name: 1}}).run()
    assert (finish.not_compensated, finish.reasons["a"].code) == (("a",), "NAME_RESERVED")


def test_an_operator_s_edits_to_a_compensation_are_refused() -> None:
    graph = {
        "nodes": {"a": python(compensate=python()), "b": python()},
        "edges": [{"from": "a", "to": "b"}],
        "saga": {"on_compensation_failure": "pause"},
    }
    play = Play(machine_of(graph), {"b": failure(), "undo a": failure()}).start()
    for address in ("a", "b", "undo a"):
        play.answer(address)
    with pytest.raises(InputError, match="'undo a' is a compensation"):
        play.machine.check_edits("undo a", changes(x=1))
