"""Helper: the spans that this process makes while a test runs, in memory, as an operator's set-up would send them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once


class Traces:
    """What was recorded."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    def all(self) -> tuple[ReadableSpan, ...]:
        """Spans that are over, in this order."""
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        """Those of a name."""
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one of a name."""
        (found,) = self.named(name)
        return found

    def text(self) -> str:
        """All that they say."""
        return "".join(str(span.to_json()) for span in self.all())


@contextmanager
def no_provider() -> Iterator[None]:
    """As in a process in which nobody has set a provider; what is set within is forgotten."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "_TRACER_PROVIDER", None)
        patch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
        yield


@contextmanager
def tracing() -> Iterator[Traces]:
    """Spans are recorded within the block."""
    traces = Traces()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(traces.exporter))
    with no_provider():
        trace.set_tracer_provider(provider)
        yield traces
        provider.shutdown()
