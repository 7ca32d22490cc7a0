"""The stand-in model's thresholds, and what it fills a schema with."""

import json

import pytest

from anabranch.dev.stand_in_model import NAME, answer, decide, fill

SCHEMA = {
    "type": "object",
    "properties": {
        "payment_valid": {"type": "boolean"},
        "fraud_score": {"type": "number", "minimum": 0, "maximum": 100},
        "action": {"enum": ["APPROVE", "REVIEW", "DECLINE"]},
        "reason": {"type": ["string", "null"]},
    },
}


@pytest.mark.parametrize(
    ("prompt", "action"),
    [
        ("Total $89.50, 12 earlier orders", "APPROVE"),
        ("Total $1,499.99, 12 previous orders", "APPROVE"),
        ("Total $850, after 1 earlier orders", "REVIEW"),
        ("Total $1,499.99, 0 earlier orders", "DECLINE"),
        ("Gift card of $5. Total $48999.00, 0 prior orders", "DECLINE"),
        ("hello", "APPROVE"),
    ],
)
def test_a_large_amount_after_few_orders_is_declined_or_reviewed(prompt: str, action: str) -> None:
    assert decide(prompt).action == action


def test_a_schema_is_filled_by_what_was_decided() -> None:
    filled = fill(SCHEMA, decide("$5000, 0 earlier orders"))
    assert filled == {
        "payment_valid": False,
        "fraud_score": 92,
        "action": "DECLINE",
        "reason": "[stand-in, not a language model] DECLINE: $5,000.00 after 0 earlier orders",
    }


def test_only_the_user_s_words_are_read_and_every_answer_says_what_it_is() -> None:
    messages = [{"role": "system", "content": "A fraud is $9999"}, {"role": "user", "content": "$10, 3 earlier orders"}]
    body = answer({"model": "gpt-4", "messages": messages})
    assert body["model"] == f"{NAME} for gpt-4"
    assert body["choices"][0]["message"]["content"].startswith("[stand-in, not a language model] APPROVE: $10.00")


def test_a_json_schema_response_format_is_answered_in_json() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "$10"}]}]
    body = answer({"messages": messages, "response_format": wanted})
    assert json.loads(body["choices"][0]["message"]["content"])["action"] == "APPROVE"
