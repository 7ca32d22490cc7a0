"""`python` nodes: functions that the worker registered, by `@node("name")` or an `anabranch.nodes` entry point.

    from anabranch import DistributedContext, node

    @node("weigh")
    async def weigh(context: DistributedContext, factor: float) -> dict[str, Json]:
        return {"weight": context.get("mass") * factor}

The node's `args`, rendered, are the keyword arguments. What the function changed in the context is written, and over
it what it returned: a mapping's keys, or any other value but None under the node's id. A plain `def` runs in a thread,
which nothing can stop: a cancelled node waits for its end, so that no compensation overtakes what it does.
Reading a key that did not cross raises, naming the key to declare under `reads`.
"""

from __future__ import annotations

import asyncio
import contextvars
import difflib
import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar, cast

from anabranch.activities.node_result import NodeResult, after_effect, own_key
from anabranch.activities.rendering import render
from anabranch.context.changes import ChangeSet, diff
from anabranch.context.distributed import DistributedContext
from anabranch.context.values import Json, check_value
from anabranch.errors import ConfigurationError, NodeError
from anabranch.graph.model import PythonNode
from anabranch.transport.node_protocol import NodeTask

ENTRY_POINTS = "anabranch.nodes"
Function = Callable[..., Any]
F = TypeVar("F", bound=Function)
_registered: dict[str, Function] = {}


def node(name: str) -> Callable[[F], F]:
    """Register the function as the handler `name` of `python` nodes.

    It is called with the context and the node's `args`; what it changes in the context or returns is written. Raises
    ConfigurationError if the name is taken.
    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError("a handler needs a name", suggestion='write @node("name")')

    def register(function: F) -> F:
        known = _registered.setdefault(name, function)
        if known is not function:
            raise ConfigurationError(
                f"two handlers are registered as {name!r}: {_where(known)} and {_where(function)}",
                suggestion="give one of them another name",
            )
        return function

    return register


def _where(function: Function) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def registered_handlers() -> dict[str, Function]:
    """The handlers that `@node` has registered in this process, by name."""
    return dict(_registered)


def known_handlers() -> frozenset[str]:
    """The names of all handlers that a worker of this process has, those of entry points too."""
    return frozenset(_registered) | {entry.name for entry in entry_points(group=ENTRY_POINTS)}


class PythonActivity:
    """Runs `python` nodes by the registered handlers; entry points are loaded when they are first called."""

    def __init__(self, *, threads: int = 100) -> None:
        self._entry_points: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
        # Threads of their own: long handlers would use up the loop's few, which also resolve host names.
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="python-node")

    async def aclose(self) -> None:
        """Start no more threads."""
        self._threads.shutdown(wait=False)

    async def __call__(self, task: NodeTask, node: PythonNode) -> NodeResult:
        """Call the handler with a context of its own, and collect what it changed and returned."""
        function = self.handler(node.handler)
        arguments = cast("dict[str, Any]", await render(dict(node.args), task))
        _check_arguments(node.handler, function, arguments)
        context = task.context.copy()
        context.reads = None if task.reads is None else frozenset(task.reads)
        returned = await _call(function, context, arguments, self._threads)
        with after_effect():
            return _outcome(task, context, returned)

    def handler(self, name: str) -> Function:
        """The handler of that name; an entry point is imported. Raises ConfigurationError where there is none."""
        if name not in _registered and (entry := self._entry_points.get(name)) is not None:
            loaded = entry.load()
            # Importing its module may have registered it by the decorator already.
            _registered.setdefault(name, loaded)
        if name in _registered:
            return _registered[name]
        raise self._unknown(name)

    def _unknown(self, name: str) -> ConfigurationError:
        near = difflib.get_close_matches(name, [*_registered, *self._entry_points], n=3)
        return ConfigurationError(
            f"this worker has no handler {name!r}",
            suggestion=f"did you mean {', '.join(near)}?" if near else f'register it with @node("{name}")',
        )


def _check_arguments(name: str, function: Function, arguments: dict[str, Any]) -> None:
    if (refusal := _refusal(function, tuple(arguments))) is not None:
        raise NodeError(f"the handler {name!r} does not take these `args`: {refusal}")


@lru_cache(maxsize=1024)
def _refusal(function: Function, names: tuple[str, ...]) -> str | None:
    """Why a handler does not take the context and keyword arguments of these names; None where it does."""
    try:
        inspect.signature(function).bind(None, **dict.fromkeys(names))
    except ValueError:
        return None  # some functions of C have no signature; the call itself will show
    except TypeError as error:
        return str(error)
    return None


async def _call(
    function: Function, context: DistributedContext, arguments: dict[str, Any], threads: ThreadPoolExecutor
) -> object:
    if inspect.iscoroutinefunction(function):
        return await function(context, **arguments)
    returned = await _in_thread(partial(_called, function, context, arguments), threads)
    # A decorator of an `async def` may itself be a plain function.
    return await returned if inspect.isawaitable(returned) else returned


async def _in_thread(call: Callable[[], object], threads: ThreadPoolExecutor) -> object:
    """The result of the call. If it is cancelled before it starts it does not run; later it is awaited to its end."""
    running = threads.submit(contextvars.copy_context().run, call)
    over = asyncio.wrap_future(running)
    cancelled: asyncio.CancelledError | None = None
    while not over.done():
        try:
            await asyncio.wait({over})
        except asyncio.CancelledError as error:
            running.cancel()
            cancelled = error
    if cancelled is not None:
        if not over.cancelled():
            over.exception()  # looked at, so that asyncio does not report it
        raise cancelled
    return over.result()


def _called(function: Function, context: DistributedContext, arguments: dict[str, Any]) -> object:
    try:
        return function(context, **arguments)
    except StopIteration as error:
        # A future cannot hold it: the node would never end. Generators do the same (PEP 479).
        raise RuntimeError("the handler raised StopIteration") from error


def _outcome(task: NodeTask, context: DistributedContext, returned: object) -> NodeResult:
    data = returned.data if isinstance(returned, DistributedContext) else context.data
    changes = _changes(task, data)
    changed = dict.fromkeys(path[0] for path in (*changes.set, *changes.removed))
    writes = {key: data[key] for key in changed if key in data}
    removed = tuple(key for key in changed if key not in data)
    if returned is None or isinstance(returned, DistributedContext):
        return NodeResult({}, writes, removed)
    result = cast("Json", dict(returned) if isinstance(returned, Mapping) else returned)
    # Values that are not JSON are refused, with their path, where all writes are checked.
    own: dict[str, Json] = result if isinstance(result, dict) else {own_key(task): result}
    return NodeResult(result, {**writes, **own}, tuple(key for key in removed if key not in own))


def _changes(task: NodeTask, data: dict[str, Json]) -> ChangeSet:
    try:
        return diff(task.context.data, data)
    except RecursionError:
        check_value(data)  # names the path that is too deep
        raise
