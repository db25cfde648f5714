"""What a look-up asks of an object store: few requests a month, counted by the store itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from s3_store import Store

from lethe.integrity.log.store import log_origin
from lethe.operations.asker import Asker
from lethe.operations.compact import Asked, compact
from lethe.operations.health import doctor
from lethe.operations.intake.ingest import ingest
from lethe.operations.proof.signing import history_of
from lethe.operations.proof.verify import Wanted, verify
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.operations.window.lookup import lookup, lookup_each
from lethe.testing.brokers.process import stop
from lethe.tiers.delta.rewrite import files_of, removed_files
from lethe.tiers.delta.table import Table
from lethe.tiers.evidence.log_state import log_states
from lethe.tiers.evidence.log_store import folder_of, logs
from lethe.tiers.ledger import reconcile

MONTHS = 12
NOW = datetime(2025, 12, 30, tzinfo=UTC)
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
    """A warehouse of twelve months, each merged, and of each a file, which has a log of its own."""
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
    before = store.requests()
    first = list(doctor.checks(runtime(settings), {}))
    after = store.requests()
    assert after - before <= 40 + MONTHS, "the first time each month's wrapped keys are read"
    again = list(doctor.checks(runtime(settings), {}))
    assert [c for c in (*first, *again) if c.state == "wrong"] == []
    before, after = after, store.requests()
    assert after - before <= 40
    assert reconcile.check(runtime(settings).warehouse) == []
    before, after = after, store.requests()
    assert after - before <= 30 + 2 * MONTHS, "each month's file of two tables"
    done = verify(runtime(settings), Wanted(), lambda _done, _of: None)
    assert (done.findings, done.report.rows) == ([], MONTHS * 20)
    before, after = after, store.requests()
    assert after - before <= 20 + 7 * MONTHS, "a file twice; of a log five things, each once"


def wrong(settings: Settings, what: str) -> set[str]:
    """Say of which parts of something `doctor` finds that they are not as they must be."""
    found = [c for c in doctor.checks(runtime(settings), {}) if c.what.startswith(what) and c.state != "ok"]
    return {c.what.removeprefix(what).strip() for c in found}


def test_a_wrapped_key_that_lies_as_it_was_is_tried_and_another_one_is_read(
    store: Store, settings: Settings
) -> None:
    objects, path = runtime(settings).objects, "_keys/2025-03.w12.json"
    assert wrong(settings, "keys") == set()
    good = objects.get(path) or b""
    other = objects.get("_keys/2025-04.w12.json") or b""
    for bad in (b"{}", other, good.replace(b'"', b"'"), b"\xff"):
        objects.put(path, bad)
        assert wrong(settings, "keys") == {"2025-03.w12"}
    objects.put(path, good)
    assert wrong(settings, "keys") == set()
    provider = Path(settings.keys_dir) / "2025-03.w12.key"
    key = provider.read_bytes()
    provider.write_bytes(key[:-20] + b"0" * 20)
    assert wrong(settings, "keys") == {"2025-03.w12"}, "what is remembered is tried with the provider"
    provider.write_bytes(key)
    (Path(settings.keys_dir) / ".wrapped-seen.json").write_bytes(b"[1]")
    assert wrong(settings, "keys") == set()


def test_a_log_that_the_keys_do_not_vouch_for_is_always_read(store: Store, settings: Settings) -> None:
    site = runtime(settings)
    history, warehouse = history_of(site), site.warehouse
    (one, *_) = logs(site.objects)
    checkpoint = f"{folder_of(one[0])}/{one[1]}/checkpoint"
    good = site.objects.get(checkpoint) or b""
    site.objects.delete(checkpoint)

    def behind(at_most: int) -> list[str]:
        return [s.name for s in log_states(warehouse, history, NOW, None, at_most) if s.behind]

    try:
        assert behind(MONTHS) == [f"{one[0]}/{one[1]}"]
        assert behind(0) == [], "the keys know it to be complete"
        origin = log_origin(history.name, *one)
        kept = Path(settings.keys_dir) / "log.signed" / sha256(origin.encode()).hexdigest()
        note = kept.read_bytes()
        kept.unlink()
        assert behind(0) == [f"{one[0]}/{one[1]}"]
        kept.write_bytes(note.replace(b"\n1\n", b"\n2\n", 1))
        assert behind(0) == [f"{one[0]}/{one[1]}"], "what nobody signed vouches for nothing"
        kept.write_bytes(note)
    finally:
        site.objects.put(checkpoint, good)
    assert behind(MONTHS) == []
    states = list(log_states(warehouse, history, NOW, None, 2))
    assert [len(states), sum(s.read for s in states)] == [MONTHS, 2]


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
    assert [len(f.records) for f in found] == [MONTHS, *[1] * (10 * MONTHS)]
    assert store.requests() - before <= alone + 2
