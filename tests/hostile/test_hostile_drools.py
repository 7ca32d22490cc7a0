"""Texts that are almost Drools-like rules: each is read, or refused at a place inside the text, and never otherwise."""

import random

import pytest

from anabranch.activities.rules.chaining import evaluate_chain
from anabranch.context.values import Json, check_value
from anabranch.errors import AnabranchError, ExpressionError
from anabranch.graph.rules.conversion import to_rules
from anabranch.graph.rules.rules_text import parse_rules
from tests.unit.test_drools import RUN, SHIPPING
from tests.unit.test_rules_conversion import NOTE

PIECES = [
    *("rule", "when", "then", "end", "if", "else", "not", "exists", "or", "and", "from", "eval", "modify", "in"),
    *("(", ")", "[", "]", "{", "}", ",", ";", ":", ".", ".x", "=>", "=", "==", "+=", "&&", "||", "!", "?", "-", "/"),
    *("$a", "$total", "$", "this", "insert!", "format!", "update", "Retract", "Number", "Order", "collect", "context"),
    *("run", "nil", "1", "1.5f", "1__0", "9" * 40, '"x"', "'", '"', '"{}"', '"{:.99}"', "matches", "contains", "\\"),
    *("salience", "no-loop", "agenda-group", "package a;", "import a.*;", "//", "/*", "*/", "\0", "é", "\u202e", "\n"),
]
DATA: dict[str, Json] = {"order_total": 5, "total_weight": 2, "state": "NEW", "order": {"total": 2}, "level": 2, "x": 1}


def mutated(text: str, rng: random.Random) -> str:
    """The text with a few pieces put in, taken out or moved."""
    words = text.replace("(", " ( ").replace(")", " ) ").replace(";", " ; ").split(" ")
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(words))
        match rng.randrange(4):
            case 0:
                words.insert(at, rng.choice(PIECES))
            case 1:
                words[at] = rng.choice(PIECES)
            case 2:
                del words[at : at + rng.randint(1, 3)]
            case _:
                words.insert(at, words[rng.randrange(len(words))])
    return " ".join(words)


def refusal(text: str) -> tuple[int, int] | None:
    """Where the text is refused, if it is."""
    try:
        parse_rules(text)
    except ExpressionError as error:
        return error.line, error.column
    return None


def outcome(text: str) -> str:
    """What the rules of a text that is read come to: a value, or the code of an error."""
    try:
        check_value(dict(evaluate_chain(text, DATA, RUN).changes))
        to_rules(text)
    except AnabranchError as error:
        return error.code
    return "value"


@pytest.mark.parametrize("seed", range(8))
def test_a_text_is_read_or_refused_at_a_place_of_it(seed: int) -> None:
    rng = random.Random(seed)
    texts = [mutated(rng.choice((SHIPPING, NOTE)), rng) for _ in range(100)]
    places = [(text.split("\n"), refusal(text)) for text in texts]
    refused = [(lines, place) for lines, place in places if place is not None]
    assert 10 < len(refused) < 100
    for lines, (line, column) in refused:
        assert 1 <= line <= len(lines), lines
        assert 1 <= column <= len(lines[line - 1]) + 1, lines
    assert {outcome(text) for text in texts} <= {"value", "EXPRESSION_FAILED", "EXPRESSION_INVALID"}
