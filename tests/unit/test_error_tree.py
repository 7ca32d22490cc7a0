"""The tree that stands above `anabranch/errors.py`, against the classes."""

import re

from anabranch import errors
from anabranch.errors import AnabranchError

_LINE = re.compile(
    r"(?P<depth>[│ ├└─]*)(?P<name>\w+)(?: \(\w+\))? +(?P<code>[A-Z_]+) +(?P<retry>no|yes.*|by .*|once .*)"
)


def _below(error: type[AnabranchError], depth: int = 1) -> dict[str, tuple[int, str, bool]]:
    found: dict[str, tuple[int, str, bool]] = {}
    for each in error.__subclasses__():
        if each.__module__ == errors.__name__:
            found |= {each.__name__: (depth, each.code, each.retryable)} | _below(each, depth + 1)
    return found


def test_the_tree_has_every_error_with_its_code_and_whether_it_may_be_retried() -> None:
    lines = [match for line in (errors.__doc__ or "").splitlines() if (match := _LINE.fullmatch(line))]
    drawn = {each["name"]: (len(each["depth"]) // 4, each["code"], each["retry"].startswith("yes")) for each in lines}
    assert drawn == _below(AnabranchError)
