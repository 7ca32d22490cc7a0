"""GRL, the rule language of Grule (https://github.com/hyperjumptech/grule-rule-engine): a text as typed rules.

    rule Discount "ten per cent above 100" salience 10 {
        when Order.total > 100 && Order.state != nil
        then Order.discount = Order.total * 0.1; Retract("Discount");
    }

Names are paths in the context: `Order.total` is `total` in the object under the key `Order`, a plain name is a key; the
reserved roots (`run`, `item`, …) stay what they are. The conditions and the right sides of assignments are translated,
token by token, to CEL, which has the same operators with the same precedence; `nil` is null. An action is an assignment
(`=`, `+=`, `-=`, `*=`, `/=`), `Retract("Name")` or `Complete()`; `Log("…")` and `Changed("…")` do nothing here.
Read as well: a quoted name of a rule, and `no-loop` (its own changes do not make the rule fire again).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any, TypeAlias, cast

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedInput

from anabranch.context.values import Path
from anabranch.errors import ExpressionError
from anabranch.graph.expressions.cel_syntax import TYPE_NAMES
from anabranch.graph.expressions.expressions import MAX_SOURCE, ROOTS, Expression, compile_expression

MAX_RULES = 500

_GRAMMAR = r"""
    start: rule+
    rule: "rule" name STRING? attribute* "{" "when" expression "then" action+ "}"
    name: NAME | STRING
    attribute: "salience" MINUS? INTEGER -> salience
             | NO_LOOP "true"? -> no_loop
    ?action: path ASSIGN expression ";" -> assignment
           | NAME "(" STRING? ")" ";" -> command
    path: NAME (DOT NAME)*
    expression: (NAME | STRING | INTEGER | DECIMAL | OPERATOR | PAREN | DOT)+

    NO_LOOP: "no-loop"
    MINUS: "-"
    ASSIGN: /[+\-*\/]?=(?!=)/
    DOT: "."
    PAREN: /[()\[\],]/
    OPERATOR: /&&|\|\||[=!<>]=|[<>!?:%+*\/-]/
    NAME: /[A-Za-z_][A-Za-z0-9_]*/
    DECIMAL: /\d+\.\d+(?:[eE][+-]?\d+)?/
    INTEGER: /\d+/
    STRING: /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/
    %ignore /\s+|\/\/[^\n]*|\/\*(?:[^*]|\*(?!\/))*\*\//
