"""Rules in the form of Drools, as rust-logic-graph's graph files write them: a text as drafts of rules.

    rule "shipping" "free above 100" salience 10
    when
      $total: Number(this > 0.0) from order_total
      $weight: Number from total_weight
    then
      if $total > 100.0 {
        insert!(shipping_cost => 0.0);
      } else {
        insert!(shipping_cost => $weight * 2.5, note => format!("{:.2} kg", $weight));
      }
    end

`drools_patterns.py` has what the conditions mean, `drools_actions.py` what the actions do, `drools_terms.py` what
expressions are. All of it becomes CEL, and is evaluated as GRL is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from lark import Lark, Token, Transformer, v_args

from anabranch.errors import ExpressionError
from anabranch.graph.rules import names
from anabranch.graph.rules.chained_rule import ChainedRule
from anabranch.graph.rules.drools_actions import Actions, Choice, Modify, Statement, Words, expressions_in
from anabranch.graph.rules.drools_patterns import Combined, Condition, Matched, Pattern, Test, matched
from anabranch.graph.rules.drools_terms import Group, Item
from anabranch.graph.rules.names import compiled, refused, unquoted

EXAMPLE = 'rule "name" when $x: Number(this > 0) from key then insert!(other => $x * 2); end'

_GRAMMAR = r"""
    start: _header* rule+
    _header: ("package" | "import") imported ";"?
    imported: NAME (FIELD | ".*")*
    rule: "rule" name STRING? (attribute ","?)* "when" conditions "then" body "end"
    name: NAME | STRING
    attribute: "salience" MINUS? NUMBER -> salience
             | NO_LOOP (TRUE | FALSE)? -> no_loop
             | OTHER (STRING | TRUE | FALSE | NUMBER) -> other

    conditions: (disjunction (";" | ",")?)*
    disjunction: conjunction (("or" | "||") conjunction)*
    conjunction: _condition (("and" | "&&") _condition)*
    _condition: negation | existence | test | nested | pattern
    negation: NOT _condition
    existence: EXISTS _condition
    test: EVAL round
    nested: "(" conditions ")"
    pattern: (VAR ":")? type round? ("from" source)?
    type: NAME FIELD*
    source: (NAME | VAR) (FIELD | square)*
          | COLLECTING -> collecting

    body: statement* words?
    ?statement: words ";" -> done
              | IF words block ("else" "if" words block)* otherwise? ";"? -> choice
              | MODIFY round "{" words? "}" ";"? -> modify
    otherwise: "else" block
    block: "{" body "}"
    words: _word+
    _word: NAME | VAR | MACRO | STRING | NUMBER | FIELD | OPERATOR | COLON | COMMA | ASSIGN | ARROW | round | square
    round: OPEN _word* ")"
    square: SQUARE _word* "]"

    NO_LOOP: "no-loop"
    OTHER: /(agenda-group|activation-group|ruleflow-group|auto-focus|lock-on-active|date-effective|date-expires)/
         | /(enabled|dialect|duration|timer)/
    COLLECTING.2: /(accumulate|acc|collect|entry-point)\b/
    TRUE: "true"
    FALSE: "false"
    NOT: "not"
    EXISTS: "exists"
    EVAL: "eval"
    IF: "if"
    MODIFY: "modify"
    MINUS: "-"
    OPEN: "("
    SQUARE: "["
    COLON: ":"
    COMMA: ","
    ARROW: "=>"
    ASSIGN.2: /[+\-*\/]?=(?![=>])/
    FIELD: /\.\s*[A-Za-z_][A-Za-z0-9_]*/
    OPERATOR: /&&|\|\||[=!<>]=|[<>!?%+*\/-]/
    VAR: /\$[A-Za-z_][A-Za-z0-9_]*/
    MACRO: /[A-Za-z_][A-Za-z0-9_]*!(?=\s*\()/
    NAME: /[A-Za-z_][A-Za-z0-9_]*/
    NUMBER: /\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?[A-Za-z]?(?![A-Za-z0-9_])/
    STRING: /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/
    %ignore /\s+|\/\/[^\n]*|\/\*(?:[^*]|\*(?!\/))*\*\//
"""


@dataclass(frozen=True, slots=True)
class DroolsDraft:
    """A rule as it was parsed."""

    token: Token
    name: str
    conditions: list[Condition]
    statements: list[Statement]
    salience: int
    no_loop: bool

    @property
    def size(self) -> int:
        """How many expressions it has."""
        return 1 + expressions_in(self.statements)

    def rule(self, roots: frozenset[str], rules: Sequence[str]) -> ChainedRule:
        """The rule, compiled. It fires again only when something changes that its conditions read."""
        found = matched(self.conditions, roots)
        try:
            when = compiled(found.cel, roots, self.token)
        except ExpressionError:
            _blame(self.conditions, found, roots)
            raise
        actions = Actions(found.scope, rules).of(self.statements)
        return ChainedRule(self.name, self.salience, self.no_loop, when, actions, when.keys, found.parts)


def drafts(text: str) -> list[DroolsDraft]:
    """The rules of a text as they were parsed. UnexpectedInput, or ExpressionError, where it is none."""
    return cast("list[DroolsDraft]", _parser().parse(text))


def _blame(conditions: Sequence[Condition], found: Matched, roots: frozenset[str]) -> None:
    """Raise the error of the first condition that does not compile on its own, at its place."""
    for count, condition in enumerate(conditions, 1):
        compiled(matched(conditions[:count], roots).cel, found.scope.roots, condition.token)


@cache
def _parser() -> Lark:
    # A transformer inside the parser is called at each reduction: no tree, and no recursion on hostile nesting.
    return Lark(_GRAMMAR, parser="lalr", transformer=_Reader(), propagate_positions=False)


@v_args(inline=True)
class _Reader(Transformer[Token, Any]):
    """Reductions of the grammar to drafts."""

    def start(self, *parts: Any) -> list[DroolsDraft]:
        return [part for part in parts if isinstance(part, DroolsDraft)]

    def imported(self, *_names: Token) -> None:
        return None

    def rule(self, name: Token, *parts: Any) -> DroolsDraft:
        attributes: dict[str, Any] = dict(part for part in parts if isinstance(part, tuple))
        conditions, statements = (part for part in parts if isinstance(part, list))
        return DroolsDraft(
            token=name,
            name=unquoted(name),
            conditions=conditions,
            statements=statements,
            salience=attributes.get("salience", 0),
            no_loop=attributes.get("no_loop", False),
        )

    def name(self, token: Token) -> Token:
        return token

    def salience(self, *number: Token) -> tuple[str, int]:
        return "salience", names.salience(number)

    def no_loop(self, _name: Token, value: Token | None = None) -> tuple[str, bool]:
        return "no_loop", value is None or value.type == "TRUE"

    def other(self, name: Token, _value: Token) -> tuple[str, str]:
        if name.value != "dialect":
            advice = "leave it out; order rules by salience, and groups of rules by nodes"
            raise refused(name, f"the attribute {name.value} has no counterpart", advice)
        return "dialect", ""

    def conditions(self, *parts: Condition) -> list[Condition]:
        return list(parts)

    def disjunction(self, *parts: Condition) -> Condition:
        return _combined("or", parts)

    def conjunction(self, *parts: Condition) -> Condition:
        return _combined("and", parts)

    def negation(self, word: Token, condition: Condition) -> Condition:
        return Combined(word, "not", [condition])

    def existence(self, word: Token, condition: Condition) -> Condition:
        return Combined(word, "exists", [condition])

    def test(self, word: Token, condition: Group) -> Condition:
        if not condition.items:
            raise refused(word, "eval has no condition", "write eval(CONDITION)")
        return Test(word, condition)

    def nested(self, conditions: list[Condition]) -> Condition:
        if not conditions:
            raise ExpressionError("a pair of brackets has no condition", suggestion="remove the brackets")
        return _combined("and", conditions)

    def pattern(self, *parts: Any) -> Condition:
        variable = parts[0] if isinstance(parts[0], Token) and parts[0].type == "VAR" else None
        kind, *rest = parts if variable is None else parts[1:]
        constraints = next((part for part in rest if isinstance(part, Group)), None)
        source = next((part for part in rest if isinstance(part, list)), None)
        return Pattern(variable or kind, variable, kind, constraints, source)

    def type(self, name: Token, *fields: Token) -> Token:
        if not fields:
            return name
        return Token.new_borrow_pos("NAME", fields[-1].value[1:].strip(), name)

    def source(self, first: Token, *steps: Item) -> list[Item]:
        return [first, *steps]

    def collecting(self, word: Token) -> list[Item]:
        advice = "compute it in a `rules` node before, and write from KEY"
        raise refused(word, f"from {word.value} has no counterpart", advice)

    def body(self, *statements: Statement | None) -> list[Statement]:
        return [statement for statement in statements if statement is not None]

    def done(self, words: Words) -> Statement:
        return words

    def words(self, *items: Item) -> Words:
        return Words(list(items))

    def choice(self, word: Token, *parts: Any) -> Statement:
        otherwise = parts[-1].statements if isinstance(parts[-1], _Otherwise) else []
        cases = parts[:-1] if isinstance(parts[-1], _Otherwise) else parts
        pairs = zip(cases[::2], cases[1::2], strict=True)
        return Choice(word, [(words.items, block) for words, block in pairs], otherwise)

    def otherwise(self, block: list[Statement]) -> _Otherwise:
        return _Otherwise(block)

    def block(self, statements: list[Statement]) -> list[Statement]:
        return statements

    def modify(self, word: Token, target: Group, words: Words | None = None) -> Statement:
        return Modify(word, target, [] if words is None else words.items)

    def round(self, opening: Token, *items: Item) -> Group:
        return Group(opening, list(items))

    def square(self, opening: Token, *items: Item) -> Group:
        return Group(opening, list(items))


@dataclass(frozen=True, slots=True)
class _Otherwise:
    """The block of an `else` without a condition."""

    statements: list[Statement]


def _combined(word: str, parts: Sequence[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else Combined(parts[0].token, word, list(parts))
