"""Events for runs that are under way: each becomes the signal `event` of the run whose id a template makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from temporalio.client import Client

from anabranch.errors import ConfigurationError
from anabranch.events.event import Event
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.json_text import text_of
from anabranch.graph.expressions.templates import Template, compile_template
from anabranch.limits import RUN_LIMITS
from anabranch.transport.events_to_runs import check_run, send_event


@dataclass(frozen=True)
class Delivery:
    """How events are delivered: under which name, and to which run, by a template over their data."""

    event: str
    run: str

    @cached_property
    def _template(self) -> Template:
        return compile_template(self.run)

    def check(self, option: str) -> None:
        """Raises ExpressionError for a template that does not compile, ConfigurationError for one without a hole."""
        _ = self._template
        if "{{" not in self.run:
            raise ConfigurationError(
                "every event would go to one run", place=option, suggestion='write a template: "order-{{ order_id }}"'
            )

    def run_of(self, event: Event) -> str:
        """The workflow id of the run that an event is for. Raises EvaluationError, InputError."""
        made = text_of(self._template.render(event.context.data, {}, Cost.of(RUN_LIMITS.step_units)))
        check_run(made)
        return made

    async def send(self, client: Client, run: str, event: Event) -> None:
        """Send an event to a run. Raises RunNotFound, InputError where it is refused, Unavailable."""
        await send_event(client, run, name=self.event, event_id=event.id, data=event.context.data)