"""
_CEL_RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"}
    | {"namespace", "null", "package", "return", "true", "var", "void", "while"}
)
_FUNCTIONS = {"Max": "math.greatest", "Min": "math.least", "Len": "size"} | {
    name: f"math.{name.lower()}" for name in ("Abs", "Ceil", "Floor", "Round", "Trunc")
}
_METHODS = {
    "Contains": "contains",
    "Count": "size",
    "HasPrefix": "startsWith",
    "HasSuffix": "endsWith",
    "Len": "size",
    "MatchString": "matches",
    "Replace": "replace",
    "Split": "split",
    "ToLower": "lowerAscii",
    "ToUpper": "upperAscii",
    "Trim": "trim",
}
_NO_EFFECT = frozenset({"Log", "Changed"})


@dataclass(frozen=True, slots=True)
class Assignment:
    """Write a value at a path of the context."""

    path: Path
    value: Expression


@dataclass(frozen=True, slots=True)
class Retract:
    """The rule of that name does not fire again."""

    rule: str


@dataclass(frozen=True, slots=True)
class Complete:
    """No rule fires again."""


Action: TypeAlias = Assignment | Retract | Complete


@dataclass(frozen=True, slots=True)
class GrlRule:
    """One rule. `keys` are the context keys that it reads (None: all of them), `paths` what of them, by bare names."""

    name: str
    salience: int
    no_loop: bool
    when: Expression
    actions: tuple[Action, ...]
    keys: frozenset[str] | None
    paths: frozenset[Path]

    @property
    def assigned(self) -> frozenset[Path]:
        """The paths that it assigns."""
        return frozenset(action.path for action in self.actions if isinstance(action, Assignment))


@lru_cache(maxsize=256)
def parse_grl(text: str, roots: frozenset[str] = frozenset()) -> tuple[GrlRule, ...]:
    """The rules of a GRL text in the order in which they are tried: by salience, then as in the text.

    ExpressionError with line and column inside the text.
    """
    try:
        drafts = cast("list[_Draft]", _parser().parse(text))
    except UnexpectedInput as error:
        raise _syntax_error(error) from None
    names = [draft.name for draft in drafts]
    if len(drafts) > MAX_RULES:
        raise ExpressionError(f"{len(drafts)} rules are over the limit of {MAX_RULES}", suggestion="use several nodes")
    for index, draft in enumerate(drafts):
        if draft.name in names[:index]:
            raise _error(draft.token, f"two rules are called {draft.name!r}", "give each rule its own name")
    rules = [_rule(draft, roots, names) for draft in drafts]
    return tuple(sorted(rules, key=lambda rule: -rule.salience))


@dataclass(frozen=True, slots=True)
class _Source:
    """The tokens of an expression."""

    tokens: list[Token]

    def cel(self, roots: frozenset[str]) -> str:
        """The expression as CEL."""
        pieces = []
        following = [*self.tokens[1:], None]
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
class _Draft:
    """A rule as it was parsed, before its expressions are compiled."""

    token: Token
    name: str
    when: _Source
    actions: list[tuple[Token, Any]]
    attributes: dict[str, Any] = field(default_factory=dict)


@cache
def _parser() -> Lark:
    # A transformer inside the parser is called at each reduction: no tree, and no recursion on hostile nesting.
    return Lark(_GRAMMAR, parser="lalr", transformer=_Reader(), propagate_positions=False)


@v_args(inline=True)
class _Reader(Transformer[Token, Any]):
    """Reductions of the grammar to drafts."""

    def start(self, *rules: _Draft) -> list[_Draft]:
        return list(rules)

    def rule(self, name: Token, *parts: Any) -> _Draft:
        sources = [part for part in parts if isinstance(part, _Source)]
        attributes: dict[str, Any] = dict(
            part for part in parts if isinstance(part, tuple) and isinstance(part[0], str)
        )
        actions = [part for part in parts if isinstance(part, list)]
        return _Draft(name, _unquoted(name), sources[0], [tuple(action) for action in actions], attributes)

    def name(self, token: Token) -> Token:
        return token

    def salience(self, *number: Token) -> tuple[str, int]:
        return "salience", int("".join(number))

    def no_loop(self, *_tokens: Token) -> tuple[str, bool]:
        return "no_loop", True

    def path(self, *names: Token) -> list[Token]:
        return [name for name in names if name.type == "NAME"]

    def expression(self, *tokens: Token) -> _Source:
        return _Source(list(tokens))

    def assignment(self, path: list[Token], operator: Token, source: _Source) -> list[Any]:
        return [path[0], (path, operator, source)]

    def command(self, name: Token, argument: Token | None = None) -> list[Any]:
        return [name, argument]


def _rule(draft: _Draft, roots: frozenset[str], names: list[str]) -> GrlRule:
    when = _compiled(draft.when, draft.when.cel(roots), roots)
    found = [_action(token, content, roots, names) for token, content in draft.actions]
    actions = tuple(action for action in found if action is not None)
    expressions = [when, *(action.value for action in actions if isinstance(action, Assignment))]
    keys = [expression.keys for expression in expressions]
    return GrlRule(
        name=draft.name,
        salience=draft.attributes.get("salience", 0),
        no_loop=draft.attributes.get("no_loop", False),
        when=when,
        actions=actions,
        keys=None if None in keys else frozenset().union(*(one for one in keys if one is not None)),
        paths=frozenset().union(*(expression.paths for expression in expressions)),
    )


def _action(token: Token, content: Any, roots: frozenset[str], names: list[str]) -> Action | None:
    if isinstance(content, tuple):
        path, operator, source = content
        value = source.cel(roots)
        if operator != "=":
            value = f"{_Source(_with_dots(path)).cel(roots)} {operator[0]} ({value})"
        if path[0] in ROOTS | roots:
            raise _error(token, f"{path[0].value!r} cannot be written", "assign to a context key")
        return Assignment(tuple(name.value for name in path), _compiled(source, value, roots))
    command = str(token)
    if command in _NO_EFFECT:
        return None
    if command == "Complete" and content is None:
        return Complete()
    if command == "Retract" and content is not None:
        return Retract(_known(content, names))
    raise _error(token, f"there is no action {token.value}", 'write an assignment, Retract("Name") or Complete()')


def _known(token: Token, names: list[str]) -> str:
    name = _unquoted(token)
    if name in names:
        return name
    close = get_close_matches(name, names, n=1)
    raise _error(token, f"there is no rule {name!r} to retract", f"did you mean {close[0]!r}?" if close else None)


def _compiled(source: _Source, cel: str, roots: frozenset[str]) -> Expression:
    first = source.tokens[0]
    if len(cel) > MAX_SOURCE:
        raise _error(first, f"the expression is over the limit of {MAX_SOURCE} characters", "split it into rules")
    try:
        return compile_expression(cel, roots)
    except ExpressionError as error:
        raise _error(first, error.message, error.suggestion) from None


def _with_dots(path: list[Token]) -> list[Token]:
    return [part for name in path for part in (Token("DOT", "."), name)][1:]


def _operand(token: Token, *, called: bool, roots: frozenset[str]) -> str:
    name = str(token.value)
    if token.type != "NAME" or name in ("true", "false"):
        return name
    if name == "nil":
        return "null"
    if called:
        return _FUNCTIONS.get(name, name)
    reserved = name in _CEL_RESERVED or name in TYPE_NAMES
    return f"context[{json.dumps(name)}]" if reserved and name not in roots else name


def _field(token: Token, *, called: bool) -> str:
    name = str(token.value)
    if called:
        return f".{_METHODS.get(name, name)}"
    return f"[{json.dumps(name)}]" if name in _CEL_RESERVED else f".{name}"


def _unquoted(token: Token) -> str:
    return str(token.value[1:-1] if token.type == "STRING" else token.value)


def _error(token: Token, message: str, suggestion: str | None) -> ExpressionError:
    return ExpressionError(message, suggestion=suggestion, line=token.line or 1, column=token.column or 1)


def _syntax_error(error: UnexpectedInput) -> ExpressionError:
    line, column = getattr(error, "line", 1), getattr(error, "column", 1)
    token = getattr(error, "token", getattr(error, "char", ""))
    at_end = getattr(token, "type", "") == "$END"
    return ExpressionError(
        "the rules end too early" if at_end else f"{str(token)!r} is not expected here",
        suggestion='rule Name "description" salience 10 { when CONDITION then name = VALUE; }',
        line=max(1, line),
        column=max(1, column),
    )
