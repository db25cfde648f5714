"""Lines of delimited text (Asterisk's Master.csv) through a worker and through a back-fill: the same records."""

from __future__ import annotations

import json
from pathlib import Path

from workers import Site

MASTER = Path(__file__).parents[1] / "fixtures" / "formats" / "asterisk" / "master.csv"
PLACE = {"ingested_at", "stream", "partition", "offset", "integrity_hash"}


def test_as_kafka_values_and_as_a_file(site: Site) -> None:
    assert site.broker is not None
    lines: list[bytes | None] = [*MASTER.read_bytes().splitlines(), b'"3","only three",columns']
    topic = site.broker.topic("asterisk")
    site.sources[topic] = "asterisk/master"
    site.broker.produce(topic, lines)
    site.drain()
    file = site.directory / "Master.csv"
    file.write_bytes(b"\r\n".join(line or b"" for line in lines) + b"\r\n")
    done = site.run("ingest", str(file), "--format", "asterisk/master", "--json")
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)

    archive = site.checker().arrow("metadata").to_pylist()
    by_stream: dict[str, list[dict[str, object]]] = {topic: [], report["stream"]: []}
    for row in sorted(archive, key=lambda r: r["offset"]):
        by_stream[row["stream"]].append({k: v for k, v in row.items() if k not in PLACE})
    assert by_stream[topic] == by_stream[report["stream"]]
    assert len(by_stream[topic]) > 3
    refused = site.checker().arrow("quarantine", ["stream", "offset", "reason"]).to_pylist()
    last = len(lines) - 1
    assert {(r["stream"], r["offset"]) for r in refused} >= {(topic, last), (report["stream"], last)}
    assert len(refused) + len(archive) == 2 * len(lines), "no line is lost, none is counted twice"
    checked = site.run("ledger", "--check", "--json")
    assert (checked.returncode, json.loads(checked.stdout)["findings"]) == (0, [])
