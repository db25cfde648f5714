"""A month is forgotten at the first instant of month M+13, wholly, and not before."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest
from retention_world import WINDOW_TABLES, World, report

from lethe.integrity.log.signing import Signer
from lethe.keys.providers.local import LocalProvider
from lethe.operations.proof.signer import load_signer, rotate_signer
from lethe.schemas.errors import ExpiredKeyError
from lethe.schemas.retention.calendar import Month
from lethe.testing.traffic import generate
from lethe.tiers.certificates import certificates
from lethe.tiers.ledger import reconcile
from lethe.tiers.retention.clock_guard import ClockError, newest_event

PAKISTANI = "+923001234567"
GERMAN = "+4915112345678"
MICROSECOND = timedelta(microseconds=1)


def fresh(world: World, when: datetime, number: int = 9_000) -> None:
    """Traffic of just now, so that something confirms the clock."""
    world.now = when
    world.ingest([report(number + int(when.timestamp()) % 1000, "+436641234567", when - timedelta(hours=1))])


def test_times_as_spark_writes_them_confirm_the_clock(make_world: Callable[..., World]) -> None:
    """INT96 has no bounds in a file's footer: the rows are asked."""
    world = make_world()
    fresh(world, datetime(2025, 4, 1, tzinfo=UTC))
    before = newest_event(world.runtime.warehouse)
    assert before is not None
    for path in (world.root / "metadata").rglob("*.parquet"):
        rows = pq.ParquetFile(path).read()
        pq.write_table(rows, path, use_deprecated_int96_timestamps=True, store_schema=False)
    assert newest_event(world.runtime.warehouse) == before


def test_fourteen_months_of_traffic_leave_one_after_the_other(make_world: Callable[..., World]) -> None:
    world = make_world()
    tokens: dict[str, bytes] = {}
    first = Month(2025, 3)
    for step in range(14):
        month = first.plus(step)
        world.now = month.plus(1).start()
        world.ingest(
            [
                report(step * 10 + i, number, month.start() + timedelta(days=20))
                for i, number in enumerate((PAKISTANI, GERMAN))
            ]
            + [
                report(step, "+436641234567", world.now - timedelta(hours=1))
            ]  # of just now: confirms the clock
            + list(generate("infobip/sms-report", 40, step, until=world.now, months=1, malformed=0.1))
        )
        tokens |= world.tokens(PAKISTANI, [str(month)])
        outcomes = world.sweep()
        gone = [str(first.plus(i)) for i in range(step - 11)]
        assert [o.what for o in outcomes] == [f"{m}.w12" for m in gone[-1:]]
        kept = {r["month"] for t in WINDOW_TABLES for r in world.rows(t)}
        assert not kept & set(gone)
        assert str(month) in kept
        assert len(world.found(PAKISTANI)) == step + 1 - len(gone)
    assert len({r["month"] for r in world.rows("metadata")}) == 14, "the archive keeps every month"
    for month in ("2025-03", "2025-04"):
        assert not [p for p in world.paths() if f"{month}/window" in p], "no file of an ended month is left"
        assert world.holding(tokens[month]) == []
        assert not (world.keys / f"{month}.w12.key").exists()
        with pytest.raises(ExpiredKeyError):
            world.runtime.ring.for_preserving(Month.parse(month))
    # Nothing in the warehouse or among the keys shows a number in the clear.
    assert world.holding(PAKISTANI[1:].encode(), GERMAN[1:].encode()) == []
    assert world.holding(tokens["2025-05"]) != [], "the scan finds what is there"
    assert reconcile.check(world.runtime.warehouse) == []


@pytest.mark.parametrize(
    ("month", "end"),
    [
        (Month(2023, 2), datetime(2024, 3, 1, tzinfo=UTC)),  # ends behind a leap day
        (Month(2024, 2), datetime(2025, 3, 1, tzinfo=UTC)),  # has a leap day
        (Month(2024, 12), datetime(2026, 1, 1, tzinfo=UTC)),
        (Month(2025, 1), datetime(2026, 2, 1, tzinfo=UTC)),
    ],
)
def test_a_month_opens_until_the_last_microsecond_and_never_after(
    make_world: Callable[..., World], month: Month, end: datetime
) -> None:
    world = make_world()
    world.now = month.plus(1).start()
    world.ingest([report(1, PAKISTANI, month.start() + timedelta(days=3))])
    world.now = end - MICROSECOND
    assert len(world.found(PAKISTANI)) == 1
    assert world.sweep(forced=True) == []
    assert len(world.found(PAKISTANI)) == 1
    world.now = end
    assert world.found(PAKISTANI) == [], "refused at the instant, although no sweep has run"
    assert [o.what for o in world.sweep(forced=True)] == [f"{month}.w12"]
    assert world.rows("identifiers") == []


