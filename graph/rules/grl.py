"""GRL, the rule language of Grule (https://github.com/hyperjumptech/grule-rule-engine): a text as drafts of rules.

    rule Discount "ten per cent above 100" salience 10 {
        when Order.total > 100 && Order.state != nil
        then Order.discount = Order.total * 0.1; Retract("Discount");
    }

Names are paths in the context: `Order.total` is `total` in the object under the key `Order`, a plain name is a key; the
reserved roots (`run`, `item`, …) stay what they are. The conditions and the right sides of assignments are translated,
token by token, to CEL, which has the same operators with the same precedence; `nil` is null. An action is an assignment
(`=`, `+=`, `-=`, `*=`, `/=`), `Retract("Name")` or `Complete()`; `Log(…)` and `Changed(…)` do nothing here.
Read as well, as rust-rule-engine has them: a quoted name of a rule, and `no-loop` (the rule fires once).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import Any, cast

from lark import Lark, Token, Transformer, v_args

from anabranch.graph.expressions.expressions import ROOTS
from anabranch.graph.rules import names
from anabranch.graph.rules.chained_rule import (
    Action,
    Assignment,
    ChainedRule,
    Complete,
    Retract,
    expressions_of,
    keys_of,
)
from anabranch.graph.rules.names import compiled, refused, unquoted

EXAMPLE = 'rule Name "description" salience 10 { when CONDITION then name = VALUE; }'

_GRAMMAR = r"""
    start: rule+
    rule: "rule" name STRING? attribute* "{" "when" expression "then" action+ "}"
    name: NAME | STRING
    attribute: "salience" MINUS? INTEGER -> salience
             | NO_LOOP (TRUE | FALSE)? -> no_loop
    ?action: path ASSIGN expression ";" -> assignment
           | NAME call ";" -> command
    path: NAME (DOT NAME)*
    expression: _token+
    call: OPEN _token*
    _token: NAME | STRING | INTEGER | DECIMAL | OPERATOR | PAREN | DOT

    NO_LOOP: "no-loop"
    TRUE: "true"
    FALSE: "false"
    MINUS: "-"
    ASSIGN: /[+\-*\/]?=(?!=)/
    DOT: "."
    OPEN: "("
    PAREN: /[()\[\],]/
    OPERATOR: /&&|\|\||[=!<>]=|[<>!?:%+*\/-]/
    NAME: /[A-Za-z_][A-Za-z0-9_]*/
    DECIMAL: /\d+\.\d+(?:[eE][+-]?\d+)?/
    INTEGER: /\d+/
    STRING: /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/
    %ignore /\s+|\/\/[^\n]*|\/\*(?:[^*]|\*(?!\/))*\*\//
"""
_NO_EFFECT = frozenset({"Log", "Changed"})


@dataclass(frozen=True, slots=True)
class _Source:
    """The tokens of an expression."""

    tokens: list[Token]

    def cel(self, roots: frozenset[str]) -> str:
        """The expression as CEL."""
        pieces = []
        following = [*self.tokens, None][1:]
        previous: Token | None = None
        for token, after in zip(self.tokens, following, strict=True):
            called = after is not None and after.value == "("
            if previous is not None and previous.type == "DOT":
                pieces.append(_field(token, called=called))
            elif token.type != "DOT":
                pieces.append(f" {_operand(token, called=called, roots=roots)}")
            previous = token
        return "".join(pieces).strip()


@dataclass(slots=True)
class GrlDraft:
    """A rule as it was parsed."""

    token: Token
    name: str
    when: _Source
    actions: list[tuple[Token, Any]]
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many expressions it has."""
        return 1 + len(self.actions)

    def rule(self, roots: frozenset[str], rules: Sequence[str]) -> ChainedRule:
        """The rule, compiled."""
        when = compiled(self.when.cel(roots), roots, self.when.tokens[0])
        found = [_action(token, content, roots, rules) for token, content in self.actions]
        actions = tuple(action for action in found if action is not None)
        read = keys_of((when, *expressions_of(actions)))
        assigned = frozenset(action.path[0] for action in actions if isinstance(action, Assignment))
        return ChainedRule(
            name=self.name,
            salience=self.attributes.get("salience", 0),
            no_loop=self.attributes.get("no_loop", False),
            when=when,
            actions=actions,
            wakes_on=None if read is None else read | assigned,
            parts=(when.source,),
        )


