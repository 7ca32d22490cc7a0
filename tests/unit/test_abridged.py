"""What is long is shown in part, and what is left out is counted."""

from __future__ import annotations

import json

from anabranch.cli.abridged import Left, abridged, folded, names
from anabranch.context.values import Json


def shown(*addresses: str) -> list[str]:
    return [str(each) for each in folded(addresses, str)]


def test_of_a_long_list_the_first_and_the_last_of_what_bodies_did_are_shown() -> None:
    steps = [f"each[{index}]/step" for index in range(1000)]
    assert shown("before", *steps, "after") == [
        "before",
        *steps[:3],
        "… 996 more in each",
        steps[-1],
        "after",
    ]


def test_what_two_bodies_did_beside_each_other_is_one_line() -> None:
    steps = [f"{'ab'[index % 2]}[{index // 2}]/step" for index in range(50)]
    assert shown(*steps)[3] == "… 46 more in b, a"


def test_a_short_list_and_nodes_of_the_graph_itself_are_shown_whole() -> None:
    short = [f"each[{index}]/step" for index in range(40)]
    own = [f"node{index}" for index in range(100)]
    outside = [f"outside:crm[{index}]" for index in range(100)]
    assert (shown(*short), shown(*own), shown(*outside)) == (short, own, outside)


def test_what_is_left_out_can_be_looked_at() -> None:
    (left,) = [each for each in folded(range(100), lambda each: f"each[{each}]/step") if isinstance(each, Left)]
    assert [*left.entries] == [*range(3, 99)]


def test_addresses_in_a_row_are_folded() -> None:
    assert names([f"each[{index}]" for index in range(50)]) == "each[0], each[1], each[2], … 46 more in each, each[49]"


def test_what_is_short_is_shown_as_it_is() -> None:
    data: dict[str, Json] = {
        "a": [1, {"b": []}],
        "text": "x" * 300,
        "n": 12345678901234567890,
        "none": None,
        "empty": {},
    }
    assert abridged(data) == (json.dumps(data, indent=2), False)


def test_long_lists_and_texts_are_cut_outside_of_the_quotes() -> None:
    data: dict[str, Json] = {"list": [*range(1000)], "text": "x" * 10_000, "inner": {"of": [*["…"] * 12]}}
    text, is_cut = abridged(data)
    lines = text.split("\n")
    assert is_cut
    assert lines[12:14] == ["    … 990 more", "  ],"]
    assert lines[14] == f'  "text": "{"x" * 300}" … 9,700 more characters,'
    assert lines[-4:] == ["      … 2 more", "    ]", "  }", "}"]


def test_of_many_keys_the_first_lines_are_shown() -> None:
    text, is_cut = abridged({f"key{index}": index for index in range(5000)})
    assert (is_cut, text.split("\n")[-1], text.count("\n")) == (True, "… 4,802 more lines", 200)


def test_what_would_not_be_seen_is_escaped() -> None:
    assert abridged({"a": "\x1b[31m\u202e"})[0] == '{\n  "a": "\\u001b[31m\\u202e"\n}'
