"""Spans say how much and how long, never what; without a collector there is nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "retention"))

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from retention_world import World, report

from lethe.operations.asker import Asker
from lethe.operations.retention.sweep import run_sweep
from lethe.operations.runtime import Runtime
from lethe.operations.telemetry import traces
from lethe.operations.telemetry.traces import Traces
from lethe.operations.window.lookup import lookup
from lethe.schemas.errors import InputError

HER = "+923001234567"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def runtime(tmp_path: Path, exporter: InMemorySpanExporter) -> Iterator[Runtime]:
    world = World(tmp_path / "site")
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    march = datetime(2025, 3, 10, 12, tzinfo=UTC)
    world.ingest([report(i, HER, march) for i in range(3)])
    runtime = world.runtime
    runtime.__dict__["traces"] = Traces(None, exporter)  # where the cached property keeps it
    yield runtime
    traces.flush()


def spans(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    traces.flush()
    return list(exporter.get_finished_spans())


def test_a_look_up_counts_what_it_found(runtime: Runtime, exporter: InMemorySpanExporter) -> None:
    found = lookup(runtime, Asker("amal", "F-1", "fraud"), HER)
    (span,) = spans(exporter)
    assert len(found.records) == 3
    assert span.name == "lethe.lookup"
    assert dict(span.attributes or {}) == {
        "lethe.values": 1, "lethe.records": 3, "lethe.restricted": 0, "lethe.missing_months": 0
    }  # fmt: skip
    assert HER.lstrip("+") not in span.to_json()


def test_a_look_up_that_fails_names_the_class_of_the_error_alone(
    runtime: Runtime, exporter: InMemorySpanExporter
) -> None:
    march, april = datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)
    with pytest.raises(InputError):
        lookup(runtime, Asker("amal", "F-1", "fraud"), HER, april, march)
    (span,) = spans(exporter)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "InputError")
    assert span.events == ()
    assert HER.lstrip("+") not in span.to_json()


def test_a_sweep_counts_the_months_it_forgot(runtime: Runtime, exporter: InMemorySpanExporter) -> None:
    assert run_sweep(runtime) == []
    (span,) = spans(exporter)
    assert (span.name, dict(span.attributes or {})) == (
        "lethe.sweep", {"lethe.kept_from_forgetting": 0, "lethe.due": 0, "lethe.forgotten": 0}
    )  # fmt: skip


def test_an_attribute_that_is_no_number_cannot_be_made(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="invalid literal"), Traces(None, exporter).span("lethe.x") as span:
        span.count(records="somebody")  # type: ignore[arg-type]


def test_without_a_collector_the_library_is_not_even_imported() -> None:
    code = (
        "import sys; from lethe.operations.telemetry.traces import Traces, flush\n"
        "with Traces(None).span('lethe.commit') as span: span.count(records=1)\n"
        "flush(); assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
