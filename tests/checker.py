"""An independent judge of the promise: every record exactly once in both tiers, or loudly refused.

It knows what was produced, and reads the tables with plain `deltalake` and `pyarrow` and the keys. Nothing of the path
that wrote them is asked: not the decoder, not the ledger's arithmetic, not the reconciliation.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from lethe.keys.blobs import Blobs, LocalBlobs
from lethe.keys.pages import open_page
from lethe.keys.providers.local import LocalProvider
from lethe.keys.ring import KeyRing, MonthKeys
from lethe.keys.tokens import reverse_tokens
from lethe.schemas.retention.calendar import Month

TopicPartition = tuple[str, int, int, int | None]
"""stream, partition, offset, index."""

PERSON = {"infobip/sms-report": "to", "infobip/sms-inbound": "from"}
"""Where the only end user of a record stands, by format."""


@dataclass(frozen=True)
class Message:
    """One message as it was produced. `good`: whether it must be split; None: either way, but not both ways."""

    stream: str
    partition: int
    offset: int
    value: bytes | None = field(repr=False)
    format: str = "infobip/sms-report"
    good: bool | None = None


@dataclass
class Verdict:
    """What was found. Empty lists mean that the promise was kept."""

    lost: list[TopicPartition] = field(default_factory=list)
    doubled: list[TopicPartition] = field(default_factory=list)
    foreign: list[TopicPartition] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    archived: int = 0
    quarantined: int = 0

    @property
    def kept(self) -> bool:
        """Whether every record is exactly once in both tiers."""
        return not (self.lost or self.doubled or self.foreign or self.wrong)

    def __str__(self) -> str:
        return (
            f"{len(self.lost)} lost {self.lost[:3]}, {len(self.doubled)} doubled {self.doubled[:3]}, "
            f"{len(self.foreign)} foreign {self.foreign[:3]}, {len(self.wrong)} wrong {self.wrong[:3]}; "
            f"{self.archived} archived, {self.quarantined} in quarantine"
        )


class Checker:
    """Reads one warehouse. `storage` and `blobs` are for one on an object store."""

    def __init__(
        self,
        root: str | Path,
        keys: Path,
        storage: Mapping[str, str] | None = None,
        blobs: Blobs | None = None,
    ) -> None:
        self._root = str(root).rstrip("/")
        self._storage = dict(storage or {}) or None
        self._key_directory = keys
        self._blobs = blobs or LocalBlobs(Path(root))

    @cached_property
    def _ring(self) -> KeyRing:
        return KeyRing(LocalProvider(self._key_directory), self._blobs, lambda: datetime.now(UTC))

    def rows(self, table: str, columns: list[str] | None = None) -> list[dict[str, Any]]:
        """Every row of a table, through a fresh handle."""
        return self.arrow(table, columns).to_pylist()

    def arrow(self, table: str, columns: list[str] | None = None) -> pa.Table:
        """A table, through a fresh handle; an empty one if there is none."""
        url = f"{self._root}/{table}"
        if not DeltaTable.is_deltatable(url, storage_options=self._storage):
            return pa.table({name: [] for name in columns or []})
        return DeltaTable(url, storage_options=self._storage).to_pyarrow_table(columns=columns)

    def judge(self, produced: Iterable[Message]) -> Verdict:
        """Compare the tables with what was produced, record by record."""
        verdict = Verdict()
        place = ["stream", "partition", "offset", "index"]
        metadata = self.rows("metadata", [*place, "event_time", "integrity_hash"])
        archive = Counter(_place(row) for row in metadata)
        quarantine = Counter(_place(row) for row in self.rows("quarantine", place))
        verdict.archived, verdict.quarantined = archive.total(), quarantine.total()
        verdict.doubled += [p for p, n in (archive + quarantine).items() if n > 1]
        expected: dict[TopicPartition, tuple[Message, Any]] = {}
        for message in produced:
            here = (message.stream, message.partition, message.offset)
            whole: TopicPartition = (*here, None)
            elements = _elements(message.value)
            if whole in archive or whole in quarantine or elements is None:
                expected[whole] = (message, _document(message.value))
            else:
                expected.update({(*here, n): (message, one) for n, one in enumerate(elements)})
        both = archive + quarantine
        verdict.lost += [p for p in expected if p not in both]
        verdict.foreign += [p for p in both if p not in expected]
        for found, (message, _) in expected.items():
            if (message.good is True and found in quarantine) or (message.good is False and found in archive):
                verdict.wrong.append(f"{found} went to the wrong tier")
        times = {_place(row): row["event_time"] for row in metadata}
        self._judge_times(expected, times, verdict)
        self._judge_window(expected, {_place(r) for r in metadata}, verdict)
        self._judge_originals({_place(r) for r in metadata if r["integrity_hash"] is not None}, verdict)
        return verdict

    def _judge_times(
        self,
        expected: Mapping[TopicPartition, tuple[Message, Any]],
        times: Mapping[TopicPartition, datetime],
        verdict: Verdict,
    ) -> None:
        """A row stands at its own record's position: its time is that record's."""
        for found, when in times.items():
            record = expected[found][1] if found in expected else None
            said = record.get("sentAt") or record.get("receivedAt") if isinstance(record, dict) else None
            if said is not None and abs((datetime.fromisoformat(said) - when).total_seconds()) > 0.001:
                verdict.wrong.append(f"{found} holds another record's time")

    def _judge_window(
        self,
        expected: Mapping[TopicPartition, tuple[Message, Any]],
        archive: set[TopicPartition],
        verdict: Verdict,
    ) -> None:
        """Every archived record's end user is in the window exactly once, and is the right one."""
        table = self.arrow("identifiers")
        found: Counter[TopicPartition] = Counter()
        for row, value in self._opened(table):
            place = _place(row)
            if place not in archive:
                continue  # half of a commit that has not happened: it does not count, nor does it disturb
            found[place] += 1
            message, record = expected.get(place, (None, None))
            person = PERSON.get(message.format) if message else None
            if person and value is not None and value[1] != re.sub(r"\D", "", str(record[person])):
                verdict.wrong.append(f"{place} leads to another end user")
        for place in archive:
            message = expected[place][0] if place in expected else None
            if message is None or message.format not in PERSON:
                continue
            if found[place] > 1:
                verdict.doubled.append(place)
            elif not found[place] and not self._late(expected[place][1]):
                verdict.lost.append(place)

    def _opened(self, table: pa.Table) -> Iterable[tuple[dict[str, Any], tuple[str, str] | None]]:
        rows = table.to_pylist()
        by_month: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for row in rows:
            by_month.setdefault((row["month"], row["window_months"]), []).append(row)
        for (month, window), mine in by_month.items():
            values = reverse_tokens(self._keys(month, window), [row["token"] for row in mine])
            yield from zip(mine, values, strict=True)

    def _keys(self, month: str, window: int) -> MonthKeys:
        return self._ring.keys_for(Month.parse(month), window)

    @staticmethod
    def _late(record: Any) -> bool:
        said = record.get("sentAt") or record.get("receivedAt")
        when = datetime.fromisoformat(said)
        now = datetime.now(UTC)
        return (now.year - when.year) * 12 + now.month - when.month > 12

    def _judge_originals(self, in_scope: set[TopicPartition], verdict: Verdict) -> None:
        """Every provable record's original can be produced, once."""
        found: Counter[TopicPartition] = Counter()
        for row in self.rows("originals"):
            keys = self._keys(row["month"], row["window_months"])
            where = (row["stream"], row["partition"], row["first_offset"], row["last_offset"])
            for entry in open_page(keys, "originals", *where, row["page"]).to_pylist():
                if entry["form"] != "fields":
                    found[row["stream"], row["partition"], entry["offset"], entry["index"]] += 1
        verdict.doubled += [p for p in in_scope if found[p] > 1]
        verdict.lost += [p for p in in_scope if not found[p]]

    def ledger_covers(self, ends: Mapping[tuple[str, int], tuple[int, int]]) -> list[str]:
        """What is wrong with the ledger's ranges, given (stream, partition) -> (first offset, end)."""
        wrong = []
        rows = self.rows("ledger", ["stream", "partition", "source", "first_offset", "last_offset"])
        for (stream, partition), (first, end) in ends.items():
            at = first
            mine = [r for r in rows if (r["stream"], r["partition"]) == (stream, partition)]
            for row in sorted(mine, key=lambda r: r["first_offset"]):
                if row["source"].startswith("replay/"):
                    continue
                if row["first_offset"] != at:
                    wrong.append(f"{stream}/{partition}: {at} expected, {row['first_offset']} found")
                at = row["last_offset"] + 1
            if at != end:
                wrong.append(f"{stream}/{partition}: ends at {at}, not {end}")
        return wrong


def _place(row: Mapping[str, Any]) -> TopicPartition:
    return row["stream"], row["partition"], row["offset"], row["index"]


def _document(value: bytes | None) -> Any:
    try:
        return json.loads(value or b"")
    except (ValueError, RecursionError):
        return None


def _elements(value: bytes | None) -> list[Any] | None:
    """The records of an envelope, None for a message that is a record (or rubbish) itself."""
    document = _document(value)
    results = document.get("results") if isinstance(document, dict) else None
    return results if isinstance(results, list) and results else None
