#!/usr/bin/env python3
"""How large the code is: modules, lines, functions, comments, and public names without a docstring.

Usage: tools/sizes.py [FOLDER], by default this repository.
"""

from __future__ import annotations

import ast
import io
import statistics
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

APART = {"tests", "benchmarks", "examples", "tools", "docs"}
Function = ast.FunctionDef | ast.AsyncFunctionDef
Named = Function | ast.ClassDef


def modules(folder: Path) -> list[Path]:
    """The Python files below a folder; what a link leads to counts where it really is."""
    return [path for path in sorted(folder.rglob("*.py")) if not any(part.startswith(".") for part in path.parts)]


def comments(source: str) -> int:
    """How many comments there are."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return sum(token.type == tokenize.COMMENT for token in tokens)


def undocumented(tree: ast.Module | ast.ClassDef) -> Iterator[str]:
    """Public classes, functions and methods without a docstring, with the module itself."""
    if isinstance(tree, ast.Module) and ast.get_docstring(tree) is None:
        yield "the module"
    for node in tree.body:
        if isinstance(node, Named) and not node.name.startswith("_") and not _is_setter(node):
            if ast.get_docstring(node) is None:
                yield node.name
            if isinstance(node, ast.ClassDef):
                yield from (f"{node.name}.{name}" for name in undocumented(node))


def _is_setter(node: Named) -> bool:
    """Whether it is the second half of a property, which the first half documents."""
    return any(isinstance(each, ast.Attribute) and each.attr == "setter" for each in node.decorator_list)


def report(name: str, paths: list[Path]) -> str:
    """One line about some modules."""
    sources = {path: path.read_text(encoding="utf-8") for path in paths}
    lines = [source.count("\n") for source in sources.values()]
    trees = {path: ast.parse(source) for path, source in sources.items()}
    functions = [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, Function)
    ]
    bare = sum(len(list(undocumented(tree))) for tree in trees.values())
    return (
        f"{name:12} {len(paths):4} modules {sum(lines):6} lines, median module {statistics.median(lines):4.0f}, "
        f"largest {max(lines):3}; {len(functions):4} functions, median {statistics.median(functions):2.0f} lines, "
        f"p90 {statistics.quantiles(functions, n=10)[-1]:2.0f}, largest {max(functions):3}; "
        f"{100 * sum(map(comments, sources.values())) / sum(lines):.1f} comments in 100 lines; "
        f"{bare} public names without a docstring"
    )


def main() -> None:
    """Print a line for the code and one for each folder beside it."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1])
    found = [path for path in modules(root) if path.resolve() == path.absolute()]
    groups: dict[str, list[Path]] = {}
    for path in found:
        top = path.relative_to(root).parts[0]
        groups.setdefault(top if top in APART else "code", []).append(path)
    for name in ["code", *sorted(APART & groups.keys())]:
        print(report(name, groups[name]))


if __name__ == "__main__":
    main()
