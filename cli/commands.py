"""The options of the commands that play graphs, or start servers and workers; each imports what it does."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anabranch.cli.arguments import (
    ContextOption,
    FileArgument,
    FileOption,
    GraphsOption,
    ImportOption,
    InputOption,
    JsonOption,
    OutcomesOption,
    Played,
    SetOption,
    TaskQueueOption,
    VerboseOption,
    the_file,
)
from anabranch.cli.inputs import context_data
from anabranch.cli.report import out, show_problems
from anabranch.cli.together import together
from anabranch.settings import Settings, settings_from_environment

if TYPE_CHECKING:
    from anabranch.graph.load import LoadedGraph


@together(Played)
def dry_run(played: Played, *, verbose: VerboseOption = False) -> None:
    """Show what a run would do, without a server.

    Rules are evaluated. Other nodes end as --outcomes says; without it they are assumed to succeed with example values.
    """
    path = played.path
    from anabranch.cli.dry_run import Shown, rehearse

    settings = settings_from_environment(imports=played.imports)
    loaded = _loaded(path, settings)
    shown = Shown.RESULT if played.as_json else Shown.ALL if verbose else Shown.STEPS
    _leave(rehearse(loaded, played.data(), played.outcomes, settings, shown=shown))


def profile(
    *,
    file: FileArgument = None,
    file_option: FileOption = None,
    source: Annotated[
        str | None, typer.Option("--input", metavar="JSON-FILE", help="As --context; `-` is standard input.")
    ] = None,
    context: ContextOption = None,
    assignments: SetOption = None,
    outcomes: OutcomesOption = None,
    iterations: Annotated[
        int, typer.Option("--iterations", "-i", metavar="N", min=1, max=100_000, help="How many dry runs are measured.")
    ] = 100,
    imports: ImportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where the time of a graph goes, over many dry runs: rules and templates are evaluated, and measured."""
    path = the_file(file, file_option)
    from anabranch.cli.profile import profile_graph
    from anabranch.graph.plan import plan_graph
    from anabranch.testkit.given import read_outcomes

    settings = settings_from_environment(imports=imports)
    loaded = _loaded(path, settings)
    given = dict(read_outcomes(outcomes, plan_graph(loaded.graph, loaded.graphs))) if outcomes else {}
    data = context_data(source, assignments or [], context)
    _leave(profile_graph(loaded, data, given, settings, iterations=iterations, as_json=as_json))


