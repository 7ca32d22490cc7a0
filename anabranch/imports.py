"""Modules of the user that a worker serves: `anabranch worker --import my_handlers`, `ANABRANCH_IMPORT`.

What such a module registers with `@node`, and the Temporal workflows and activities in its namespace, are
served beside the graphs.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from anabranch.activities.python import registered_handlers
from anabranch.errors import AnabranchError, ConfigurationError

_WORKFLOW = "__temporal_workflow_definition"
_ACTIVITY = "__temporal_activity_definition"
_HERE = str(Path(__file__).parent)
_imported: dict[str, OwnCode] = {}


@dataclass(frozen=True, slots=True)
class OwnCode:
    """What the user's modules bring: the names of handlers, workflow classes, activity functions."""

    handlers: tuple[str, ...] = ()
    workflows: tuple[type, ...] = ()
    activities: tuple[Callable[..., Any], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.handlers or self.workflows or self.activities)

    @property
    def workflow_names(self) -> list[str]:
        """The names of the workflows."""
        return [name for each in self.workflows if (name := workflow_name(each))]

    @property
    def activity_names(self) -> list[str]:
        """The names of the activities."""
        return [name for each in self.activities if (name := activity_name(each))]


NOTHING = OwnCode()


def import_own(modules: Sequence[str]) -> OwnCode:
    """Import the modules, found in the working directory too, and collect what they bring; each is imported once.

    Raises ConfigurationError naming the module that is not there, that fails, or that brings nothing.
    """
    found = [_imported.get(name) or _import(name) for name in dict.fromkeys(modules)]
    return OwnCode(
        tuple(dict.fromkeys(name for each in found for name in each.handlers)),
        tuple(dict.fromkeys(cls for each in found for cls in each.workflows)),
        tuple(dict.fromkeys(function for each in found for function in each.activities)),
    )


def workflow_name(workflow: type) -> str | None:
    """The name of a workflow class; None if it is dynamic or not a workflow."""
    return getattr(workflow.__dict__.get(_WORKFLOW), "name", None)


def activity_name(activity: Callable[..., Any]) -> str | None:
    """The name of an activity; None if it is dynamic or not an activity."""
    return getattr(getattr(activity, _ACTIVITY, None), "name", None)


def _import(name: str) -> OwnCode:
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does
    known, before = registered_handlers(), name in sys.modules
    try:
        module = import_module(name)
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error
    registered = registered_handlers()
    # Where something else has imported the module before, its handlers are known already.
    handlers = [each for each in registered if each not in known or registered[each].__module__ == name]
    own = OwnCode(tuple(handlers), *_defined(module))
    if not own and not before:
        raise ConfigurationError(
            f"the module {name!r} has no handler, no workflow and no activity",
            place=f"--import {name}",
            suggestion='decorate a function with @anabranch.node("name"), or import the modules that do so in it',
        )
    _imported[name] = own
    return own


def _defined(module: ModuleType) -> tuple[tuple[type, ...], tuple[Callable[..., Any], ...]]:
    """The workflows and activities in a module's namespace."""
    members = tuple(dict.fromkeys(each for each in vars(module).values() if callable(each)))
    workflows = tuple(each for each in members if isinstance(each, type) and _WORKFLOW in each.__dict__)
    return workflows, tuple(each for each in members if not isinstance(each, type) and hasattr(each, _ACTIVITY))


def _failed(name: str, error: BaseException) -> ConfigurationError:
    if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
        return ConfigurationError(
            f"there is no module {name!r}",
            place=f"--import {name}",
            suggestion=f"name a module as in `import {_likely(name)}`; it is looked for in {Path.cwd()} and where"
            " Python looks (PYTHONPATH)",
        )
    reason = str(error) if isinstance(error, AnabranchError) else traceback.format_exception_only(error)[-1].strip()
    return ConfigurationError(
        f"the module {name!r} cannot be imported: {_place_of(error)}{reason}", place=f"--import {name}"
    )


def _place_of(error: BaseException) -> str:
    """Where in the user's code an error was raised."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(("<frozen ", _HERE))]
    return f"{theirs[-1].filename}:{theirs[-1].lineno}: " if theirs else ""


def _likely(name: str) -> str:
    return name.removesuffix(".py").replace("/", ".").strip(".") or "my_handlers"
