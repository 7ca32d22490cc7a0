"""Where the spans of a process go: to an OTLP endpoint.

This imports OpenTelemetry's SDK, which the extra `otel` brings. It is imported where traces are on only.
"""

from __future__ import annotations

import os
import threading
from importlib.metadata import version
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk.environment_variables import OTEL_SERVICE_NAME
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context
from temporalio.contrib.opentelemetry import ReplaySafeTracerProvider, create_tracer_provider

from anabranch import spans
from anabranch.observe.traces import fixed_ids, sample_by

_SHUTDOWN_SECONDS: Final = 5.0
"""How long a process that ends waits for its last spans to be sent."""
_SERVICE: Final = "anabranch"


class _Ids(RandomIdGenerator):
    """Random ids, but those of a run's spans, which follow from who the run is."""

    def generate_span_id(self) -> int:
        fixed = fixed_ids.get()
        return super().generate_span_id() if fixed is None else fixed[1]

    def generate_trace_id(self) -> int:
        fixed = fixed_ids.get()
        return super().generate_trace_id() if fixed is None else fixed[0]


def tracer_provider(*, sampler: Sampler | None = None, resource: Resource | None = None) -> ReplaySafeTracerProvider:
    """A provider by which this process records the traces of runs from now on, in a worker of your own too.

    Add a span processor to it, make it OpenTelemetry's global one, and give the client Temporal's plugin:

        provider = tracer_provider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        opentelemetry.trace.set_tracer_provider(provider)
        client = await Client.connect(…, plugins=[OpenTelemetryPlugin(), AnabranchPlugin(graphs="graphs")])

    Without a `sampler` OpenTelemetry's variables (`OTEL_TRACES_SAMPLER`) say which traces are recorded.
    """
    # The SDK reads the variables only where it makes a provider.
    sampler = sampler or TracerProvider(shutdown_on_exit=False).sampler
    provider = create_tracer_provider(sampler=sampler, resource=resource, id_generator=_Ids(), shutdown_on_exit=False)

    def samples(parent: SpanContext | None, trace_id: int) -> bool:
        context = None if parent is None else set_span_in_context(NonRecordingSpan(parent))
        return sampler.should_sample(context, trace_id, "run").decision is Decision.RECORD_AND_SAMPLE

    spans.record_to(provider.get_tracer("anabranch", version("anabranch")))
    sample_by(samples)
    return provider


def send_traces(endpoint: str) -> ReplaySafeTracerProvider:
    """Record the traces of runs, and send them to this URL. The rest is said by OpenTelemetry's variables."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    named = {} if os.environ.get(OTEL_SERVICE_NAME) else {SERVICE_NAME: _SERVICE}
    provider = tracer_provider(resource=Resource.create({**named, SERVICE_VERSION: version("anabranch")}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
    trace.set_tracer_provider(provider)
    return provider


def end_traces(provider: ReplaySafeTracerProvider) -> None:
    """Send the spans that are left, for some seconds at most."""
    ending = threading.Thread(target=provider.shutdown, name="traces", daemon=True)  # its own wait is longer
    ending.start()
    ending.join(_SHUTDOWN_SECONDS)
    spans.record_to(None)
    sample_by(None)
