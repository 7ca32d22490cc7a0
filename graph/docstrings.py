"""The docstrings that stand below attributes of a class. Python does not keep them; its source does."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache

from pydantic import BaseModel


def attribute_docstrings(owner: type) -> Mapping[str, str]:
    """The docstring of each public attribute that a class declares; none where there is no source."""
    return _classes(owner.__module__).get(owner.__qualname__, {})


def field_docstrings(model: type[BaseModel]) -> Mapping[str, str]:
    """The docstring of each field of a model, those that it inherits included."""
    found = {name: text for each in reversed(model.__mro__) for name, text in attribute_docstrings(each).items()}
    return {name: found[name] for name in model.model_fields if name in found}


@cache
def _classes(module: str) -> Mapping[str, Mapping[str, str]]:
    try:
        source = inspect.getsource(sys.modules[module])
    except (OSError, TypeError, KeyError):  # of a module that was not made from a file, or that is not there any more
        return {}
    statements = ast.parse(source).body
    return {each.name: dict(_documented(each)) for each in statements if isinstance(each, ast.ClassDef)}


def _documented(owner: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, following in zip(owner.body, owner.body[1:], strict=False):
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        text = following.value if isinstance(following, ast.Expr) else None
        if isinstance(targets[0], ast.Name) and isinstance(text, ast.Constant) and targets[0].id[0] != "_":
            yield targets[0].id, inspect.cleandoc(str(text.value))
