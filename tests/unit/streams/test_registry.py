"""Avro and Protobuf values through a schema registry become the same rows as JSON; a stub speaks its REST API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from registry_stub import RECORD, Stub, avro, framed, protobuf, serving
from transform_kit import Kit, batch_of, kept, place, quarantine, rows, subjects

from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import ConfigurationError, TransientError
from lethe.schemas.transformed import TransformedBatch
from lethe.streams.transform.batch import Reason
from lethe.streams.transform.decode.registry import Registry


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def registry(server: str) -> Iterator[Registry]:
    Stub.asked, Stub.broken = [], False
    yield Registry({"url": server, "max.retries": 0})
    Stub.broken = False


def process(values: list[bytes | None], registry: Registry | None, kit: Kit) -> TransformedBatch:
    transform = replace(kit.transform, registry=registry)
    return transform.process(batch_of(values, "infobip/sms-inbound"), formats.get("infobip/sms-inbound"))


@pytest.mark.parametrize("encoded", [avro, protobuf])
def test_a_framed_value_becomes_the_same_row_as_json(encoded: Any, registry: Registry) -> None:
    kit = Kit(scope="none")
    found = process([encoded(RECORD), orjson.dumps(RECORD)], registry, kit)
    one, two = ({k: v for k, v in r.items() if k != "offset"} for r in rows(found.metadata))
    assert one == two
    assert one["sender"] is None
    assert one["recipient"] == "24365"
    people = subjects(found, kit.ring)
    assert people[0, None] == people[1, None] == {("sender", "msisdn", "923005550142")}


def test_the_original_of_a_framed_value_is_canonical_and_without_content(registry: Registry) -> None:
    found = process([avro(RECORD), avro({**RECORD, "text": None})], registry, Kit(scope="all"))
    forms = kept(found)
    assert [form for form, _ in forms.values()] == ["canonical", "canonical"]
    assert all("text" not in record and record["from"] == "923005550142" for _, record in forms.values())


def test_a_schema_is_asked_for_once(registry: Registry) -> None:
    process([avro(RECORD)] * 50, registry, Kit())
    process([avro(RECORD)] * 50, registry, Kit())
    assert len([path for path in Stub.asked if path.startswith("/schemas/ids/2")]) == 1


def test_what_does_not_fit_is_refused_and_its_neighbours_land(registry: Registry) -> None:
    whole = avro(RECORD)
    values = [
        whole,
        framed(99, b"x"),
        whole[:-3],
        whole + b"x",
        b"\0\0\0",
        framed(5, b"x"),
        protobuf(RECORD)[:-1],
        framed(4, b"\xff" * 20),
        framed(4, b""),
        framed(6, orjson.dumps(RECORD)),
        framed(6, b"[1]"),
        whole,
    ]
    kit = Kit(scope="none")
    found = process(values, registry, kit)
    assert [place(r)[0] for r in rows(found.metadata)] == [0, 9, 11]
    refused = {offset: (reason, value) for offset, _, reason, _, value in quarantine(found, kit.ring)}
    assert {o: reason for o, (reason, _) in refused.items()} == {
        1: Reason.NO_SCHEMA,
        2: Reason.NOT_DECODED,
        3: Reason.NOT_DECODED,
        4: Reason.NOT_DECODED,
        5: Reason.NO_SCHEMA,
        6: Reason.NOT_DECODED,
        7: Reason.NOT_DECODED,
        8: Reason.NOT_DECODED,
        10: Reason.NOT_AN_OBJECT,
    }
    assert all(b"secret" not in (value or b"") for _, value in refused.values())


def test_without_a_registry_a_framed_value_is_refused_and_nothing_of_it_is_kept() -> None:
    kit = Kit()
    (found,) = quarantine(process([avro(RECORD)], None, kit), kit.ring)
    assert found[2] in (Reason.NOT_JSON, Reason.NOT_UTF8, Reason.NEWLINE)
    assert found[4] is None


def test_a_registry_that_fails_is_no_reason_to_refuse_records(registry: Registry) -> None:
    Stub.broken = True
    with pytest.raises(TransientError):
        process([avro(RECORD)], registry, Kit())
    Stub.broken = False
    assert process([avro(RECORD)], registry, Kit()).counts.split == 1


def test_a_registry_that_is_not_there() -> None:
    nowhere = Registry({"url": "http://127.0.0.1:9", "max.retries": 0})
    with pytest.raises(TransientError, match="does not answer"):
        process([avro(RECORD)], nowhere, Kit())
    with pytest.raises(ConfigurationError):
        Registry({"url": ""})
