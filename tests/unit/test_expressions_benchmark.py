import re
from pathlib import Path

import pytest

from benchmarks import expressions


def test_each_kind_is_evaluated_and_has_a_value() -> None:
    values = {kind: evaluate() for kind, evaluate in expressions.kinds().items()}
    assert {kind.partition(":")[0] for kind in values} == {"condition", "template", "rules"}
    assert {kind for kind, value in values.items() if kind.startswith("condition") and value is not True} == set()
    assert values["template: map and sum"] == sum(1.5 * i * (i % 4) for i in range(20))


def test_it_prints_each_kind_beside_another_tree(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expressions, "CONDITIONS", {"compare": "total > 100"})
    monkeypatch.setattr(expressions, "TEMPLATES", {})
    monkeypatch.setattr(expressions, "RULES", {})
    expressions.main(["--rounds", "1", "--against", str(Path(__file__).parents[2])])
    first, row = capsys.readouterr().out.splitlines()
    assert first == "1,000 evaluations, fastest of 1 rounds: here, there, ratio"
    assert re.fullmatch(r"condition: compare +\d+\.\d\d ms +\d+\.\d\d ms +\d\.\d\d", row)
