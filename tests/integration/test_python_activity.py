"""`python` nodes: registered functions, what they get, what they write."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from anabranch.activities import node, python
from anabranch.activities.node_result import NodeResult
from anabranch.activities.python import PythonActivity
from anabranch.context.distributed import DistributedContext
from anabranch.errors import ConfigurationError, NodeError, UndeclaredRead, WireFormatError
from anabranch.graph.model import PythonNode
from tests.integration.graph_kit import PATIENCE, until
from tests.json_values import number
from tests.node_tasks import task_of


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers of one test are not those of another."""
    monkeypatch.setattr(python, "_registered", {})


async def call(
    handler: str, data: dict[str, Any] | None = None, args: dict[str, Any] | None = None, *, reads: Any = None
) -> NodeResult:
    task = task_of(data=data)
    object.__setattr__(task, "reads", reads)
    activity = PythonActivity()
    try:
        return await activity(task, PythonNode(type="python", handler=handler, args=args or {}))
    finally:
        await activity.aclose()


async def test_a_coroutine_gets_rendered_args_and_returns_keys() -> None:
    @node("weigh")
    async def weigh(context: DistributedContext, factor: float) -> dict[str, Any]:
        return {"weight": number(context["mass"]) * factor}

    outcome = await call("weigh", {"mass": 4, "f": 2.5}, {"factor": "{{ f }}"})
    assert outcome == NodeResult({"weight": 10.0}, {"weight": 10.0})


async def test_a_plain_function_runs_in_a_thread() -> None:
    @node("where")
    def where(_: DistributedContext) -> str:
        return threading.current_thread().name

    outcome = await call("where")
    assert outcome.writes["reserve"] != threading.main_thread().name


async def test_as_many_plain_functions_run_at_once_as_a_worker_runs_activities() -> None:
    together = threading.Barrier(50)

    @node("meet")
    def meet(_: DistributedContext) -> int:
        return together.wait(20)

    activity = PythonActivity(threads=50)
    call_once = functools.partial(activity, task_of(), PythonNode(type="python", handler="meet"))
    outcomes = await asyncio.gather(*(call_once() for _ in range(50)))
    await activity.aclose()
    assert sorted(number(outcome.writes["reserve"]) for outcome in outcomes) == [*range(50)]


async def test_a_cancelled_plain_function_is_over_before_the_node_is() -> None:
    """Nothing stops a thread: a node that ended at once would have its compensation overtake its effect."""
    begun, may_end, done = threading.Event(), threading.Event(), []

    @node("charge")
    def charge(_: DistributedContext) -> None:
        begun.set()
        may_end.wait(PATIENCE)
        done.append("charged")

    running = asyncio.create_task(call("charge"))
    await asyncio.to_thread(begun.wait, PATIENCE)
    for _ in range(2):  # a worker that stops cancels what is being cancelled once more
        running.cancel()
        await asyncio.sleep(0.01)
    assert not running.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert done == ["charged"]


async def test_a_plain_function_that_waits_for_a_thread_is_cancelled_before_it_begins() -> None:
    may_end, begun = threading.Event(), []

    @node("charge")
    def charge(_: DistributedContext, order: int) -> None:
        begun.append(order)
        may_end.wait(PATIENCE)

    activity = PythonActivity(threads=1)
    first, second = (
        asyncio.create_task(activity(task_of(), PythonNode(type="python", handler="charge", args={"order": order})))
        for order in (1, 2)
    )
    await until(lambda: begun == [1])
    second.cancel()
    await asyncio.wait({second}, timeout=PATIENCE)
    may_end.set()
    await first
    await activity.aclose()
    assert second.cancelled()
    assert begun == [1]


async def test_a_plain_function_that_raises_stop_iteration_fails() -> None:
    """A future cannot hold that exception: whoever awaits it would wait for ever."""

    @node("first")
    def first(_: DistributedContext) -> object:
        return next(iter([]))

    with pytest.raises(RuntimeError, match="the handler raised StopIteration"):
        await asyncio.wait_for(call("first"), PATIENCE)


