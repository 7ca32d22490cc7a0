"""A receiver of traces (OTLP over HTTP), and what it was sent as a tree."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


@dataclass
class Received:
    """What came, in the order of coming."""

    spans: list[Span] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def path(self, span: Span) -> str:
        """The names of the spans around it, outermost first, and its own."""
        by_id = {each.span_id: each for each in self.spans}
        names = [span.name]
        while span.parent_span_id in by_id:
            span = by_id[span.parent_span_id]
            names.append(span.name)
        return "/".join(reversed(names))


def attributes(span: Span) -> dict[str, Any]:
    """The attributes of a span, without `anabranch.` before their names."""
    found: dict[str, Any] = {}
    for each in span.attributes:
        kind = each.value.WhichOneof("value")
        found[each.key.removeprefix("anabranch.")] = getattr(each.value, kind) if kind else None
    return found


def failed(span: Span) -> str | None:
    """The code of what failed in a span."""
    return span.status.message if span.status.code == Status.STATUS_CODE_ERROR else None


@contextmanager
def otlp_receiver() -> Generator[tuple[str, Received]]:
    """A receiver on a free port, by its URL."""
    received, turn = Received(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            request = ExportTraceServiceRequest.FromString(body)
            with turn:
                received.bodies.append(body)
                for resource in request.resource_spans:
                    for scope in resource.scope_spans:
                        received.spans.extend(scope.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        server.server_close()
