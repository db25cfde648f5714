"""A worker and a look-up under collectors that answer, hang, refuse or are not there."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from openlineage.client import event_v2 as standard
from openlineage.client.generated import (
    input_statistics_input_dataset as inputs,
)
from openlineage.client.generated import (
    output_statistics_output_dataset as outputs,
)
from openlineage.client.serde import Serde
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from workers import SMS, Site, traffic

KEPT = 300


class Receiver:
    """Takes what is posted to it, and answers with a status."""

    def __init__(self, status: int = 200) -> None:
        self.bodies: dict[str, list[bytes]] = {"/traces": [], "/lineage": []}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def _take(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.bodies[self.path].append(body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        Handler.do_POST = Handler._take  # type: ignore[attr-defined]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def hanging() -> Iterator[str]:
    """Somebody who takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def told(site: Site, url: str) -> None:
    site.variables |= {
        "LETHE_TELEMETRY__TRACES_URL": f"{url}/traces", "LETHE_TELEMETRY__LINEAGE_URL": f"{url}/lineage"
    }  # fmt: skip


def spans(bodies: list[bytes]) -> list[Span]:
    requests = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    return [s for r in requests for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans]


def as_the_standard_has_it(event: dict[str, Any]) -> dict[str, Any]:
    """The event made anew from the standard's classes, which refuse what has another form."""

    def made(data: dict[str, Any], kind: Any, facets: str, statistics: Any) -> Any:
        (facet,) = data[facets].items()
        assert facet[1]["_schemaURL"] == statistics._get_schema()
        counted = statistics(rowCount=facet[1]["rowCount"], producer=event["producer"])
        return kind(data["namespace"], data["name"], **{facets: {facet[0]: counted}})

    again = standard.RunEvent(
        eventType=standard.RunState[event["eventType"]],
        eventTime=event["eventTime"],
        run=standard.Run(event["run"]["runId"]),
        job=standard.Job(event["job"]["namespace"], event["job"]["name"]),
        producer=event["producer"],
        inputs=[
            made(i, standard.InputDataset, "inputFacets", inputs.InputStatisticsInputDatasetFacet)
            for i in event["inputs"]
        ],
        outputs=[
            made(o, standard.OutputDataset, "outputFacets", outputs.OutputStatisticsOutputDatasetFacet)
            for o in event["outputs"]
        ],
    )
    return dict(json.loads(Serde.to_json(again)))


def without_nothing(value: Any) -> Any:
    """Leave out what is empty: the standard's classes write some of it, and it means the same."""
    if isinstance(value, dict):
        return {k: found for k, v in value.items() if (found := without_nothing(v)) not in (None, {}, [])}
    return [without_nothing(v) for v in value] if isinstance(value, list) else value


def test_commits_and_look_ups_are_told_in_numbers(site: Site, receiver: Receiver) -> None:
    told(site, receiver.url)
    topic = site.topic()
    values = traffic(KEPT)
    site.produce(topic, values)
    site.drain()
    number = "+" + str(json.loads(next(v for label, v in values if label == "good"))["to"]).lstrip("+")
    done = site.run("lookup", number, "--case", "F-1", "--purpose", "fraud", "--json")
    assert done.returncode == 0, done.stderr

    got = spans(receiver.bodies["/traces"])
    assert {s.name for s in got} == {"lethe.commit", "lethe.lookup"}
    assert all(a.value.WhichOneof("value") == "int_value" for s in got for a in s.attributes)
    commits = [s for s in got if s.name == "lethe.commit"]
    assert sum(a.value.int_value for s in commits for a in s.attributes if a.key == "lethe.records") == KEPT

    events = [json.loads(body) for body in receiver.bodies["/lineage"]]
    assert len(events) == len(commits)
    for event in events:
        assert without_nothing(as_the_standard_has_it(event)) == without_nothing(event)
        assert [i["name"] for i in event["inputs"]] == [topic]
    assert sum(e["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"] for e in events) == KEPT
    rows = [
        o["outputFacets"]["outputStatistics"]["rowCount"]
        for e in events
        for o in e["outputs"]
        if o["name"].endswith("/metadata")
    ]
    assert sum(rows) == site.judge().archived

    sent = b"".join(body for bodies in receiver.bodies.values() for body in bodies)
    people = {str(json.loads(value)["to"]) for label, value in values if label == "good"}
    assert len(people) > 50
    assert [p for p in people if p.lstrip("+").encode() in sent] == []


def test_files_are_told_as_a_worker_tells_topics(site: Site, receiver: Receiver) -> None:
    """Under the name the ledger has for it: what somebody called the file stays here."""
    told(site, receiver.url)
    site.variables["LETHE_FLUSH__RECORDS"] = site.variables["LETHE_FLUSH__BATCH"] = "100"  # several commits
    values = [value for label, value in traffic(KEPT) if label == "good"]
    file = site.directory / "923001234567.ndjson"
    file.write_bytes(b"\n".join(values) + b"\n")
    assert site.run("ingest", str(file), "--format", SMS).returncode == 0
    assert site.run("ingest", str(file), "--format", SMS).returncode == 0  # nothing is in it that was not
    (stream,) = {row["stream"] for row in json.loads(site.run("ledger", "--json").stdout)}

    got = [s for s in spans(receiver.bodies["/traces"]) if s.name == "lethe.commit"]
    events = [json.loads(body) for body in receiver.bodies["/lineage"]]
    assert len(events) == len(got) > 1
    assert len({event["run"]["runId"] for event in events}) == len(events)
    for event in events:
        assert without_nothing(as_the_standard_has_it(event)) == without_nothing(event)
        assert [(i["namespace"], i["name"]) for i in event["inputs"]] == [("file", stream)]
    assert sum(e["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"] for e in events) == len(values)
    assert b"923001234567.ndjson" not in b"".join(b for bodies in receiver.bodies.values() for b in bodies)


def test_a_file_is_taken_in_though_no_collector_answers(site: Site, hanging: str) -> None:
    told(site, hanging)
    file = site.directory / "records.ndjson"
    file.write_bytes(b"\n".join(value for label, value in traffic(KEPT) if label == "good") + b"\n")
    assert site.run("ingest", str(file), "--format", SMS).returncode == 0
    assert site.archived() > 0


@pytest.mark.parametrize("what", ["hangs", "refuses", "is not there"])
def test_a_collector_that_does_not_take_it_costs_nothing(what: str, site: Site, hanging: str) -> None:
    refusing = Receiver(503)
    told(site, {"hangs": hanging, "refuses": refusing.url, "is not there": "http://127.0.0.1:1"}[what])
    topic = site.topic()
    site.produce(topic, traffic(KEPT))
    worker = site.drain()
    refusing.close()
    site.judge()
    if what != "hangs":  # its answer is not waited for at the end
        assert worker.text().count("lineage: the receiver") == 1, worker.text()
