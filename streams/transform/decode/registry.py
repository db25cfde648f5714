"""Avro and Protobuf values in the framing of a Confluent-compatible schema registry, decoded to JSON.

A framed value is a zero byte, the schema's id (four bytes, big-endian) and, for Protobuf, the path to the message in
its file; JSON never begins with a zero byte, so a topic may hold both. What comes out is split like any other record.
"""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from threading import Lock
from typing import Any, Final
from uuid import UUID

import orjson

from lethe.schemas.errors import ConfigurationError, TransientError
from lethe.streams.transform.batch import Reason, Reject

_MAGIC: Final = 0
_HEADER: Final = struct.Struct(">bI")
_MOST_DEPENDENCIES: Final = 100
_NO_SUCH: Final = frozenset({404, 422})

Decoder = Callable[[bytes], dict[str, Any]]


class UnfitError(Exception):
    """A value that does not fit its schema, or whose schema nobody knows. `reason` is one of `Reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Registry:
    """Decoders by schema id, each made once. Safe to use from several threads.

    `options` are those of `confluent_kafka`'s `SchemaRegistryClient`: `url`, `basic.auth.user.info`, `ssl.*`.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        try:
            from confluent_kafka.schema_registry import SchemaRegistryClient
        except ImportError:
            raise ConfigurationError(
                "a schema registry needs an extra: pip install 'lethe[registry]'"
            ) from None
        try:
            self._client = SchemaRegistryClient(options)
            self._compiled = SchemaRegistryClient(options)  # a client remembers a schema in one form only
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"schema registry: {type(error).__name__}: check its url and options"
            ) from None
        self._known: dict[int, Decoder | None] = {}
        self._lock = Lock()

    def to_json(self, value: bytes) -> bytes:
        """Decode one framed value to JSON; raises `UnfitError`, or `TransientError` while the registry does not
        answer.
        """
        if len(value) < _HEADER.size:
            raise UnfitError(Reason.NOT_DECODED)
        _, number = _HEADER.unpack_from(value)
        decoder = self._decoder(number)
        if decoder is None:
            raise UnfitError(Reason.NO_SCHEMA)
        try:
            return orjson.dumps(decoder(value[_HEADER.size :]), default=_jsonable)
        # A value is outside data: whatever it makes the reader do, it is the value's fault. The message may quote it.
        except Exception:  # noqa: BLE001
            raise UnfitError(Reason.NOT_DECODED) from None

    def _decoder(self, number: int) -> Decoder | None:
        with self._lock:
            if number not in self._known:
                self._known[number] = self._make(number)
            return self._known[number]

    def _make(self, number: int) -> Decoder | None:
        schema = self._fetched(number, None)
        if schema is None:
            return None
        kind, text, built_on = schema
        if (
            kind == "PROTOBUF"
        ):  # the text of a .proto file needs a compiler; the registry has it compiled as well
            schema = self._fetched(number, "serialized")
            if schema is None:
                return None
            _, text, built_on = schema
        try:
            if kind == "PROTOBUF":
                return _protobuf([base64.b64decode(file) for file in (*built_on, text)])
            if kind == "AVRO":
                return _avro(text, built_on)
            return orjson.loads if kind == "JSON" else None
        except Exception:  # noqa: BLE001  (a schema is outside data, and this one is none)
            return None

    def _fetched(self, number: int, fmt: str | None) -> tuple[str, str, list[str]] | None:
        """Fetch (type, text, texts of what it builds on, the deepest first) of a schema; None if there is none."""
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        client = self._client if fmt is None else self._compiled
        try:
            schema = client.get_schema(number, fmt=fmt)
            return schema.schema_type or "AVRO", schema.schema_str or "", _references(client, schema, fmt)
        except SchemaRegistryError as error:
            if error.http_status_code in _NO_SUCH:
                return None
            raise TransientError(
                f"the schema registry answers {error.http_status_code}; check its log"
            ) from None
        except Exception as error:  # noqa: BLE001  (the HTTP client's own kinds; a text of theirs may hold a password)
            raise TransientError(f"the schema registry does not answer: {type(error).__name__}") from None


