"""A child process that evaluates decision tables: the engine can be neither charged nor stopped, and aborts on failure.

It is run as a file and imports nothing of ours, so that it starts in a tenth of a second. Standard input is a socket:
each request is a line of JSON, and so is each answer. It ends when the socket closes, as when its parent is killed.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import socket
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zen

MAX_SECONDS = 1.5
"""Processor time of one evaluation."""
MAX_BYTES = 256 * 1024 * 1024
"""Memory of one evaluation, beside what the process takes anyway."""
_KEPT = 64
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ENGINE = zen.ZenEngine()
_decisions: OrderedDict[str, tuple[Any, list[dict[str, Any]]]] = OrderedDict()


class _CellFailed(Exception):
    def __init__(
        self, table: dict[str, Any], row: int, column: dict[str, Any], cell: str, reason: BaseException
    ) -> None:
        super().__init__(cell)
        self.described = {
            "table": table.get("name"),
            "row": row,
            "column": column.get("name") or column.get("field") or column.get("id"),
            "cell": cell,
            "reason": str(reason),
        }


def main() -> None:
    """Answer requests until the socket closes."""
    _limit()
    with socket.socket(fileno=0) as parent, parent.makefile("rwb") as lines:
        for line in lines:
            request = json.loads(line)
            signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
            answer = json.dumps(_answer(request["table"], request["inputs"], tells_rows=request["rows"]))
            signal.setitimer(signal.ITIMER_PROF, 0)
            lines.write(answer.encode() + b"\n")
            lines.flush()


def _limit() -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # which ends the process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere the limit is not kept
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MAX_BYTES, taken + MAX_BYTES))


def _answer(text: str, inputs: dict[str, Any], *, tells_rows: bool) -> dict[str, Any]:
    try:
        decision, nodes = _decision(text)
        found = decision.evaluate(inputs, {"trace": True})
        _check(nodes, found["trace"])
    except _CellFailed as failed:
        return {"cell": failed.described}
    except MemoryError:
        return {"memory": True}
    except BaseException as error:  # the engine's panics derive from it
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        return {"error": str(error)}
    return {"result": found["result"], **({"rows": list(_fired(nodes, found["trace"]))} if tells_rows else {})}


def _decision(text: str) -> tuple[Any, list[dict[str, Any]]]:
    if text not in _decisions:
        nodes = [node for node in json.loads(text)["nodes"] if node["type"] == "decisionTableNode"]
        _decisions[text] = _ENGINE.create_decision(text), nodes
        if len(_decisions) > _KEPT:
            _decisions.popitem(last=False)
    _decisions.move_to_end(text)
    return _decisions[text]


def _fired(nodes: list[dict[str, Any]], trace: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows that decided, in their order, each with its cells that say when it does."""
    by_id = {node["id"]: node for node in nodes}
    for _, name in sorted((each["order"], name) for name, each in trace.items() if name in by_id):
        content, told = by_id[name]["content"], trace[name].get("traceData")
        for index in (hit["index"] for hit in (told if isinstance(told, list) else [told]) if isinstance(hit, dict)):
            rule, columns = content["rules"][index], content.get("inputs") or ()
            cells = (
                ((column.get("field") or "").strip(), (rule.get(column["id"]) or "").strip()) for column in columns
            )
            yield {"table": by_id[name].get("name"), "row": index + 1, "when": [each for each in cells if each[1]]}


def _check(nodes: list[dict[str, Any]], trace: dict[str, Any]) -> None:
    """Find the cells that the engine took for false, or passed over, because they could not be evaluated."""
    visited = sorted((each["order"], name) for name, each in trace.items())
    by_id = {node["id"]: node for node in nodes}
    for _, name in visited:
        if name in by_id and not _needs_the_engine(by_id[name]["content"]):
            for inputs in _inputs(by_id[name]["content"], trace[name]["input"]):
                _check_table(by_id[name], inputs)


def _inputs(content: dict[str, Any], inputs: Any) -> list[dict[str, Any]]:
    if content.get("inputField") and isinstance(inputs, dict):
        inputs = zen.evaluate_expression(content["inputField"], inputs)
    each = inputs if content.get("executionMode") == "loop" and isinstance(inputs, list) else [inputs]
    return [one for one in each if isinstance(one, dict)]


def _check_table(node: dict[str, Any], inputs: dict[str, Any]) -> None:
    content = node["content"]
    for row, rule in enumerate(content.get("rules") or (), start=1):
        if not all(_holds(node, row, column, rule, inputs) for column in content.get("inputs") or ()):
            continue
        for column in content.get("outputs") or ():
            if cell := (rule.get(column["id"]) or "").strip():
                _evaluated(node, row, column, cell, inputs)
        if content.get("hitPolicy", "first") == "first":
            return


def _holds(
    node: dict[str, Any], row: int, column: dict[str, Any], rule: dict[str, Any], inputs: dict[str, Any]
) -> bool:
    cell = (rule.get(column["id"]) or "").strip()
    if not cell:
        return True
    field = (column.get("field") or "").strip()
    if not field:
        return _evaluated(node, row, column, cell, inputs) is True
    value = _evaluated(node, row, column, field, inputs)
    try:
        return zen.evaluate_unary_expression(cell, {**_named(cell, inputs), "$": value}) is True
    except Exception as error:
        raise _CellFailed(node, row, column, cell, error) from None


def _evaluated(node: dict[str, Any], row: int, column: dict[str, Any], source: str, inputs: dict[str, Any]) -> Any:
    try:
        return zen.evaluate_expression(source, _named(source, inputs))
    except Exception as error:
        raise _CellFailed(node, row, column, source, error) from None


def _named(source: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """What an expression may read: all that it is given is converted each time."""
    return {name: inputs[name] for name in _WORD.findall(source) if name in inputs}


def _needs_the_engine(content: dict[str, Any]) -> bool:
    """Whether a table reads what only the engine knows: then nothing shows which of its rows hold."""
    text = json.dumps(content)
    return "$nodes" in text or "$root" in text


if __name__ == "__main__":
    main()