def test_the_month_is_that_of_utc_whatever_the_zone_of_the_record(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.now = datetime(2025, 4, 2, tzinfo=UTC)
    # 1 April in Karachi, still March in UTC; and the other way about in Los Angeles.
    world.ingest(
        [
            report(1, PAKISTANI, world.now, sentAt="2025-04-01T04:59:59.999+0500"),
            report(2, GERMAN, world.now, sentAt="2025-03-31T17:00:00.000-0700"),
        ]
    )
    assert [r["month"] for r in world.found(PAKISTANI)] == ["2025-03"]
    assert [r["month"] for r in world.found(GERMAN)] == ["2025-04"]
    fresh(world, datetime(2026, 4, 1, tzinfo=UTC))
    assert [o.what for o in world.sweep()] == ["2025-03.w12"]
    assert len(world.found(GERMAN)) == 1


def test_a_second_sweep_finds_nothing_to_do(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.traffic(50)
    fresh(world, datetime(2026, 4, 1, tzinfo=UTC))
    assert len(world.sweep()) == 1
    before = world.paths("_certificates")
    assert world.sweep() == []
    assert world.paths("_certificates") == before


def test_each_window_length_ends_on_its_own(make_world: Callable[..., World]) -> None:
    policy = {"countries": [{"country": "DE", "window_months": 6, "reason": "a shorter law"}]}
    world = make_world(retention=policy)
    world.ingest(
        [
            report(1, PAKISTANI, datetime(2025, 3, 9, tzinfo=UTC)),
            report(2, GERMAN, datetime(2025, 3, 9, tzinfo=UTC)),
        ]
    )
    fresh(world, datetime(2025, 10, 1, tzinfo=UTC))
    assert [o.what for o in world.sweep()] == ["2025-03.w6"]
    assert world.found(GERMAN) == []
    assert len(world.found(PAKISTANI)) == 1
    fresh(world, datetime(2026, 4, 1, tzinfo=UTC))
    assert "2025-03.w12" in [o.what for o in world.sweep()]
    assert world.found(PAKISTANI) == []


def test_forgetting_reads_no_data(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world()
    world.traffic(50)
    fresh(world, datetime(2026, 4, 1, tzinfo=UTC))
    maintenance_context = world.maintenance_context()
    objects, read = maintenance_context.warehouse.objects, []
    real = type(objects).get
    monkeypatch.setattr(type(objects), "get", lambda self, path: (read.append(path), real(self, path))[1])
    from lethe.tiers.retention.expiry import due_months, forget_month

    (due,) = due_months(maintenance_context.warehouse, maintenance_context.ring, world.now)
    forget_month(maintenance_context, due)
    assert not [p for p in read if p.endswith(".parquet")]


def test_files_of_an_unfinished_commit_wait_an_hour(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.traffic(50)
    orphan = "identifiers/month=2025-03/window_months=12/0123456789abcdef-0123456789abcdef.parquet"
    torn = "originals/month=2025-03/window_months=12/.torn.parquet.00112233"
    for path in (orphan, torn):
        (world.root / path).write_bytes(b"left by a writer that was killed")
    mine = "identifiers/month=2026-03/window_months=12/fedcba9876543210-0123456789abcdef.parquet"
    fresh(world, datetime(2026, 4, 1, tzinfo=UTC))
    (world.root / mine).parent.mkdir(parents=True, exist_ok=True)
    (world.root / mine).write_bytes(b"a worker is just writing this one")
    (outcome,) = world.sweep()
    assert (outcome.state, outcome.certificate) == ("waiting", None)
    assert not (world.keys / "2025-03.w12.key").exists(), "unreadable at once"
    world.now += timedelta(minutes=59)
    assert [o.state for o in world.sweep()] == ["waiting"]
    world.now += timedelta(minutes=1)
    assert [o.state for o in world.sweep()] == ["forgotten"]
    assert not [p for p in world.paths() if "month=2025-03/window" in p]
    assert (world.root / mine).exists(), "files of other months are left alone"


def test_a_clock_that_jumped_destroys_nothing(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.traffic(50)
    assert world.sweep() == []
    world.now = datetime(2026, 4, 20, tzinfo=UTC)
    with pytest.raises(ClockError, match="more than a day apart"):
        world.sweep()
    # A worker with the same wrong clock commits records, which say themselves that they are a year older.
    world.ingest([report(5, PAKISTANI, datetime(2025, 4, 2, tzinfo=UTC))])
    with pytest.raises(ClockError, match="more than a day apart"):
        world.sweep()
    assert (world.keys / "2025-03.w12.key").exists()
    assert [o.state for o in world.sweep(forced=True)] == ["forgotten"]
    (certificate,) = certificates.every(world.runtime.objects)
    assert certificate["clock_forced"] is True
    world.now = datetime(2026, 4, 10, tzinfo=UTC)
    with pytest.raises(ClockError, match="the last sweep ran"):
        world.sweep()


def test_a_day_of_silence_is_no_reason_to_stop(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.ingest([report(1, PAKISTANI, world.now - timedelta(hours=2))])
    world.now += timedelta(hours=22)
    assert world.sweep() == []
    world.now += timedelta(days=2)
    with pytest.raises(ClockError, match="newest records were committed"):
        world.sweep()


def test_late_records_of_a_forgotten_month_do_not_bring_it_back(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.traffic(50)
    fresh(world, datetime(2026, 4, 1, tzinfo=UTC))
    world.sweep()
    counts = world.ingest([report(77, PAKISTANI, datetime(2025, 3, 9, tzinfo=UTC))])
    assert counts.late == 1
    assert world.found(PAKISTANI) == []
    assert world.sweep() == []


def test_certificates_say_what_and_show_every_change(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.traffic(50)
    fresh(world, datetime(2026, 4, 1, tzinfo=UTC))
    world.sweep()
    fresh(world, datetime(2027, 4, 1, tzinfo=UTC))
    world.sweep()
    objects = world.runtime.objects
    signer = load_signer(world.keys)
    assert signer is not None
    trusted = signer.history.keys
    assert certificates.verify_all(objects, trusted) == 2
    first = certificates.read(objects, 0)["certificate"]
    assert first["what"]["key_ids"] == ["2025-03.w12"]
    assert first["due"] == "2026-04-01T00:00:00+00:00"
    assert first["counts"]["rows_by_table"]["identifiers"] > 0
    assert all(f["sha256_64"] for f in first["files"])
    path = world.root / certificates.path_of(0)
    good = path.read_bytes()
    path.write_bytes(good.replace(b'"window_months": 12', b'"window_months": 13'))
    with pytest.raises(certificates.IntegrityError, match="certificate 0 was changed"):
        certificates.verify_all(objects, trusted)
    path.unlink()
    with pytest.raises(certificates.IntegrityError, match="no deletion certificate"):
        certificates.verify_all(objects, trusted)
    path.write_bytes((world.root / certificates.path_of(1)).read_bytes())
    with pytest.raises(certificates.IntegrityError, match="in the place of another"):
        certificates.verify_all(objects, trusted)


def test_a_certificate_waits_while_the_keys_destruction_could_be_taken_back(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some providers destroy a key days after they were asked."""
    world, final = make_world(), list[datetime | None]([None])
    world.traffic(50)
    monkeypatch.setattr(LocalProvider, "destroyed_for_good_at", lambda *_: final[0])
    fresh(world, datetime(2026, 4, 1, 1, tzinfo=UTC))
    assert [(o.state, o.certificate) for o in world.sweep()] == [("waiting", None)]
    assert world.found(PAKISTANI) == [], "unreadable at once"
    final[0] = datetime(2026, 4, 2, tzinfo=UTC)
    fresh(world, datetime(2026, 4, 2, 1, tzinfo=UTC))
    assert [o.state for o in world.sweep()] == ["forgotten"]
    (certificate,) = certificates.every(world.runtime.objects)
    assert datetime.fromisoformat(certificate["key_gone"]) == final[0]


def test_certificates_of_before_a_hand_over_of_keys_stay_good(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.traffic(50)
    fresh(world, datetime(2026, 4, 1, tzinfo=UTC))
    world.sweep()
    before = load_signer(world.keys)
    rotate_signer(world.keys, world.now)
    fresh(world, datetime(2027, 4, 1, tzinfo=UTC))
    world.sweep()
    after = load_signer(world.keys)
    assert before is not None
    assert after is not None
    objects = world.runtime.objects
    assert certificates.verify_all(objects, after.history.keys) == 2
    assert certificates.verify_all(objects, before.history.keys) == 2
    strangers = Signer.generate(after.name, 1).history.keys
    with pytest.raises(certificates.IntegrityError, match="not in the chain"):
        certificates.verify_all(objects, strangers)
    with pytest.raises(certificates.IntegrityError, match="not in the chain"):
        certificates.verify_all(objects, [*after.history.keys, *strangers][2:])