def _references(client: Any, schema: Any, fmt: str | None) -> list[str]:
    found: list[str] = []
    for reference in schema.references or []:
        if len(found) > _MOST_DEPENDENCIES:
            return found
        version = client.get_version(reference.subject, reference.version, fmt=fmt)
        found += [*_references(client, version.schema, fmt), version.schema.schema_str or ""]
    return found


def unframed(
    values: list[bytes | None], registry: Registry, max_bytes: int, rejects: list[Reject]
) -> tuple[list[bytes | None], frozenset[int]]:
    """Replace framed values by JSON; return all values and the rows that were framed. Reject those that do not fit."""
    framed = [row for row, value in enumerate(values) if value and value[0] == _MAGIC]
    if not framed:
        return values, frozenset()
    found = list(values)
    for row in framed:
        value = values[row]
        assert value is not None  # noqa: S101  (it has a first byte)
        if len(value) > max_bytes:
            rejects.append(Reject(row, None, Reason.TOO_LARGE))
            continue
        try:
            found[row] = registry.to_json(value)
        except UnfitError as error:
            rejects.append(Reject(row, None, error.reason))
    return found, frozenset(framed) - {reject.row for reject in rejects}


def _avro(text: str, built_on: list[str]) -> Decoder:
    from fastavro import schemaless_reader
    from fastavro.schema import parse_schema

    named: dict[str, Any] = {}
    for below in built_on:
        parse_schema(orjson.loads(below), named)
    schema = parse_schema(orjson.loads(text), named)

    def decode(payload: bytes) -> dict[str, Any]:
        data = io.BytesIO(payload)
        record = schemaless_reader(data, schema, None)
        if not isinstance(record, dict) or data.read(1):
            raise ValueError
        return record

    return decode


def _protobuf(files: list[bytes]) -> Decoder:
    from google.protobuf import descriptor_pool, json_format, message_factory
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    pool = descriptor_pool.DescriptorPool()
    last = None
    for name in _WELL_KNOWN:
        _add_well_known(pool, name)
    for raw in files:
        last = FileDescriptorProto.FromString(raw)
        if last.name not in _WELL_KNOWN:
            pool.Add(last)
    if last is None:
        raise ValueError
    file = pool.FindFileByName(last.name)
    order = [m.name for m in last.message_type]

    def decode(payload: bytes) -> dict[str, Any]:
        path, at = _message_path(payload)
        kind = file.message_types_by_name[order[path[0]]]
        for step in path[1:]:
            kind = kind.nested_types[step]
        message = message_factory.GetMessageClass(kind)()
        message.ParseFromString(payload[at:])
        found: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
        return found

    return decode


_WELL_KNOWN: Final = tuple(
    f"google/protobuf/{name}.proto"
    for name in ("timestamp", "duration", "wrappers", "struct", "empty", "any")
)


def _add_well_known(pool: Any, name: str) -> None:
    from google.protobuf import any_pb2, duration_pb2, empty_pb2, struct_pb2, timestamp_pb2, wrappers_pb2

    modules = {
        m.DESCRIPTOR.name: m
        for m in (any_pb2, duration_pb2, empty_pb2, struct_pb2, timestamp_pb2, wrappers_pb2)
    }
    pool.AddSerializedFile(modules[name].DESCRIPTOR.serialized_pb)


def _message_path(payload: bytes) -> tuple[list[int], int]:
    """Read the path to the message in its file (a count, then indexes, zigzag varints) and where the message begins."""
    count, at = _varint(payload, 0)
    if count == 0:
        return [0], at
    if not 0 < count <= _MOST_DEPENDENCIES:
        raise ValueError
    path = []
    for _ in range(count):
        step, at = _varint(payload, at)
        if step < 0:
            raise ValueError
        path.append(step)
    return path, at


def _varint(payload: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = payload[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
        if shift > 63:
            raise ValueError


def _jsonable(value: Any) -> Any:
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    raise TypeError
