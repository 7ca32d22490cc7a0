"""The queries that every graph workflow answers: `context`, `status`, `history`, `diagram`. Plain JSON and text."""

from __future__ import annotations

from temporalio import workflow

from context.values import Json
from workflows import views
from workflows.driver import GraphRun


class Messages:
    """Handlers shared by the dynamic workflow and `GraphWorkflow`."""

    def __init__(self) -> None:
        self.run_of_graph = GraphRun()

    @workflow.query
    def context(self) -> dict[str, Json]:
        """The context's data now, and its version."""
        machine = self.run_of_graph.machine
        return {} if machine is None else views.context(machine, self.run_of_graph.info.workflow_id)

    @workflow.query
    def status(self) -> dict[str, Json]:
        """The state of every node."""
        machine = self.run_of_graph.machine
        return {"status": "loading"} if machine is None else views.status(machine)

    @workflow.query
    def history(self) -> list[Json]:
        """Versions and merges: who changed what, when, and on top of what."""
        machine = self.run_of_graph.machine
        return [] if machine is None else views.history(machine)

    @workflow.query
    def diagram(self) -> str:
        """Mermaid of the graph with states."""
        machine = self.run_of_graph.machine
        return "" if machine is None else views.diagram(machine)
