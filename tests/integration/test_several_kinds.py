"""One topic that carries records of several kinds, told apart by a header, from the broker to both tiers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import chain

from workers import Site

from lethe.keys.blobs import LocalBlobs
from lethe.keys.providers.local import LocalProvider
from lethe.keys.ring import KeyRing
from lethe.schemas.retention.calendar import Month
from lethe.testing.traffic import generate
from lethe.tiers.window.quarantine import value_of

KINDS = ("sms-report", "sms-inbound", "email-report", "voice-report")
EACH = 50


def made() -> list[tuple[bytes, bytes]]:
    """Records of every kind in turn, each with its kind."""
    now = datetime.now(UTC)
    until = datetime(now.year, now.month, 1, tzinfo=UTC)
    columns = [
        [(kind.encode(), value) for value in generate(f"infobip/{kind}", EACH, 7, until=until, months=2)]
        for kind in KINDS
    ]
    return list(chain.from_iterable(zip(*columns, strict=True)))


def test_a_topic_whose_kinds_are_told_apart_by_header(site: Site) -> None:
    assert site.broker is not None
    topic = site.broker.topic("mixed", 2)
    site.sources[topic] = "infobip/webhooks"
    records = made()
    spoken = json.dumps({**json.loads(records[1][1]), "text": "the eagle lands"}).encode()
    strangers: list[tuple[list[tuple[str, bytes | None]], bytes]] = [
        ([("kind", b"fax-report")], spoken),
        ([("kind", None)], spoken),
        ([("other", b"sms-report")], spoken),
        ([], spoken),
        ([("kind", b"\xff")], spoken),
    ]
    values: list[bytes | None] = []
    heads: list[list[tuple[str, bytes | None]]] = []
    for number, (kind, value) in enumerate(records):
        values.append(value)
        heads.append([("trace", b"t-1"), ("kind", kind)])
        if number % 40 == 20:
            head, unknown = strangers[number // 40]
            values.append(unknown)
            heads.append(head)
    for partition in (0, 1):
        site.broker.produce(topic, values, partition=partition, headers=heads)
    site.drain()

    archive = site.checker().arrow("metadata", ["stream", "partition", "offset", "format"]).to_pylist()
    told = {(r["partition"], r["offset"]): r["format"] for r in archive}
    expected = {
        (partition, offset): f"infobip/{dict(head)['kind'].decode()}"  # type: ignore[union-attr]
        for partition in (0, 1)
        for offset, head in enumerate(heads)
        if dict(head).get("kind") in {k.encode() for k in KINDS}
    }
    assert told == expected
    assert len(told) == len(archive) == 2 * len(KINDS) * EACH
    refused = site.checker().arrow("quarantine").to_pylist()
    assert {(r["partition"], r["offset"]) for r in refused} == {
        (partition, offset)
        for partition in (0, 1)
        for offset, value in enumerate(values)
        if (partition, offset) not in expected
    }
    assert {(r["reason"], r["format"]) for r in refused} == {("unknown_kind", "infobip/webhooks")}
    assert len(refused) == 10
    # What is kept of a record whose kind nobody knows has the content of no kind in it.
    ring = KeyRing(LocalProvider(site.keys), LocalBlobs(site.root), lambda: datetime.now(UTC))
    kept = [value_of(r, ring) for r in refused]
    assert all(v is not None and b"eagle" not in v for v in kept)
    assert {Month.parse(r["month"]) for r in refused} == {Month.of(datetime.now(UTC))}
    checked = site.run("ledger", "--check", "--json")
    assert (checked.returncode, json.loads(checked.stdout)["findings"]) == (0, [])
    # Read again from the start there is nothing left to do.
    site.drain()
    assert site.archived() == len(archive)
