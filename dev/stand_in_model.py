"""A stand-in for a language model: an OpenAI-compatible server on this machine, for demos without a key or a network.

It is not a language model, and says so in its banner and in every answer. It reads an amount (`$1,499.99`) and a
number of earlier orders (`3 earlier orders`) from the prompt and decides by two fixed thresholds. Given tools, it calls
each of them once, all at once, with arguments that it makes up, and does not read what they answer.
`python -m anabranch.dev.stand_in_model` serves it until Ctrl-C; `serve()` does so inside a program.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from anabranch.loopback import serving

NAME = "anabranch-stand-in"
BANNER = (
    "The AI answers come from a stand-in on this machine, not from a language model: it decides by fixed thresholds. "
    "Set OPENAI_API_KEY to ask a real one."
)
DECLINE_OVER, DECLINE_BELOW_ORDERS = 1000.0, 1
REVIEW_OVER, REVIEW_BELOW_ORDERS = 500.0, 3

_AMOUNT = re.compile(r"\$\s?([\d,]+(?:\.\d+)?)")
_ORDERS = re.compile(r"(\d+)\s+(?:earlier|previous|prior|past)\s+orders?", re.IGNORECASE)
_ANSWER = "final_result"
"""What the name of the tool begins with that takes the answer, as pydantic-ai has it."""
_SCORES = {"APPROVE": 8, "REVIEW": 55, "DECLINE": 92}


@dataclass(frozen=True, slots=True)
class Decision:
    """What the thresholds decide about an order, and why."""

    action: str
    reason: str

    @property
    def score(self) -> int:
        """How likely a fraud, 0 to 100."""
        return _SCORES[self.action]


def decide(prompt: str) -> Decision:
    """Judge the last amount and number of earlier orders that the prompt names; without an amount it approves."""
    amounts, orders = _AMOUNT.findall(prompt), _ORDERS.findall(prompt)
    amount = float(amounts[-1].replace(",", "")) if amounts else 0.0
    earlier = int(orders[-1]) if orders else 0
    action = "APPROVE"
    if amount > REVIEW_OVER and earlier < REVIEW_BELOW_ORDERS:
        action = "REVIEW"
    if amount > DECLINE_OVER and earlier < DECLINE_BELOW_ORDERS:
        action = "DECLINE"
    return Decision(action, f"[stand-in, not a language model] {action}: ${amount:,.2f} after {earlier} earlier orders")


def fill(schema: dict[str, Any], decision: Decision, name: str = "") -> Any:
    """A value that fits a JSON Schema, and says what was decided where there is a property for it."""
    if "enum" in schema or "const" in schema:
        options = schema.get("enum", [schema.get("const")])
        return next((each for each in options if str(each).upper() == decision.action), options[0])
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = next(each for each in kind if each != "null") if isinstance(kind, list) else kind
    if kind == "object":
        return {key: fill(value, decision, key) for key, value in schema.get("properties", {}).items()}
    if kind in ("number", "integer"):
        return _bounded(decision.score if "score" in name or "risk" in name else 0, schema)
    plain = {"boolean": decision.action != "DECLINE", "array": [], "null": None}
    return plain.get(kind, decision.reason)


def _bounded(value: float, schema: dict[str, Any]) -> Any:
    return max(schema.get("minimum", value), min(schema.get("maximum", value), value))


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """Answer a chat completion request: by the tool or JSON Schema that it asks for, else in text."""
    prompt = "\n".join(_text(message.get("content")) for message in body["messages"] if message.get("role") == "user")
    decision = decide(prompt)
    message: dict[str, Any] = {"role": "assistant", "content": decision.reason}
    finish = "stop"
    if functions := _called(body):
        calls = [_call(function, decision) for function in functions]
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        finish = "tool_calls"
    elif (wanted := body.get("response_format", {})).get("type") == "json_schema":
        message["content"] = json.dumps(fill(wanted["json_schema"]["schema"], decision))
    return _completion(body, prompt, message, finish)


def _called(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The tools that are to be called: those of the caller first, then the one that takes the answer."""
    functions = [tool["function"] for tool in body.get("tools") or ()]
    others = [function for function in functions if not function["name"].startswith(_ANSWER)]
    is_told = any(message.get("role") == "tool" for message in body["messages"])
    if others and not is_told:
        return others
    return [function for function in functions if function["name"].startswith(_ANSWER)][:1]


def _call(function: dict[str, Any], decision: Decision) -> dict[str, Any]:
    arguments = json.dumps(fill(function.get("parameters", {}), decision))
    call = {"name": function["name"], "arguments": arguments}
    return {"id": f"call_{uuid.uuid4().hex[:12]}", "type": "function", "function": call}


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _completion(body: dict[str, Any], prompt: str, message: dict[str, Any], finish: str) -> dict[str, Any]:
    asked, answered = len(prompt) // 4 + 1, len(json.dumps(message)) // 4 + 1
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": f"{NAME} for {body.get('model', '?')}",
        "system_fingerprint": NAME,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered},
    }


async def _chat(request: Request) -> JSONResponse:
    try:
        body = await request.json()
        return JSONResponse(answer(body))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        fault = {"message": f"{NAME}: not a chat completion request: {error!r}", "type": "invalid_request_error"}
        return JSONResponse({"error": fault}, status_code=400)


app = Starlette(routes=[Route("/v1/chat/completions", _chat, methods=["POST"])])


@asynccontextmanager
async def serve(port: int = 0) -> AsyncGenerator[str]:
    """Serve on a loopback port, 0 for any free one; gives the base URL for `OPENAI_BASE_URL`."""
    async with serving(app, port) as url:
        yield f"{url}/v1"


async def main() -> None:
    """Serve until interrupted."""
    async with serve(port=11435) as url:
        print(f"{BANNER}\nOPENAI_BASE_URL={url} OPENAI_API_KEY=none-needed", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
