"""Matching an integrity hash to a number by trying every number there is: the attack, and somebody to try it on.

The plan: Pakistan's mobile numbers, country code 92, then 3XX and seven digits, 10^9 in all; portability leaves no part
of it out. The attacker knows the target's record but for the number, and has everything that is left when the month's
key is gone. To make it as cheap for him as can be the number is the record's last field: all before it is hashed once.

The same search is made once more with the salt, which nobody has any more: it must find the number, and only that
one. That shows that the search works and covers what it says it covers.
"""

from __future__ import annotations

import hmac
import json
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from lethe.integrity.rows.hashes import DOMAIN, salt
from lethe.operations.intake.ingest import ingest
from lethe.operations.proof.publisher import publication_of
from lethe.operations.proof.signer import signer_of
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month
from lethe.tiers.evidence.proof import evidence_of

COUNTRY = b"92"
DIGITS = 10
FIRST_DIGIT = b"3"
BLOCKS = 10_000
"""Blocks of the plan: block n is the numbers 923NNNN followed by five digits."""
IN_BLOCK = 100_000
CONTROL = "with the salt"

_ENDINGS = [b"%05d" % n for n in range(IN_BLOCK)]
_WHEN = datetime(2026, 10, 7, 9, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    """One row of the archive after its month's key was destroyed. `ways`: what is hashed before the record."""

    target: bytes
    head: bytes
    tail: bytes
    number: bytes
    ways: dict[str, bytes]
    secrets: tuple[bytes, ...]


def numbers(block: int) -> Iterable[bytes]:
    """The numbers of a block, in international form."""
    return (COUNTRY + FIRST_DIGIT + b"%04d" % block + ending for ending in _ENDINGS)


def block_of(number: bytes) -> int:
    """The block that a number is in."""
    return int(number[len(COUNTRY) + 1 :][:4])


def search(case: Case, way: str, block: int) -> list[bytes]:
    """The numbers of a block whose record has the target's hash, tried in one way."""
    state = sha256(case.ways[way] + case.head + COUNTRY + FIRST_DIGIT + b"%04d" % block)
    copy, target, tail = state.copy, case.target, case.tail
    found = []
    for ending in _ENDINGS:
        tried = copy()
        tried.update(ending + tail)
        if tried.digest() == target:
            found.append(COUNTRY + FIRST_DIGIT + b"%04d" % block + ending)
    return found


def make_case(home: Path, number: bytes) -> Case:
    """Take two records in, hand out the evidence of both, and destroy the month: the second is the attacker's own."""
    clock = [_WHEN + timedelta(days=1)]
    settings = Settings(root=str(home / "warehouse"), keys_dir=home / "keys")

    def runtime() -> Runtime:
        return Runtime(settings, clock=lambda: clock[0])

    file = home / "records.ndjson"
    file.write_bytes(_record(number, 1) + b"\n" + _record(b"923000000000", 2) + b"\n")
    stream = ingest(runtime(), str(file), "infobip/sms-report", as_declared=True).stream
    file.unlink()
    assert not publication_of(runtime()).run().failures
    here = runtime()
    rows = {r["offset"]: r for r in here.warehouse.metadata.delta.to_pyarrow_table().to_pylist()}
    files = []
    for offset in (0, 1):
        position = Position(stream, 0, offset, None)
        found = evidence_of(here.warehouse, here.ring, signer_of(here).history, position, clock[0])
        files.append(json.loads(found.file))
    original = b64decode(files[0]["original"]["bytes"])
    assert original.count(number) == 1
    head, tail = original.split(number)
    salt_key = here.ring.keys_for(Month.of(_WHEN)).salt_key.reveal()
    right = salt(salt_key, str(Position(stream, 0, 0, None)))
    others = b64decode(files[1]["original"]["salt"])
    month, position = rows[0]["month"].encode(), str(Position(stream, 0, 0, None)).encode()
    clock[0] += timedelta(days=430)
    runtime().ring.destroy(Month.of(_WHEN))
    return Case(
        rows[0]["integrity_hash"],
        head,
        tail,
        number,
        {
            CONTROL: DOMAIN + right,
            "no salt": DOMAIN,
            "nothing before it": b"",
            "zeros for a salt": DOMAIN + bytes(16),
            "the salt of another record": DOMAIN + others,
            "the salt of another record as the key": DOMAIN + hmac.digest(others, position, "sha256")[:16],
            "the month as the key": DOMAIN + hmac.digest(month, position, "sha256")[:16],
        },
        (salt_key, right),
    )


def _record(number: bytes, message: int) -> bytes:
    """A delivery report that ends with its recipient: in JSON the order of names means nothing."""
    record = {
        "bulkId": "b-1", "messageId": f"m-{message}", "sender": "ACME", "sentAt": "2026-10-07T09:30:00.000+0000",
        "doneAt": "2026-10-07T09:30:02.000+0000", "messageCount": 1, "mccMnc": "41001",
        "price": {"pricePerMessage": 0.02, "currency": "EUR"},
        "status": {"groupId": 3, "groupName": "DELIVERED", "id": 5, "name": "DELIVERED_TO_HANDSET"},
        "error": {"groupId": 0, "groupName": "OK", "id": 0, "name": "NO_ERROR", "permanent": False},
        "platform": {"entityId": "acme", "applicationId": "app"}, "to": number.decode(),
    }  # fmt: skip
    return json.dumps(record, separators=(",", ":")).encode()
