"""Traces of commit, look-up and sweep for an OpenTelemetry collector (OTLP over HTTP), with the extra `traces`.

An attribute is a number that was counted, and nothing else can be one: no value of a record, no token, no name of a
person or a file. Of what fails a span says the class of the error, since texts of others' errors may quote anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from lethe import __version__
from lethe.schemas.errors import ConfigurationError

_EXPORT_SECONDS: Final = 5.0
_LEAVE_MS: Final = 2_000
_open: Final[list[Any]] = []


class Span:
    """What is measured just now. Without a collector it takes what it is told and forgets it."""

    __slots__ = ("_span",)

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def count(self, **numbers: int) -> None:
        """Add numbers to the span, as `lethe.NAME`."""
        if self._span is not None:
            for name, number in numbers.items():
                self._span.set_attribute(f"lethe.{name}", int(number))


_NOTHING: Final = Span()


class Traces:
    """Makes spans. `url`: the collector's address for traces, such as http://collector:4318/v1/traces; None: off.

    Spans wait in a bounded queue and are sent by a thread of the library: a collector that is away costs nothing but
    the spans. `exporter`: in the place of the one for `url`.
    """

    def __init__(self, url: str | None, exporter: Any = None) -> None:
        self._tracer = None if url is None and exporter is None else _tracer(url, exporter)

    @contextmanager
    def span(self, name: str) -> Iterator[Span]:
        """Measure what is done within; a failure is marked with the class of its error and raised again."""
        if self._tracer is None:
            yield _NOTHING
            return
        with self._tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        ) as made:
            try:
                yield Span(made)
            except BaseException as error:
                made.set_status(_failed(type(error).__name__))
                raise


def flush() -> None:
    """Send what waits, for two seconds at most: the process is about to end."""
    while _open:
        _open.pop().force_flush(_LEAVE_MS)


def _failed(kind: str) -> Any:
    from opentelemetry.trace import Status, StatusCode

    return Status(StatusCode.ERROR, kind)


def _tracer(url: str | None, exporter: Any) -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigurationError(
            "telemetry.traces_url: traces are an extra: pip install 'lethe[traces]'"
        ) from None
    resource = Resource.create({"service.name": "lethe", "service.version": __version__})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(exporter or OTLPSpanExporter(endpoint=url, timeout=_EXPORT_SECONDS))
    )
    _open.append(provider)
    return provider.get_tracer("lethe", __version__)