async def test_a_decorated_coroutine_function_is_awaited() -> None:
    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **more: Any) -> Any:
            return function(*args, **more)

        return wrapper

    @node("late")
    @decorated
    async def late(_: DistributedContext) -> dict[str, Any]:
        return {"loop": asyncio.get_running_loop() is not None}

    assert (await call("late")).writes == {"loop": True}


async def test_a_value_that_holds_itself_is_refused_with_its_path() -> None:
    @node("knot")
    def knot(context: DistributedContext) -> None:
        order = context["order"]
        assert isinstance(order, dict)
        order["itself"] = order

    with pytest.raises(WireFormatError, match=r"the value at 'order\.itself\..* is nested deeper than 64"):
        await call("knot", {"order": {}})


async def test_what_the_handler_changed_in_the_context_is_written_however_deep() -> None:
    @node("change")
    async def change(context: DistributedContext) -> None:
        context.set("total", 3)
        context.remove("draft")
        order = context["order"]
        assert isinstance(order, dict)
        order["status"] = "packed"

    data = {"draft": 1, "order": {"id": 1, "status": "new"}, "same": [1]}
    outcome = await call("change", data)
    assert outcome == NodeResult({}, {"order": {"id": 1, "status": "packed"}, "total": 3}, ("draft",))
    assert data["order"] == {"id": 1, "status": "new"}


async def test_a_returned_mapping_is_written_over_what_was_changed() -> None:
    @node("both")
    async def both(context: DistributedContext) -> dict[str, Any]:
        context.set("a", 1)
        context.remove("b")
        return {"a": 2, "b": 3}

    assert await call("both", {"b": 0}) == NodeResult({"a": 2, "b": 3}, {"a": 2, "b": 3})


async def test_a_returned_context_is_compared_with_the_one_it_got() -> None:
    @node("other")
    async def other(context: DistributedContext) -> DistributedContext:
        return DistributedContext("x", {**context.data, "new": True})

    assert await call("other", {"old": 1}) == NodeResult({}, {"new": True})


async def test_any_other_value_is_written_under_the_node_s_id() -> None:
    @node("count")
    async def count(context: DistributedContext) -> int:
        return len(context)

    assert await call("count", {"a": 1}) == NodeResult(1, {"reserve": 1})


async def test_reading_a_key_that_did_not_cross_names_what_to_declare() -> None:
    @node("greedy")
    async def greedy(context: DistributedContext) -> None:
        context.get("customer")

    with pytest.raises(UndeclaredRead, match=r"declare 'customer' under the node's `reads:`"):
        await call("greedy", {"order": 1}, reads=("order",))


async def test_an_unknown_handler_is_told_the_near_ones() -> None:
    node("weigh")(print)
    with pytest.raises(ConfigurationError, match=r"no handler 'wiegh' \(did you mean weigh\?\)"):
        await call("wiegh")
    with pytest.raises(ConfigurationError, match=r'register it with @node\("pack"\)'):
        await call("pack")


async def test_args_that_the_handler_does_not_take_are_a_definite_error() -> None:
    @node("strict")
    async def strict(context: DistributedContext, *, size: int) -> None: ...

    with pytest.raises(NodeError, match=r"'strict' does not take these `args`: missing a required.* argument: 'size'"):
        await call("strict")
    with pytest.raises(NodeError, match="unexpected keyword argument 'colour'"):
        await call("strict", args={"size": 1, "colour": 2})


def test_a_name_is_registered_once() -> None:
    @node("weigh")
    def one(_: DistributedContext) -> None: ...

    assert node("weigh")(one) is one
    with pytest.raises(ConfigurationError, match=r"two handlers are registered as 'weigh': .*one and .*two"):

        @node("weigh")
        def two(_: DistributedContext) -> None: ...


async def test_an_entry_point_is_loaded_when_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(self: EntryPoint) -> Any:
        loaded.append(self.name)
        return lambda _context: {"from": self.value}

    monkeypatch.setattr(EntryPoint, "load", load)
    points = [EntryPoint("pack", "shop.nodes:pack", "anabranch.nodes"), EntryPoint("ship", "shop.nodes:ship", "x")]
    monkeypatch.setattr(python, "entry_points", lambda group: [point for point in points if point.group == group])
    assert (await call("pack")).writes == {"from": "shop.nodes:pack"}
    assert loaded == ["pack"]
