"""What the retention tests share: a warehouse, a clock that is moved, records of one's own making, and byte scans."""

from __future__ import annotations

import json
import re
import shutil
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from deltalake import DeltaTable

from lethe.keys.tokens import subject_token
from lethe.operations.intake.ingest import ingest
from lethe.operations.retention.sweep import maintenance_context
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.declaration import format as formats
from lethe.schemas.retention.calendar import Month
from lethe.schemas.subjects.addresses import Subject, normalise
from lethe.schemas.transformed import TransformedBatch
from lethe.streams.transform.batch import Batch, Source
from lethe.testing.traffic import generate
from lethe.tiers.maintenance import MaintenanceContext
from lethe.tiers.retention.expiry import Outcome
from lethe.tiers.retention.sweep import sweep
from lethe.tiers.window import lookup

SPOKEN_OF = re.compile(rb'"(?:to|from)": ?"\+?([0-9]{9,15})"')
WINDOW_TABLES = ("identifiers", "originals", "quarantine")


@dataclass
class World:
    """One installation below a directory."""

    folder: Path
    settings_: dict[str, Any] = field(default_factory=dict)
    now: datetime = datetime(2025, 4, 1, tzinfo=UTC)
    files: int = 0
    watched: bool = False
    """Whether what its audit says is looked at in the end."""
    window: set[bytes] = field(default_factory=set)
    """Tokens that rows of the window have had."""
    spoken_of: set[str] = field(default_factory=set)
    """The last nine digits of every number there was in a record."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder, self.settings_ = folder, settings
        self.now = datetime(2025, 4, 1, tzinfo=UTC)
        self.files, self.window, self.spoken_of = 0, set(), set()
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def root(self) -> Path:
        return self.folder / "warehouse"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    def copied(self, name: str) -> Path:
        """Copy the warehouse, and what the key directory remembers of it, to be restored by what is returned."""
        shutil.copytree(self.keys, self.folder / f"{name}-keys")
        return Path(shutil.copytree(self.root, self.folder / name))

    def restored(self, copy: Path) -> None:
        """Put both back as they were copied; without its keys a warehouse would be an older one, and is refused."""
        for at, was in ((self.root, copy), (self.keys, copy.with_name(f"{copy.name}-keys"))):
            shutil.rmtree(at)
            shutil.copytree(was, at)

    @property
    def settings(self) -> Settings:
        return Settings(root=str(self.root), keys_dir=self.keys, **self.settings_)

    @property
    def runtime(self) -> Runtime:
        """A fresh runtime, as a new process has it."""
        return Runtime(self.settings, lambda: self.now)

    def maintenance_context(self, forced: bool = False) -> MaintenanceContext:
        return maintenance_context(self.runtime, forced)

    def sweep(self, forced: bool = False) -> list[Outcome]:
        return sweep(self.maintenance_context(forced), self.settings.retention)

    def ingest(self, lines: Iterable[bytes], format_name: str = "infobip/sms-report") -> Any:
        self.files += 1
        path = self.folder / f"input{self.files}.ndjson"
        data = b"\n".join(lines) + b"\n"
        path.write_bytes(data)
        self.spoken_of |= {found.decode()[-9:] for found in SPOKEN_OF.findall(data)}
        report = ingest(self.runtime, str(path), format_name, as_declared=True)
        path.unlink()
        if self.watched:
            rows = DeltaTable(str(self.root / "identifiers")).to_pyarrow_dataset()
            for column in rows.to_table(columns=["token", "message_token"]).columns:
                self.window |= {token for token in pc.unique(column).to_pylist() if token is not None}
        return report.counts

    def check_audit(self) -> None:
        """No entry, whatever was done here, tells whom it is of but by tokens that are the audit's own.

        Kept of the window, a token would lead to a person in each copy of a month's table; two of one person would
        link months whose keys are gone. `tokens` is what releases before this one wrote, and tests put there.
        """
        if not (self.keys / "audit").exists():
            return
        kept = {spelt for token in self.window for spelt in (token.hex(), b64encode(token).decode())}
        for entry in self.runtime.audit.entries():
            if "tokens" in entry:
                continue
            said = json.dumps(entry, default=str)
            texts = set(re.findall(r"[0-9a-f]{32}|[A-Za-z0-9+/]{22}==", said))
            assert not texts & kept, f"{entry['action']}: an entry has a token of the window"
            assert not ("record" in entry and "subjects" in entry), (
                f"{entry['action']}: whom a record is of ends"
            )
            for value in self.spoken_of:
                assert value not in said, f"{entry['action']}: an entry names somebody"

    def prepare(self, runtime: Runtime, lines: list[bytes]) -> TransformedBatch:
        """A batch as a worker holds it between its split and its commit."""
        source = Source("cdr", 0, "cluster/topic/0", "infobip/sms-report")
        numbers = np.arange(len(lines), dtype=np.int64)
        received = np.full(len(lines), -1, np.int64)
        batch = Batch(source, 0, 0, 0, len(lines) - 1, numbers, list(lines), received, sum(map(len, lines)))
        return runtime.transform.process(batch, formats.get("infobip/sms-report"))

    def traffic(self, count: int = 60, seed: int = 1, **more: Any) -> Any:
        return self.ingest(generate("infobip/sms-report", count, seed, until=self.now, months=1, **more))

    def found(self, value: str) -> list[dict[str, Any]]:
        """What a look-up finds of an address now."""
        subject = normalise(value)
        assert subject is not None
        query = lookup.Query((subject,), value)
        runtime = self.runtime
        return lookup.find(runtime.warehouse, lookup.tokens_of(query, runtime.ring, self.now), query)

    def tokens(self, value: str, months: Iterable[str], window: int = 12) -> dict[str, bytes]:
        """The tokens of an address, taken while the months open."""
        subject = normalise(value)
        assert subject is not None
        ring = self.runtime.ring
        return {
            m: subject_token(ring.keys_for(Month.parse(m), window), subject.kind, subject.value)
            for m in months
        }

    def rows(self, table: str) -> list[dict[str, Any]]:
        return list(DeltaTable(str(self.root / table)).to_pyarrow_dataset().to_table().to_pylist())

    def paths(self, folder: str = "") -> list[str]:
        """Every file below the warehouse, hidden ones too."""
        base = self.root / folder
        return sorted(str(p.relative_to(self.root)) for p in base.rglob("*") if p.is_file())

    def every_byte(self) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of every file of warehouse and key directory; Parquet also as its decoded values."""
        import pyarrow.parquet as pq

        for base in (self.root, self.keys):
            for path in base.rglob("*"):
                if path.is_file():
                    data = path.read_bytes()
                    if path.suffix == ".parquet":
                        table = pq.ParquetFile(path).read()
                        for column in table.columns:
                            for value in column.to_pylist():
                                data += value if isinstance(value, bytes) else str(value).encode() + b"\n"
                    yield str(path.relative_to(self.folder)), data

    def holding(self, *needles: bytes) -> list[str]:
        """The files that hold one of the byte strings."""
        return sorted(
            name for name, data in self.every_byte() if any(n in data or n in name.encode() for n in needles)
        )


