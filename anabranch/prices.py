"""What language models cost, as an operator says it: prices for a million tokens, in a currency of the operator's."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

_MILLION: Final = 1_000_000


class Price(NamedTuple):
    """What a million tokens cost, of prompts and of answers."""

    input: Decimal
    output: Decimal

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """The cost of so many."""
        return float((self.input * input_tokens + self.output * output_tokens) / _MILLION)


def prices_of(text: str) -> Mapping[str, Price]:
    """The table of a text: `openai:gpt-4o=2.50/10, anthropic:claude-sonnet-4-5=3/15`. Raises ValueError."""
    return dict(_entry(part.strip()) for part in text.split(",") if part.strip())


def _entry(text: str) -> tuple[str, Price]:
    model, _, prices = text.rpartition("=")
    price = _price(prices)
    if price is None or ":" not in model:
        raise ValueError(f"{text[:128]!r} is no price of a model; write provider:model=2.50/10, for a million tokens")
    return model.strip(), price


def _price(text: str) -> Price | None:
    """A price such as `2.50/10`; None of what is none."""
    try:
        asked, answered = map(Decimal, text.split("/"))
        is_price = asked.is_finite() and answered.is_finite() and asked >= 0 and answered >= 0
    except (InvalidOperation, ValueError):
        return None
    return Price(asked, answered) if is_price else None
