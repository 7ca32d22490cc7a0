"""Drools-like rules of rust-logic-graph's files when they are converted: a list of rules, or the text and why."""

from pathlib import Path

from anabranch.graph.dialect.convert import converted
from anabranch.graph.load import load_text
from anabranch.graph.model import RuleNode

FILE = """nodes:
  - id: plain
    node_type: Rule
    config:
      rule_content: |
        rule "plain" when Number(this > 1) from a then insert!(b => 2); end
  - id: loops
    node_type: Rule
    config:
      rule_content: |
        rule "loops" when Number(this < 9) from a then insert!(a => a + 1); end
edges: []
"""


def test_rules_become_a_list_and_those_that_have_none_stay_a_text_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "mixed.yaml").write_text(FILE)
    text = converted(tmp_path / "mixed.yaml", lists=True)
    assert "# stays a text: rule 'loops' reads `a`, which it writes" in text
    plain, loops = load_text(text, "ours.yaml").graph.nodes.values()
    assert isinstance(plain, RuleNode)
    assert isinstance(loops, RuleNode)
    assert (plain.grl, plain.rules and plain.rules[0].then) == (None, {"b": 2})
    assert (loops.rules, (loops.grl or "").partition(" when")[0]) == (None, 'rule "loops"')
