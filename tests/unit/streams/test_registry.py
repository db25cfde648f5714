"""Avro and Protobuf values through a schema registry become the same rows as JSON; a stub speaks its REST API."""

from __future__ import annotations

import base64
import io
import json
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import fastavro
import orjson
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from kernel_kit import Kit, batch_of, kept, place, quarantine, rows, subjects

from schemas import format as formats
from schemas.errors import ConfigurationError, TransientError
from streams.batch import Reason
from streams.registry import Registry
from tiers.prepared import Prepared

RECORD = {
    "messageId": "m-1",
    "from": "923005550142",
    "to": "24365",
    "text": "my secret",
    "receivedAt": "2026-10-01T10:00:00.000+0000",
    "smsCount": 2,
    "price": {"pricePerMessage": 0.5, "currency": "EUR"},
    "entityId": "acme-retail",
}
PRICE = {
    "type": "record",
    "name": "Price",
    "namespace": "acme",
    "fields": [{"name": "pricePerMessage", "type": "double"}, {"name": "currency", "type": "string"}],
}
AVRO = {
    "type": "record",
    "name": "Inbound",
    "namespace": "acme",
    "fields": [
        *({"name": n, "type": "string"} for n in ("messageId", "from", "to")),
        {"name": "text", "type": ["null", "string"]},
        {"name": "receivedAt", "type": "string"},
        {"name": "smsCount", "type": "int"},
        {"name": "price", "type": "acme.Price"},
        {"name": "entityId", "type": ["null", "string"], "default": None},
    ],
}


def proto() -> tuple[FileDescriptorProto, FileDescriptorProto]:
    """A file with two messages, the second ours, and the file it imports."""
    text, number, nested = (
        FieldDescriptorProto.TYPE_STRING,
        FieldDescriptorProto.TYPE_INT32,
        FieldDescriptorProto.TYPE_MESSAGE,
    )
    price = FileDescriptorProto(name="price.proto", package="acme", syntax="proto3")
    message = price.message_type.add(name="Price")
    message.field.add(name="pricePerMessage", number=1, type=FieldDescriptorProto.TYPE_DOUBLE, label=1)
    message.field.add(name="currency", number=2, type=text, label=1)
    file = FileDescriptorProto(
        name="inbound.proto", package="acme", syntax="proto3", dependency=["price.proto"]
    )
    file.message_type.add(name="Other")
    message = file.message_type.add(name="Inbound")
    for at, name in enumerate(("messageId", "from", "to", "text", "receivedAt", "entityId"), 1):
        message.field.add(name=name, number=at, type=text, label=1)
    message.field.add(name="smsCount", number=7, type=number, label=1)
    message.field.add(name="price", number=8, type=nested, type_name=".acme.Price", label=1)
    return price, file


def serialised(file: FileDescriptorProto) -> str:
    return base64.b64encode(file.SerializeToString()).decode()


SCHEMAS: dict[int, dict[str, Any]] = {
    1: {"schema": json.dumps(PRICE)},
    2: {"schema": json.dumps(AVRO), "references": [{"name": "acme.Price", "subject": "price", "version": 1}]},
    3: {"schemaType": "PROTOBUF", "schema": serialised(proto()[0])},
    4: {
        "schemaType": "PROTOBUF",
        "schema": serialised(proto()[1]),
        "references": [{"name": "price.proto", "subject": "price-proto", "version": 1}],
    },
    5: {"schema": "no schema at all"},
    6: {"schemaType": "JSON", "schema": "{}"},
}
SUBJECTS = {"price": 1, "price-proto": 3}


class Stub(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []
    broken = False

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.asked.append(self.path)
        parts = url.path.strip("/").split("/")
        answer: dict[str, Any] | None = None
        if parts[:2] == ["schemas", "ids"]:
            answer = SCHEMAS.get(int(parts[2]))
        elif parts[0] == "subjects" and parts[1] in SUBJECTS:
            number = SUBJECTS[parts[1]]
            answer = {**SCHEMAS[number], "subject": parts[1], "version": int(parts[3]), "id": number}
        protobuf = (answer or {}).get("schemaType") == "PROTOBUF"
        if answer and protobuf and parse_qs(url.query).get("format") != ["serialized"]:
            answer = {**answer, "schema": 'syntax = "proto3";'}
        status = 500 if self.broken else 200 if answer else 404
        body = json.dumps(answer or {"error_code": 40403, "message": "Schema not found"}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stub) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


@pytest.fixture
def registry(server: str) -> Iterator[Registry]:
    Stub.asked, Stub.broken = [], False
    yield Registry({"url": server, "max.retries": 0})
    Stub.broken = False


def framed(number: int, payload: bytes) -> bytes:
    return struct.pack(">bI", 0, number) + payload


def avro(record: dict[str, Any]) -> bytes:
    named: dict[str, Any] = {}
    fastavro.parse_schema(PRICE, named)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(AVRO, named), record)
    return framed(2, out.getvalue())


def protobuf(record: dict[str, Any]) -> bytes:
    pool = descriptor_pool.DescriptorPool()
    for file in proto():
        pool.Add(file)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName("acme.Inbound"))()
    from google.protobuf import json_format

    json_format.ParseDict(record, message)
    return framed(
        4, b"\x02\x02" + message.SerializeToString()
    )  # one step, to the message at place 1: zigzag varints


def process(values: list[bytes | None], registry: Registry | None, kit: Kit) -> Prepared:
    kernel = replace(kit.kernel, registry=registry)
    return kernel.process(batch_of(values, "infobip/sms-inbound"), formats.get("infobip/sms-inbound"))


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
