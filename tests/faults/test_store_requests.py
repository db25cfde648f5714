"""What a look-up asks of an object store: few requests a month, counted by the store itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from s3_store import Store

from lethe.operations.asker import Asker
from lethe.operations.compact import Asked, compact
from lethe.operations.health import doctor
from lethe.operations.intake.ingest import ingest
from lethe.operations.proof.verify import Wanted, verify
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.operations.window.lookup import lookup, lookup_each
from lethe.testing.brokers.process import stop
from lethe.tiers.delta.rewrite import files_of, removed_files
from lethe.tiers.delta.table import Table
from lethe.tiers.ledger import reconcile

MONTHS = 4
NOW = datetime(2025, 4, 30, tzinfo=UTC)
HER = "+923001234567"


def report(number: int, month: int, to: str) -> bytes:
    when = f"2025-{month:02d}-09T12:00:{number:02d}.000+0000"
    record = {
        "bulkId": f"bulk-{number}", "messageId": f"m{month}-{number}", "to": to, "sender": "ACME", "sentAt": when,
        "doneAt": when, "messageCount": 1, "mccMnc": "41003",
        "price": {"pricePerMessage": 0.02, "currency": "EUR"},
        "status": {"groupId": 3, "groupName": "DELIVERED", "id": 5, "name": "DELIVERED_TO_HANDSET", "description": "d"},
        "error": {"groupId": 0, "groupName": "OK", "id": 0, "name": "NO_ERROR", "permanent": False},
        "platform": {"entityId": "acme", "applicationId": "app"},
    }  # fmt: skip
    return json.dumps(record).encode()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("store"))
    yield store
    stop(store.process)


@pytest.fixture(scope="module")
def settings(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A warehouse of four months, each merged."""
    folder = tmp_path_factory.mktemp("site")
    settings = Settings(root="s3://lethe/warehouse", keys_dir=folder / "keys", storage=store.storage)
    for month in range(1, MONTHS + 1):
        people = [HER if n == 3 else f"+9230{month:02d}0{n:05d}" for n in range(20)]
        file = folder / f"{month}.ndjson"
        file.write_bytes(b"".join(report(n, month, to) + b"\n" for n, to in enumerate(people)))
        ingest(runtime(settings), str(file), "infobip/sms-report", as_declared=True)
    compact(runtime(settings), Asked(whole=True))
    return settings


def runtime(settings: Settings) -> Runtime:
    return Runtime(settings, lambda: NOW)


def asked(store: Store, settings: Settings, warm: Runtime | None = None, since: int = 1) -> int:
    """Count the requests of a look-up from a month on, in a new process' stead or in one that has asked before."""
    before = store.requests()
    start = datetime(2025, since, 1, tzinfo=UTC)
    found = lookup(warm or runtime(settings), Asker.of("ada", "F-1", "test"), HER, start)
    assert len(found.records) == MONTHS + 1 - since
    return store.requests() - before


def test_a_look_up_asks_three_times_a_month_and_less_in_a_running_process(
    store: Store, settings: Settings
) -> None:
    asked(store, settings)  # makes the audit's own keys
    whole, last = asked(store, settings), asked(store, settings, since=MONTHS)
    assert whole - last <= 3 * (MONTHS - 1), "the keys, the identifiers and the archive of a month"
    assert last <= 24, "three tables are opened, whatever they hold"
    warm = runtime(settings)
    asked(store, settings, warm)
    again, one = asked(store, settings, warm), asked(store, settings, warm, since=MONTHS)
    assert again - one <= 2 * (MONTHS - 1)
    assert one <= 8


def test_what_looks_at_all_asks_once_for_each_thing(store: Store, settings: Settings) -> None:
    """Four months, a stream and so a log of each: the log costs `doctor` three requests, `verify` nine and a list."""
    before = store.requests()
    found = list(doctor.checks(runtime(settings), {}))
    assert not [check for check in found if check.state == "wrong"]
    after = store.requests()
    assert after - before <= 35 + 5 * MONTHS, "40 over one month; a key, a log and a merge for each"
    assert reconcile.check(runtime(settings).warehouse) == []
    before, after = after, store.requests()
    assert after - before <= 46, "each file is read once, however many streams there are"
    done = verify(runtime(settings), Wanted(), lambda _done, _of: None)
    assert (done.findings, done.report.rows) == ([], MONTHS * 20)
    before, after = after, store.requests()
    assert after - before <= 76


def test_what_was_opened_from_a_copy_sees_what_comes_later(store: Store, settings: Settings) -> None:
    early = runtime(settings).warehouse
    assert early.metadata.dataset().count_rows() == MONTHS * 20
    folder = Path(settings.keys_dir).parent
    file = folder / "later.ndjson"
    file.write_bytes(report(1, MONTHS, f"+9230{MONTHS:02d}099999") + b"\n")
    ingest(runtime(settings), str(file), "infobip/sms-report", as_declared=True)
    early.metadata.reload()
    assert early.metadata.dataset().count_rows() == MONTHS * 20 + 1
    table = early.metadata
    old, version = files_of(table), table.version
    assert removed_files(table) == removed_files(Table(early.objects, "metadata", runtime(settings).storage))
    table.write_checkpoint()
    assert (files_of(table), table.version) == (old, version)
    assert files_of(Table(early.objects, "metadata", runtime(settings).storage)) == old


def test_several_values_ask_no_more_than_one_does(store: Store, settings: Settings) -> None:
    warm = runtime(settings)
    asked(store, settings, warm)
    alone = asked(store, settings, warm)
    before = store.requests()
    people = [HER, *(f"+9230{month:02d}0{n:05d}" for month in range(1, MONTHS + 1) for n in range(4, 14))]
    found = lookup_each(warm, Asker.of("ada", "F-1", "test"), people)
    assert [len(f.records) for f in found] == [MONTHS, *[1] * 40]
    assert store.requests() - before <= alone + 2