def test_graphs(
    *,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Test files, or folders with `*.test.yaml` files.")
    ],
    each_fails: Annotated[
        bool,
        typer.Option(
            "--fail-each-node", help="Also let each node of each test fail once, and show what would be undone."
        ),
    ] = False,
    min_coverage: Annotated[
        float | None,
        typer.Option("--min-coverage", metavar="PCT", min=0, max=100, help="Fail if the tests cover less of a graph."),
    ] = None,
    imports: ImportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the tests of graphs, in virtual time and without a server: the path of a run, what it writes and undoes."""
    from anabranch.cli.test_command import TestOptions, run_tests

    settings = settings_from_environment(imports=imports)
    _leave(run_tests(files, settings, TestOptions(each_fails, min_coverage, as_json)))


def run(
    *,
    file: FileArgument = None,
    file_option: FileOption = None,
    source: InputOption = None,
    assignments: SetOption = None,
    workflow_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="The workflow's id; by default as the graph says, or its name and random letters.",
        ),
    ] = None,
    follow: Annotated[
        bool | None,
        typer.Option("--follow/--no-follow", help="Draw the run while it runs; the default on a terminal."),
    ] = None,
    as_json: JsonOption = False,
    worker: Annotated[
        bool, typer.Option("--worker", help="With a server that the environment names: also run a worker.")
    ] = False,
    imports: ImportOption = None,
    task_queue: TaskQueueOption = None,
) -> None:
    """Run a graph and print its result.

    The server is the one that the environment names (TEMPORAL_ADDRESS or a Temporal profile), and a worker must listen
    there. If none is named, a server and a worker are started for this run only.
    """
    path = the_file(file, file_option)
    from anabranch.cli.leaving import run_until_over
    from anabranch.cli.logs import log_to_stderr
    from anabranch.cli.run import RunOptions, execute
    from anabranch.graph.plan import plan_graph
    from anabranch.graph.run_id import run_id
    from anabranch.observe.traces_process import traces_sent
    from anabranch.workflows.interpreter.input import check_input

    settings = settings_from_environment(task_queue=task_queue, graphs=path.parent, graphs_below=False, imports=imports)
    loaded = _loaded(path, settings)
    data = context_data(source, assignments or [])
    check_input(plan_graph(loaded.graph, loaded.graphs), data)
    options = RunOptions(
        loaded,
        data,
        settings,
        workflow_id or run_id(loaded.graph, data) or f"{loaded.graph.name}-{uuid.uuid4().hex[:8]}",
        follow=(out().is_terminal and not as_json) if follow is None else follow,
        as_json=as_json,
        worker=worker,
    )
    log_to_stderr(logging.ERROR, of_runs=False)
    with traces_sent(settings):
        code = run_until_over(execute(options))
    _leave(code)


def worker(task_queue: TaskQueueOption = None, graphs: GraphsOption = None, imports: ImportOption = None) -> None:
    """Serve every graph of a folder until Ctrl-C, on a task queue of the server that the environment names."""
    from anabranch.cli.leaving import run_until_over
    from anabranch.cli.local import work
    from anabranch.cli.logs import log_of_worker
    from anabranch.observe.traces_process import traces_sent

    settings = settings_from_environment(task_queue=task_queue, graphs=graphs, imports=imports)
    log_of_worker(settings)
    with traces_sent(settings):
        run_until_over(work(settings))


def dev(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Temporal's port.")] = 7233,
    ui_port: Annotated[int, typer.Option(min=1, max=65535, help="The Web UI's port.")] = 8233,
    console_port: Annotated[
        int | None,
        typer.Option(
            "--console-port",
            "--codec-port",
            min=0,
            max=65535,
            help="The console's port, and the codec server's; 0 is any. The default is 8234, or any if that is taken.",
        ),
    ] = None,
    db: Annotated[
        Path | None, typer.Option("--db", metavar="FILE", help="Keep runs in this SQLite file; by default in memory.")
    ] = None,
    task_queue: TaskQueueOption = None,
    graphs: GraphsOption = None,
    imports: ImportOption = None,
    demo_services: Annotated[
        bool | None,
        typer.Option(
            "--with-demo-services/--without-demo-services",
            help="The database and model of the examples; the default for the shipped examples without POSTGRES_URL.",
        ),
    ] = None,
) -> None:
    """Start a Temporal server, its Web UI, the console and a worker, until Ctrl-C."""
    from anabranch.cli.dev import Ports, develop
    from anabranch.cli.leaving import run_until_over
    from anabranch.cli.logs import log_to_stderr
    from anabranch.observe.traces_process import traces_sent

    log_to_stderr(logging.WARNING)
    chosen = settings_from_environment(task_queue=task_queue, graphs=graphs, imports=imports)
    with traces_sent(chosen):
        run_until_over(develop(chosen, Ports(port, ui_port, console_port), database=db, demo_services=demo_services))


def console(
    *,
    address: Annotated[
        str, typer.Option(metavar="IP", help="Where to listen. Other machines reach it elsewhere than on 127.0.0.1.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 is any.")] = 8234,
    hosts: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME", help="A name by which browsers reach it; over ANABRANCH_CONSOLE_HOSTS."),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Show everything, and change nothing.")] = False,
    web_ui: Annotated[
        str | None, typer.Option("--web-ui", metavar="URL", help="Temporal's Web UI, for links to its events.")
    ] = None,
    task_queue: TaskQueueOption = None,
    graphs: GraphsOption = None,
) -> None:
    """Serve the console until Ctrl-C: see, steer and start runs in a browser. The codec server is at `/codec`.

    It shows the server that the environment names, as a program: no worker is needed to look. Elsewhere than on the
    loopback interface people sign in: with ANABRANCH_CONSOLE_TOKENS, or by ANABRANCH_CONSOLE_ISSUER.
    """
    from anabranch.cli.console import ConsoleOptions, serve_console
    from anabranch.cli.leaving import run_until_over
    from anabranch.cli.logs import log_to_stderr

    log_to_stderr(logging.WARNING)
    chosen = settings_from_environment(
        task_queue=task_queue, graphs=graphs, console_hosts=None if hosts is None else tuple(hosts)
    )
    run_until_over(serve_console(chosen, ConsoleOptions(address, port, read_only, web_ui)))


def codec(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="On the loopback interface; 0 is any.")] = 8234,
    origins: Annotated[
        list[str] | None,
        typer.Option("--origin", metavar="URL", help="A page that may use it, such as that of the Temporal Web UI."),
    ] = None,
) -> None:
    """Serve the codec server until Ctrl-C: it shows payloads to `temporal --codec-endpoint` and to the Web UI.

    Where payloads are encrypted it asks for ANABRANCH_CODEC_TOKEN: `--codec-auth "Bearer …"`. A browser signs in with
    it at the server's page, for the Web UI.
    """
    from anabranch.cli.codec import serve_codec
    from anabranch.cli.leaving import run_until_over
    from anabranch.cli.logs import log_to_stderr

    log_to_stderr(logging.WARNING)
    run_until_over(serve_codec(settings_from_environment(), port, origins or ()))


def setup_namespace(
    graphs: Annotated[
        Path | None,
        typer.Option("--graphs", metavar="DIR", help="Also those that the graphs of this folder have of their own."),
    ] = None,
) -> None:
    """Register the search attributes by which runs are found, in the namespace that the environment names.

    They are `AnabranchGraph`, `AnabranchState` and `AnabranchWaitingFor`; those that are there stay as they are.
    """
    from anabranch.cli.leaving import run_until_over
    from anabranch.cli.logs import log_to_stderr
    from anabranch.cli.namespace import setup_namespace

    log_to_stderr(logging.WARNING)
    run_until_over(setup_namespace(settings_from_environment(), graphs))


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the Web UI open until Ctrl-C.")] = False,
    postgres: Annotated[
        bool, typer.Option("--postgres/--sqlite", help="Use SQLite if PostgreSQL does not start.")
    ] = True,
) -> None:
    """Run three orders through the order graph: a server, a database, a model and a worker are started and stopped."""
    from anabranch.cli.demo import demonstrate
    from anabranch.cli.leaving import run_until_over
    from anabranch.cli.logs import log_to_stderr

    log_to_stderr(logging.ERROR, of_runs=False)
    _leave(run_until_over(demonstrate(keep=keep, postgres=postgres)))


def _loaded(path: Path, settings: Settings) -> LoadedGraph:
    """The graph of a file; what is odd about it is printed."""
    from anabranch.graph.load import load_graph
    from anabranch.preflight.handlers import handler_warnings

    loaded = load_graph(path)
    show_problems((*loaded.warnings, *handler_warnings(loaded, settings.imports)))
    return loaded


def _leave(code: int) -> None:
    if code:
        raise typer.Exit(code)
