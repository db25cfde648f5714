"""The job as most people would write it in Python: one record at a time, into two Parquet files.

It does less than Lethe: one random month key in memory, no exactly-once, no integrity hashes, no check for
identifiers in other columns, no raw originals. What it does it does with care: JSON, HMAC and AES-GCM
in C, rows as tuples, and one columnar write for many thousand records.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FLUSH = 50_000

_METADATA = pa.schema(
    [
        pa.field("event_time", pa.timestamp("us", tz="UTC")),
        pa.field("done_time", pa.timestamp("us", tz="UTC")),
        pa.field("sender", pa.string()),
        pa.field("application", pa.string()),
        pa.field("mcc", pa.string()),
        pa.field("mnc", pa.string()),
        pa.field("parts", pa.int32()),
        pa.field("status_group", pa.string()),
        pa.field("status", pa.string()),
        pa.field("error", pa.string()),
        pa.field("permanent_error", pa.bool_()),
        pa.field("price", pa.decimal128(18, 6)),
        pa.field("currency", pa.string()),
    ]
)
_IDENTIFIERS = pa.schema(
    [
        pa.field("event_time", pa.timestamp("us", tz="UTC")),
        pa.field("token", pa.binary(32)),
        pa.field("sealed", pa.binary()),
    ]
)

Row = tuple[Any, ...]
Halves = tuple[Row, Row]


class Job:
    """Splits parsed records and writes both halves under `directory`."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._token_key = os.urandom(32)
        self._aead = AESGCM(AESGCM.generate_key(256))
        self._files = 0

    def split(self, record: dict[str, Any]) -> Halves:
        """Return the metadata row and the identifier row of one delivery report."""
        status, error, price = record["status"], record["error"], record["price"]
        platform = record.get("platform")
        sent = datetime.fromisoformat(record["sentAt"])
        network = record["mccMnc"]
        recipient: str = record["to"]
        linked = [recipient, record["messageId"], record["bulkId"], record["callbackData"]]
        nonce = os.urandom(12)
        metadata = (
            sent,
            datetime.fromisoformat(record["doneAt"]),
            record["sender"],
            platform["applicationId"] if platform else None,
            network[:3],
            network[3:],
            record["messageCount"],
            status["groupName"],
            status["name"],
            error["name"],
            error["permanent"],
            Decimal(str(price["pricePerMessage"])),
            price["currency"],
        )
        identifiers = (
            sent,
            hmac.digest(self._token_key, recipient.encode(), "sha256"),
            nonce + self._aead.encrypt(nonce, json.dumps(linked).encode(), None),
        )
        return metadata, identifiers

    def write(self, rows: Iterable[Halves]) -> None:
        """Write one Parquet file of each half; nothing for no rows."""
        halves = list(zip(*rows, strict=True))
        if not halves:
            return
        for name, schema, half in zip(
            ("metadata", "identifiers"), (_METADATA, _IDENTIFIERS), halves, strict=True
        ):
            columns = zip(*half, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            path = self._directory / f"{name}-{self._files:05d}.parquet"
            pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path, compression="zstd")
        self._files += 1

    def check(self, expected: int) -> str:
        """Raise unless both halves hold `expected` rows; return the bytes a record takes in each."""
        sizes = []
        for name in ("metadata", "identifiers"):
            paths = sorted(self._directory.glob(f"{name}-*.parquet"))
            rows = sum(pq.read_metadata(path).num_rows for path in paths)
            if rows != expected:
                raise RuntimeError(f"{rows} rows in {name}, {expected} expected")
            sizes.append(f"{name} {sum(path.stat().st_size for path in paths) / expected:.0f}")
        return f"bytes a record: {', '.join(sizes)}"