def drafts(text: str) -> list[GrlDraft]:
    """The rules of a text as they were parsed. UnexpectedInput where it is no GRL."""
    return cast("list[GrlDraft]", _parser().parse(text))


@cache
def _parser() -> Lark:
    # A transformer inside the parser is called at each reduction: no tree, and no recursion on hostile nesting.
    return Lark(_GRAMMAR, parser="lalr", transformer=_Reader(), propagate_positions=False)


@v_args(inline=True)
class _Reader(Transformer[Token, Any]):
    """Reductions of the grammar to drafts."""

    def start(self, *rules: GrlDraft) -> list[GrlDraft]:
        return list(rules)

    def rule(self, name: Token, *parts: Any) -> GrlDraft:
        sources = [part for part in parts if isinstance(part, _Source)]
        attributes: dict[str, Any] = dict(
            part for part in parts if isinstance(part, tuple) and isinstance(part[0], str)
        )
        actions = [part for part in parts if isinstance(part, list)]
        return GrlDraft(name, unquoted(name), sources[0], [tuple(action) for action in actions], attributes)

    def name(self, token: Token) -> Token:
        return token

    def salience(self, *number: Token) -> tuple[str, int]:
        return "salience", names.salience(number)

    def no_loop(self, _name: Token, value: Token | None = None) -> tuple[str, bool]:
        return "no_loop", value is None or value.type == "TRUE"

    def path(self, *names: Token) -> list[Token]:
        return [name for name in names if name.type == "NAME"]

    def expression(self, *tokens: Token) -> _Source:
        return _Source(list(tokens))

    def call(self, _opening: Token, *tokens: Token) -> _Source:
        return _Source(list(tokens))

    def assignment(self, path: list[Token], operator: Token, source: _Source) -> list[Any]:
        return [path[0], (path, operator, source)]

    def command(self, name: Token, call: _Source) -> list[Any]:
        return [name, call]


def _action(token: Token, content: Any, roots: frozenset[str], rules: Sequence[str]) -> Action | None:
    if isinstance(content, tuple):
        return _assignment(token, content, roots)
    if not content.tokens or content.tokens[-1].value != ")":
        raise refused(token, f"{token.value} has no closing bracket", f"write {token.value}(…);")
    command, inner = str(token), _Source(content.tokens[:-1])
    if command in _NO_EFFECT:
        compiled(f"[{inner.cel(roots)}]", roots, token)  # nothing is made of it; it says what is wrong with it
        return None
    if command == "Complete" and not inner.tokens:
        return Complete()
    if command == "Retract" and [each.type for each in inner.tokens] == ["STRING"]:
        return Retract(known_rule(inner.tokens[0], rules))
    raise refused(token, f"there is no action {token.value}", 'write an assignment, Retract("Name") or Complete()')


def _assignment(token: Token, content: tuple[list[Token], Token, _Source], roots: frozenset[str]) -> Assignment:
    path, operator, source = content
    value = source.cel(roots)
    if operator != "=":
        value = f"{_Source(_with_dots(path)).cel(roots)} {operator[0]} ({value})"
    if path[0] in ROOTS | roots:
        raise refused(token, f"{path[0].value!r} cannot be written", "assign to a context key")
    return Assignment(tuple(name.value for name in path), compiled(value, roots, source.tokens[0]))


def known_rule(token: Token, rules: Sequence[str]) -> str:
    """The name of the rule that `Retract` names, if there is one."""
    name = unquoted(token)
    if name in rules:
        return name
    close = get_close_matches(name, rules, n=1)
    raise refused(token, f"there is no rule {name!r} to retract", f"did you mean {close[0]!r}?" if close else None)


def _with_dots(path: list[Token]) -> list[Token]:
    return [part for name in path for part in (Token("DOT", "."), name)][1:]


def _operand(token: Token, *, called: bool, roots: frozenset[str]) -> str:
    name = str(token.value)
    if token.type != "NAME" or name in ("true", "false"):
        return name
    if name == "nil":
        return "null"
    return names.FUNCTIONS.get(name, name) if called else names.key(name, roots)


def _field(token: Token, *, called: bool) -> str:
    name = str(token.value)
    return f".{names.METHODS.get(name, name)}" if called else names.field(name)
