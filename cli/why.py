"""`anabranch why`: the causes of a value, or of a node, as a tree that leads back to the input."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text
from rich.tree import Tree

from anabranch.cli.opening import Opened
from anabranch.cli.report import print_block, print_json
from anabranch.cli.versions import short
from anabranch.context.values import Missing, parse_path
from anabranch.display import one_line, plain
from anabranch.inspection import reports
from anabranch.inspection.why import Cause, Condition, Seen, Slice, Why

_LONGEST = 300
_DEEPEST = 12
_MANY = 12
_WROTE = 4


async def show_why(opened: Opened, path: str | None, node: str | None, moment: str | None, *, as_json: bool) -> None:
    """Print why. Raises InputError where there is nothing to tell of."""
    if moment is not None:
        opened = await opened.at(moment)
    why = Why(opened.inspection, opened.lineage)
    found = why.node(node) if node is not None else why.path(parse_path(path or ""))
    if as_json:
        print_json(reports.why(found))
    else:
        print_block(_Drawing(found).tree())


class _Drawing:
    """Draws a slice. A version is drawn once; elsewhere its number refers to it."""

    def __init__(self, found: Slice) -> None:
        self._found = found
        self._causes = {cause.version: cause for cause in found.causes}
        self._drawn: set[int] = set()

    def tree(self) -> Tree:
        """The whole answer."""
        found = self._found
        if found.status is not None:
            head = Text.assemble((plain(found.about), "bold"), f" {found.status.replace('_', ' ')}")
        else:
            head = Text.assemble((plain(found.about), "bold"), f" = {_value(found.value)}")
        tree = Tree(head, guide_style="dim")
        self._conditions(tree, found.conditions)
        if found.status is not None and not found.conditions:
            tree.add(f"no edge leads to it: it starts with {_around(found.about)}")
        self._versions(tree, found.roots, 0)
        return tree

    def _versions(self, branch: Tree, numbers: Iterable[int], depth: int) -> None:
        for number in numbers:
            if (cause := self._causes.get(number)) is None:
                branch.add(Text(f"version {number}: in the history of an earlier run", "dim"))
            elif number in self._drawn or depth > _DEEPEST:
                branch.add(Text.assemble(f"version {number} by {plain(cause.by)}", (" (above)", "dim")))
            else:
                self._drawn.add(number)
                self._cause(branch.add(_head(cause)), cause, depth)

    def _cause(self, branch: Tree, cause: Cause, depth: int) -> None:
        for did in cause.did:
            branch.add(Text(one_line(did, _LONGEST), "cyan"))
        self._conditions(branch, [each for each in cause.conditions if each.values])
        for read in cause.reads[:_MANY]:
            self._versions(branch.add(Text.assemble(("read ", "dim"), _told(read))), read.versions, depth + 1)
        if len(cause.reads) > _MANY:
            branch.add(Text(f"and {len(cause.reads) - _MANY} more", "dim"))

    def _conditions(self, branch: Tree, conditions: Iterable[Condition]) -> None:
        for each in conditions:
            mark = ("✔ ", "green") if each.held else ("✘ ", "red")
            whence = "" if each.source is None else f"{plain(each.source)} {each.source_status.replace('_', ' ')} → "
            line = branch.add(Text.assemble(mark, whence, one_line(each.text, _LONGEST)))
            for value in each.values:
                line.add(_told(value))
            self._conditions(line, each.because)


def _around(address: str) -> str:
    """What a node is in: the run, or a composite, or one of its items or turns."""
    around, slash, _ = address.rpartition("/")
    return plain(around) if slash else "the run"


def _head(cause: Cause) -> Text:
    written = [f"{path} = {short(value, 'null')}" for path, value in cause.wrote.items()]
    written += [f"{path} removed" for path in cause.removed]
    more = f", and {len(written) - _WROTE:,} more" if len(written) > _WROTE else ""
    about = cause.type if cause.kind == "node" else "" if cause.kind == cause.by else cause.kind
    return Text.assemble(
        (f"version {cause.version}", "bold"),
        f" by {plain(cause.by)}",
        f" ({about})" if about else "",
        (f"  {plain(', '.join(written[:_WROTE]))}{more}", "dim"),
    )


def _told(read: Seen) -> Text:
    return Text(f"{plain(read.path)} = {_value(read.value)}")


def _value(value: object) -> str:
    return "absent" if isinstance(value, Missing) else plain(short(value, "null"))