def report(
    number: int, to: str, when: datetime, account: str = "acme", message_id: str | None = None, **more: Any
) -> bytes:
    """One delivery report of Infobip's shape for a recipient."""
    sent = when.astimezone(UTC)
    stamp = sent.strftime("%Y-%m-%dT%H:%M:%S.") + f"{sent.microsecond // 1000:03d}+0000"
    done = (sent + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    record = {
        "bulkId": f"bulk-{number}", "messageId": message_id or f"m-{number:08d}", "to": to, "sender": "ACME",
        "sentAt": stamp, "doneAt": done, "messageCount": 1, "mccMnc": "41003",
        "price": {"pricePerMessage": 0.02, "currency": "EUR"},
        "status": {"groupId": 3, "groupName": "DELIVERED", "id": 5, "name": "DELIVERED_TO_HANDSET", "description": "d"},
        "error": {"groupId": 0, "groupName": "OK", "id": 0, "name": "NO_ERROR", "permanent": False},
        "platform": {"entityId": account, "applicationId": "app"}, **more,
    }  # fmt: skip
    return json.dumps(record).encode()


def person(value: str) -> tuple[Subject, ...]:
    found = normalise(value)
    assert found is not None
    return (found, Subject("opaque", value))


def digits(text: str) -> str:
    return re.sub(r"\D", "", text)
