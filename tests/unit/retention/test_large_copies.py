"""A copy of a person with very many records: written as it was, from memory that does not grow with them."""

from __future__ import annotations

import io
import itertools
import tracemalloc
import zipfile
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from lethe.console.web.calls import rights
from lethe.console.web.calls._shared import told
from lethe.operations.documents.packed import pack
from lethe.operations.office import answer
from lethe.operations.rights.export import Export, write_files
from lethe.operations.settings import Office
from lethe.tiers.rights import subject_export
from lethe.tiers.rights.spool import Spool


def record(number: int) -> dict[str, Any]:
    """As `subject_export` makes it; the order of times is not that of numbers."""
    time = f"2026-10-{1 + number * 7 % 28:02d}T08:00:00+00:00"
    return {
        "record": f"cdr/0/{number:07d}", "event_time": time, "source": "infobip/sms-report",
        "identifiers": [{"role": "recipient", "kind": "msisdn", "value": "923330000001"}],
        "other_parties": [{"role": "sender", "kind": "msisdn", "value": "9233*******2"}], "message_id": f"m-{number}",
        "metadata": {"event_time": time, "account": "acme", "price": "0.01", "note": "ü\n"},
        "kept_fields": [{"form": "received", "text": "x" * 700}], "withheld": 0, "identifiers_kept_until": "2027-11-01",
        "identifiers_period": "12 months", "metadata_kept_until": "2037-01-01", "metadata_period": "10 years",
    }  # fmt: skip


def spooled(count: int, chunk: int) -> Spool:
    made = Spool()
    numbers = iter(range(count))
    while some := [record(n) for n in itertools.islice(numbers, chunk)]:
        made.add(some)
    return made


def content(records: Any) -> dict[str, Any]:
    return {
        "made": "now", "records": records, "rejected_records": [{"record": "cdr/0/9"}], "mentioned_in": [],
        "held_by_law": [], "recipients": [{"kind": "account", "name": "acme"}], "sources": ["a"],
        "looked_at": [{"time": "t", "category": "looked for in the records"}],
    }  # fmt: skip


@pytest.mark.parametrize(("count", "chunk"), [(0, 5), (1, 5), (23, 5), (20, 20), (20, 1)])
def test_the_files_are_those_of_a_copy_in_memory(count: int, chunk: int) -> None:
    records = sorted(map(record, range(count)), key=lambda r: (r["event_time"], r["record"]), reverse=True)
    kept = spooled(count, chunk)
    assert (len(kept), list(kept), list(kept)) == (count, records, records)
    assert [kept[n] for n in range(-count, count)] == records * 2
    assert kept[2:7:2] == records[2:7:2]
    with pytest.raises(IndexError):
        kept[count]
    files = subject_export.as_files(content(kept))
    assert files == subject_export.as_files(content(records))
    assert files["export.json"] == orjson.dumps(content(records), option=orjson.OPT_INDENT_2) + b"\n"


def test_what_lies_on_the_disk_is_sealed_and_has_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kept = spooled(50, 10)
    assert list(tmp_path.iterdir()) == []
    with open(f"/proc/self/fd/{kept._file.fileno()}", "rb") as file:
        data = file.read()
    assert len(data) > 50 * 700
    for word in (b"923330000001", b"acme", b"cdr/0", b"xxxxxxxx"):
        assert word not in data


def test_memory_does_not_grow_with_the_records(tmp_path: Path) -> None:
    """Twenty thousand records of 1.6 kB: 32 MB as JSON alone, 130 MB as values."""
    tracemalloc.start()
    copy = Export(content(spooled(20_000, 1_000)))
    written = write_files(tmp_path / "hers", copy.parts())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert copy.records == 20_000
    assert sum(Path(p).stat().st_size for p in written) > 30 << 20
    assert peak < 16 << 20


def test_a_letter_and_its_zip_are_the_same_from_memory_that_does_not_grow(tmp_path: Path) -> None:
    now = datetime(2026, 12, 1, tzinfo=UTC)
    facts = answer.Facts("access", "R-1", now.date(), ["+923330000001"])

    def parts(records: Any) -> dict[str, Any]:
        of = content(records) | {"looked_at": []}
        letter = answer.files(of, facts, "en", Office(), now)
        return {**subject_export.as_parts(of), **letter}

    def listed(records: Any) -> dict[str, bytes]:
        return {n: d if isinstance(d, bytes) else b"".join(d) for n, d in parts(records).items()}

    records = sorted(map(record, range(450)), key=lambda r: (r["event_time"], r["record"]), reverse=True)
    assert listed(spooled(450, 100)) == listed(records)
    assert b"250" in listed(records)["answer.html"].rpartition(b"</table>")[2]  # that many are not shown

    def peak(count: int) -> int:
        kept = spooled(count, 1_000)
        tracemalloc.start()
        with (tmp_path / f"{count}.zip").open("wb") as out:
            pack(parts(kept), out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak(10_000) < peak(1_000) + 2_000_000
    assert (tmp_path / "1000.zip").read_bytes() == whole(listed(spooled(1_000, 1_000)))


def whole(files: dict[str, bytes]) -> bytes:
    """A ZIP made with everything in memory."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_the_service_says_the_same_of_a_copy_part_by_part(count: int) -> None:
    copy = Export(content(spooled(count, 7)))
    assert b"".join(rights._told(copy)) == told(copy).body
    files = {**copy.parts(), "answer.pdf": b"\x00\xff" * (count + 1)}
    whole = {
        name: b64encode(d if isinstance(d, bytes) else b"".join(d)).decode() for name, d in files.items()
    }
    files = {**copy.parts(), "answer.pdf": b"\x00\xff" * (count + 1)}
    said = {"records": count, "held": 0, "files": whole}
    assert b"".join(rights._as_text(copy, files)) == told(said).body
