"""The states of a circuit, by a clock of the test's own."""

from __future__ import annotations

import pytest

from anabranch.circuit import Circuit, CircuitPolicy

WINDOW = CircuitPolicy(failures=3, window=10.0, reset=5.0)
IN_A_ROW = CircuitPolicy(failures=3, reset=5.0, in_a_row=True)


class Clock:
    """A clock that does not move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fail(circuit: Circuit, times: int) -> None:
    for number in range(times):
        assert circuit.enter(number) == 0.0
        circuit.failed(number)


def opened(policy: CircuitPolicy, clock: Clock) -> Circuit:
    circuit = Circuit(policy, clock)
    fail(circuit, policy.failures)
    assert circuit.state == "open"
    return circuit


@pytest.mark.parametrize("policy", [WINDOW, IN_A_ROW])
def test_it_opens_at_the_last_of_its_failures_and_says_how_long_to_wait(policy: CircuitPolicy, clock: Clock) -> None:
    circuit = Circuit(policy, clock)
    fail(circuit, 2)
    assert (circuit.state, circuit.enter("a")) == ("closed", 0.0)
    circuit.failed("a")
    clock.now += 2.0
    assert (circuit.state, circuit.enter("b")) == ("open", 3.0)


def test_failures_outside_of_the_window_do_not_count(clock: Clock) -> None:
    circuit = Circuit(WINDOW, clock)
    fail(circuit, 2)
    clock.now += 10.0
    states = []
    for times in (2, 1):
        fail(circuit, times)
        states.append(circuit.state)
    assert states == ["closed", "open"]


def test_a_success_makes_failures_forgotten_only_where_they_count_in_a_row(clock: Clock) -> None:
    states = []
    for policy in (IN_A_ROW, WINDOW):
        circuit = Circuit(policy, clock)
        fail(circuit, 2)
        circuit.succeeded("a")
        fail(circuit, 1)
        states.append(circuit.state)
    assert states == ["closed", "open"]


def test_a_probe_that_succeeds_closes_it_with_no_failure_left(clock: Clock) -> None:
    circuit = opened(WINDOW, clock)
    clock.now += 5.0
    assert (circuit.state, circuit.enter("probe")) == ("half_open", 0.0)
    circuit.succeeded("probe")
    assert circuit.state == "closed"
    fail(circuit, 2)
    assert circuit.state == "closed"


def test_a_probe_that_fails_opens_it_again_for_the_whole_time(clock: Clock) -> None:
    circuit = opened(WINDOW, clock)
    clock.now += 7.0
    assert circuit.enter("probe") == 0.0
    circuit.failed("probe")
    assert (circuit.state, circuit.enter("a")) == ("open", 5.0)


def test_no_more_probes_pass_at_once_than_the_policy_says(clock: Clock) -> None:
    circuit = opened(CircuitPolicy(failures=1, reset=5.0, probes=2), clock)
    clock.now += 5.0
    assert [circuit.enter(name) for name in "abc"] == [0.0, 0.0, 1.0]
    circuit.left("a")
    assert [circuit.enter(name) for name in "cd"] == [0.0, 1.0]


def test_a_probe_that_enters_again_has_its_place_already(clock: Clock) -> None:
    circuit = opened(WINDOW, clock)
    clock.now += 5.0
    assert [circuit.enter(name) for name in ("probe", "probe", "a")] == [0.0, 0.0, 1.0]


def test_a_probe_that_never_says_how_it_ended_holds_its_place_for_its_lease(clock: Clock) -> None:
    circuit = opened(WINDOW, clock)
    clock.now += 5.0
    assert circuit.enter("dies", lease=30.0) == 0.0
    clock.now += 29.0
    assert circuit.enter("next") == 1.0
    clock.now += 1.0
    assert circuit.enter("next") == 0.0


def test_calls_that_began_before_it_opened_change_nothing(clock: Clock) -> None:
    circuit = Circuit(WINDOW, clock)
    assert [circuit.enter(name) for name in ("slow", "slower")] == [0.0, 0.0]
    fail(circuit, 3)
    clock.now += 4.0
    circuit.failed("slow")
    circuit.succeeded("slower")
    assert (circuit.state, circuit.enter("a")) == ("open", 1.0)
