"""A stub of a schema registry's REST API, and records in its framing."""

from __future__ import annotations

import base64
import io
import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import fastavro
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

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


@contextmanager
def serving() -> Iterator[str]:
    """Run the stub; gives its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Stub) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


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
    json_format.ParseDict(record, message)
    return framed(
        4, b"\x02\x02" + message.SerializeToString()
    )  # one step, to the message at place 1: zigzag varints
