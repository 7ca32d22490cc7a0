"""The options of the commands that tell a run something; each imports what it does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from anabranch.cli.run_commands import JsonOption, RunIdOption, quiet
from anabranch.cli.together import together

if TYPE_CHECKING:
    from anabranch.cli.steer import Verb
    from anabranch.cli.steered import Steering

RunArgument: TypeAlias = Annotated[str, typer.Argument(metavar="RUN", help="A workflow id.")]
NodeArgument: TypeAlias = Annotated[
    str | None,
    typer.Argument(metavar="NODE", help="Its address; may be left out where only one waits."),
]
ByOption: TypeAlias = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who does it; by default the name of the login.")
]
TimeoutOption: TypeAlias = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long it waits for the run's answer.")
]
UpdateIdOption: TypeAlias = Annotated[
    str | None, typer.Option("--update-id", metavar="ID", help="That of an update which was sent before.")
]
SetOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Edit the context that the node sees. The value is JSON or text."),
]
RemoveOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--remove", metavar="PATH", help="Remove a path from that context.")
]


@dataclass(frozen=True, slots=True)
class Told:
    """Which run is told something, and by whom."""

    run: RunArgument
    by: ByOption = None
    run_id: RunIdOption = None
    as_json: JsonOption = False

    def steering(self, timeout: float = 60) -> Steering:
        """The same, for what does it."""
        from anabranch.cli.steered import Steering

        return Steering(self.run, self.run_id, self.by, timeout, None, self.as_json)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which run is asked to do something, by whom, and how long its answer is waited for."""

    run: RunArgument
    by: ByOption = None
    timeout: TimeoutOption = 60
    update_id: UpdateIdOption = None
    run_id: RunIdOption = None
    as_json: JsonOption = False

    def steering(self) -> Steering:
        """The same, for what does it."""
        from anabranch.cli.steered import Steering

        return Steering(self.run, self.run_id, self.by, self.timeout, self.update_id, self.as_json)


@together(Asked)
def answer(
    asked: Asked,
    *,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NODE|KEY=VALUE",
            help="The address of the approval, which may be left out where only one waits; then properties of the "
            "answer. A value is JSON or text.",
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--input", "-i", metavar="JSON", help="The whole answer; `-` is standard input.")
    ] = None,
    verdict: Annotated[
        bool | None, typer.Option("--approve/--reject", help="Yes or no: the one boolean of the question's schema.")
    ] = None,
) -> None:
    """Answer an approval. Without an answer, on a terminal, it is shown: what is asked, and what an answer must fit.

    An answer that does not fit is refused before it is sent.
    """
    node, pairs = None, words or []
    if pairs and "=" not in pairs[0]:
        node, *pairs = pairs
    if text is not None and (verdict is not None or pairs):
        raise typer.BadParameter("it is the whole answer: give no other", param_hint="--input")
    from anabranch.cli.answers import Answer
    from anabranch.cli.steer import answer_run

    with quiet():
        asyncio.run(answer_run(asked.steering(), node, Answer(text, verdict, pairs)))


@together(Asked)
def resolve(
    asked: Asked,
    *,
    node: NodeArgument = None,
    path: Annotated[
        str | None, typer.Argument(metavar="PATH", help="Where branches differ; may be left out where one path does.")
    ] = None,
    candidate: Annotated[
        str | None, typer.Option("--choose", metavar="WRITER", help="A candidate: who wrote it, or its index.")
    ] = None,
    value: Annotated[str | None, typer.Option("--value", metavar="JSON", help="Another value.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the key.")] = False,
) -> None:
    """Settle a conflict at a join. Without a choice, on a terminal, it is shown: who wrote what."""
    from anabranch.cli.answers import Choice
    from anabranch.cli.steer import resolve_run

    with quiet():
        asyncio.run(resolve_run(asked.steering(), node, path, Choice(candidate, value, remove)))


@together(Asked)
def retry(
    asked: Asked,
    *,
    node: NodeArgument = None,
    pairs: SetOption = None,
    removed: RemoveOption = None,
) -> None:
    """Try a paused node again, on an edited context if need be."""
    _operate(asked, "retry", node, pairs, removed)


@together(Asked)
def skip(
    asked: Asked,
    *,
    node: NodeArgument = None,
    pairs: SetOption = None,
    removed: RemoveOption = None,
) -> None:
    """Go on as if a paused node had succeeded, and had written what --set says."""
    _operate(asked, "skip", node, pairs, removed)


@together(Asked)
def fail(
    asked: Asked,
    *,
    node: NodeArgument = None,
) -> None:
    """Let the failure of a paused node stand."""
    _operate(asked, "fail", node)


def _operate(
    asked: Asked, verb: Verb, node: str | None, pairs: list[str] | None = None, removed: list[str] | None = None
) -> None:
    from anabranch.cli.steer import operate

    with quiet():
        asyncio.run(operate(asked.steering(), verb, node, pairs or (), removed or ()))


@together(Told)
def pause(told: Told) -> None:
    """Start nothing new in a run. What runs goes on, and answers are taken."""
    _hold(told, is_paused=True)


@together(Told)
def resume(told: Told) -> None:
    """Let a run go on that was paused."""
    _hold(told, is_paused=False)


def _hold(told: Told, *, is_paused: bool) -> None:
    from anabranch.cli.steer import hold

    with quiet():
        asyncio.run(hold(told.steering(), is_paused=is_paused))


@together(Told)
def cancel(
    told: Told,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the run to its end; the exit code is 0 where it was cancelled.")
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="With --wait: for how long.")
    ] = 3600,
) -> None:
    """Show what a cancel of the run would undo, ask, and cancel it: what runs is cancelled, what was done is undone."""
    from anabranch.cli.cancel import cancel_run
    from anabranch.cli.report import may_ask

    if not yes and (told.as_json or not may_ask()):
        raise typer.BadParameter("nobody can be asked here: give it", param_hint="--yes")
    with quiet():
        code = asyncio.run(cancel_run(told.steering(timeout), yes=yes, wait=wait))
    if code:
        raise typer.Exit(code)


@together(Told)
def rerun(
    told: Told,
    *,
    nodes: Annotated[
        list[str] | None,
        typer.Option(
            "--from", metavar="NODE", help="It runs again, and what is behind it. Can be given several times."
        ),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="From the nodes that failed.")] = False,
    pairs: SetOption = None,
    removed: RemoveOption = None,
    graph: Annotated[
        str | None, typer.Option("--graph", metavar="G", help="On another graph: its file, or its name.")
    ] = None,
    unchanged: Annotated[
        str | None,
        typer.Option("--unchanged", metavar="keep", help="`keep`: what reads the same again keeps what it came to."),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it would do, and start nothing.")] = False,
    workflow_id: Annotated[
        str | None, typer.Option("--workflow-id", metavar="ID", help="Of the new run; by default `RUN-rerun-1`.")
    ] = None,
) -> None:
    """Run again, from some nodes on, a run that has ended: a new run takes over what that knew before them.

    Nodes that run again have their effects again. Steps that are kept are undone should the new run fail.
    """
    if unchanged not in (None, "keep"):
        raise typer.BadParameter("it is `keep`, or left out", param_hint="--unchanged")
    from anabranch.cli.rerun import Wish, rerun_run

    wish = Wish(nodes or (), failed, pairs or (), removed or (), unchanged == "keep", graph, workflow_id)
    with quiet():
        asyncio.run(rerun_run(told.steering(), wish, only_plan=plan))
