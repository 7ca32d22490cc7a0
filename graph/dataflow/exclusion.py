"""Which nodes can never both run, as far as the conditions on their edges show.

Two edges from one node are judged on the same data, so `validated` and `!validated`, `s == "a"` and `s == "b"`,
success and failure, or `otherwise` and each other success edge exclude each other, and so do nodes that only those
edges lead to. Facts are bits: `true[n]`
holds what must have been true for a node to run, `false[n]` what must have been false.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from anabranch.graph.dataflow.races import needed
from anabranch.graph.dataflow.walk import Level, ordered
from anabranch.graph.parts import Edge
from anabranch.graph.source.yaml_source import MAX_DEPTH

_NAME = r"[A-Za-z_][\w.]*"
_LITERAL = r"(?:\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|-?\d+(?:\.\d+)?|true|false|null)"
_EQUAL = re.compile(rf"({_NAME})\s*(==|!=)\s*({_LITERAL})", re.DOTALL)
_ORDER = re.compile(rf"({_NAME})\s*(<=|>=|<|>)\s*({_NAME}|{_LITERAL})", re.DOTALL)
_NEGATED = {"<": ">=", ">": "<="}
_OUTCOMES = ("success", "failure", "timeout")
_TOKEN = re.compile(rf"{_LITERAL}|\&\&|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Fact:
    """An atom of a condition: `text` holds or not; of all atoms of one `group` at most one holds."""

    text: str
    holds: bool
    group: str | None = None


@dataclass(slots=True)
class Exclusion:
    """The facts of one level's nodes, as bit sets."""

    true: dict[str, int] = field(default_factory=dict)
    false: dict[str, int] = field(default_factory=dict)

    def excludes(self, one: str, other: str) -> bool:
        """Whether the two nodes cannot both run."""
        return bool(self.true[one] & self.false[other] or self.false[one] & self.true[other])


def exclusion(level: Level) -> Exclusion:
    """The exclusions of one level without cycles."""
    chosen = {edge.source for edge in level.body.edges if edge.otherwise}
    facts = [list(_edge_facts(edge, is_choice=edge.source in chosen)) for edge in level.body.edges]
    bits, groups = _numbered(facts, level.body.edges)
    arriving: dict[str, list[int]] = {key: [] for key in level.body.nodes}
    for index, edge in enumerate(level.body.edges):
        arriving[edge.target].append(index)
    found = Exclusion()
    for key in ordered(level):
        sides = [_sides(found, level.body.edges[index], facts[index], bits, groups) for index in arriving[key]]
        union = needed(level.body.nodes[key], len(sides)) == len(sides)
        found.true[key] = _folded([side[0] for side in sides], union=union)
        found.false[key] = _folded([side[1] for side in sides], union=union)
    return found


def _folded(sets: list[int], *, union: bool) -> int:
    result = sets[0] if sets else 0
    for one in sets[1:]:
        result = result | one if union else result & one
    return result


def _numbered(
    facts: list[list[_Fact]], edges: tuple[Edge, ...]
) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], int]]:
    """A bit for each atom of each source node, and the bits of each group."""
    bits: dict[tuple[str, str], int] = {}
    groups: dict[tuple[str, str], int] = {}
    for edge, listed in zip(edges, facts, strict=True):
        for fact in listed:
            bit = bits.setdefault((edge.source, fact.text), 1 << len(bits))
            if fact.group is not None:
                group = (edge.source, fact.group)
                groups[group] = groups.get(group, 0) | bit
    return bits, groups


def _sides(
    found: Exclusion,
    edge: Edge,
    facts: list[_Fact],
    bits: dict[tuple[str, str], int],
    groups: dict[tuple[str, str], int],
) -> tuple[int, int]:
    true, false = found.true[edge.source], found.false[edge.source]
    for fact in facts:
        bit = bits[edge.source, fact.text]
        if not fact.holds:
            false |= bit
            continue
        true |= bit
        if fact.group is not None:
            false |= groups[edge.source, fact.group] & ~bit
    return true, false


def _edge_facts(edge: Edge, *, is_choice: bool) -> Iterator[_Fact]:
    """`is_choice` says that an edge of the same source has `otherwise`."""
    if is_choice and "success" in edge.named:
        yield _Fact("no other edge", holds=edge.otherwise)
    for outcome in _OUTCOMES:
        if edge.outcome == outcome:
            yield _Fact(f"outcome {outcome}", holds=True, group="outcome")
        elif outcome not in edge.ends:
            yield _Fact(f"outcome {outcome}", holds=False, group="outcome")
    if edge.when is not None:
        for part in _conjuncts(edge.when):
            yield _fact(part, holds=True)


def _fact(text: str, *, holds: bool) -> _Fact:
    text = _bare(text)
    if text.startswith("!") and (inner := text[1:].strip()) and (re.fullmatch(_NAME, inner) or _is_wrapped(inner)):
        return _fact(inner, holds=not holds)
    if match := _EQUAL.fullmatch(text):
        name, operator, literal = match.groups()
        holds = holds if operator == "==" else not holds
        if literal in ("true", "false"):
            return _Fact(name, holds if literal == "true" else not holds)
        return _Fact(f"{name} == {_literal(literal)}", holds, group=name)
    if match := _ORDER.fullmatch(text):
        left, operator, right = match.groups()
        return _Fact(f"{left} {_NEGATED.get(operator, operator)} {right}", holds != (operator in _NEGATED))
    return _Fact(text, holds)


def _bare(text: str) -> str:
    text = text.strip()
    for _ in range(MAX_DEPTH):
        if not _is_wrapped(text):
            break
        text = text[1:-1].strip()
    return text


def _is_wrapped(text: str) -> bool:
    """Whether one pair of parentheses encloses the whole."""
    if not (text.startswith("(") and text.endswith(")")):
        return False
    depth = 0
    for match in _TOKEN.finditer(text):
        depth += _opens(match.group())
        if depth == 0 and match.end() < len(text):
            return False
    return True


def _opens(symbol: str) -> int:
    return 1 if symbol in ("(", "[", "{") else -1 if symbol in (")", "]", "}") else 0


def _conjuncts(condition: str) -> Iterator[str]:
    """The parts of a condition between `&&` outside of brackets; the whole if there is a `||` or `?` beside them."""
    condition = _bare(condition)
    depth, part, parts = 0, "", []
    for match in _TOKEN.finditer(condition):
        symbol = match.group()
        depth += _opens(symbol)
        if depth == 0 and symbol in ("|", "?"):
            yield condition
            return
        if depth == 0 and symbol == "&&":
            parts.append(part)
            part = ""
        else:
            part += symbol
    yield from (*parts, part)


def _literal(text: str) -> str:
    """One spelling for `'a'` and `"a"`, `1` and `1.0`."""
    if text[0] in "\"'":
        return text if "\\" in text else repr(text[1:-1])
    return str(float(text)) if text[-1].isdigit() else text
