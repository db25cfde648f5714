"""The audit log: durable, in order, and any tampering shows."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from lethe.operations.audit.log import AuditLog
from lethe.schemas.errors import ConfigurationError, IntegrityError

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit", tmp_path / "keys")


def lines(tmp_path: Path) -> list[bytes]:
    return (tmp_path / "audit" / "audit.jsonl").read_bytes().splitlines(keepends=True)


def rewrite(tmp_path: Path, changed: list[bytes]) -> None:
    (tmp_path / "audit" / "audit.jsonl").write_bytes(b"".join(changed))


def test_entries_come_back_in_order_with_numbers(log: AuditLog) -> None:
    for case in ("A", "B", "C"):
        log.append({"action": "lookup", "case": case}, NOW)
    assert [(e["number"], e["case"]) for e in log.entries()] == [(1, "A"), (2, "B"), (3, "C")]


def test_a_changed_entry_shows(log: AuditLog, tmp_path: Path) -> None:
    log.append({"case": "A"}, NOW)
    log.append({"case": "B"}, NOW)
    first, second = lines(tmp_path)
    rewrite(tmp_path, [first.replace(b'"A"', b'"Z"'), second])
    with pytest.raises(IntegrityError, match="entry 1 was changed"):
        list(log.entries())


@pytest.mark.parametrize("keep", [(0, 2), (1, 2), (0, 0, 1, 2), (1, 0, 2)])
def test_a_removed_doubled_or_moved_entry_shows(log: AuditLog, tmp_path: Path, keep: tuple[int, ...]) -> None:
    for case in ("A", "B", "C"):
        log.append({"case": case}, NOW)
    whole = lines(tmp_path)
    rewrite(tmp_path, [whole[at] for at in keep])
    with pytest.raises(IntegrityError):
        list(log.entries())


def test_a_torn_last_line_is_cut_off_and_the_log_goes_on(log: AuditLog, tmp_path: Path) -> None:
    log.append({"case": "A"}, NOW)
    rewrite(tmp_path, [*lines(tmp_path), b'{"number": 2, "ca'])
    log.append({"case": "B"}, NOW)
    assert [e["case"] for e in log.entries()] == ["A", "B"]


def append_many(directory: Path, name: str) -> None:
    log = AuditLog(directory / "audit", directory / "keys")
    for _ in range(20):
        log.append({"case": name}, NOW)


def test_processes_append_side_by_side(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=append_many, args=(tmp_path, name)) for name in ("A", "B", "C")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    log = AuditLog(tmp_path / "audit", tmp_path / "keys")
    assert sorted(e["case"] for e in log.entries()) == sorted(["A", "B", "C"] * 20)


def test_without_a_place_to_write_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("in the way")
    with pytest.raises(ConfigurationError, match="without an entry there is no answer"):
        AuditLog(tmp_path / "audit", tmp_path / "keys").append({"case": "A"}, NOW)


def test_entries_are_json_lines(log: AuditLog, tmp_path: Path) -> None:
    log.append({"case": "A"}, NOW)
    entry = orjson.loads(lines(tmp_path)[0])
    assert entry["time"] == "2026-11-01T12:00:00.000000+00:00"
    assert set(entry) == {"number", "previous", "time", "case", "signature"}
