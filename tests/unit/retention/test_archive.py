"""The archive: a year leaves at the first instant of year Y+11, or when its country's own period is over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from retention_world import World, report

from lethe.integrity.evidence import verify_evidence
from lethe.integrity.evidence.verify_evidence import Proven
from lethe.integrity.log.signing import KeyHistory
from lethe.integrity.verify.findings import Finding, Kind
from lethe.operations.proof.signer import load_signer
from lethe.schemas.errors import IntegrityError
from lethe.schemas.position import Position
from lethe.schemas.retention.data_class import DataClass
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.tiers.certificates import certificates
from lethe.tiers.delta.files import parquet_bytes
from lethe.tiers.evidence.proof import evidence_of
from lethe.tiers.evidence.verification import Verifier
from lethe.tiers.ledger import reconcile
from lethe.tiers.window.lookup import position_of

PAKISTANI = "+923001234567"
GERMAN = "+4915112345678"
AUSTRIAN = "+436641234567"
MICROSECOND = timedelta(microseconds=1)


def years(world: World) -> list[str]:
    return sorted({r["month"][:4] for r in world.rows("metadata")})


def test_twelve_years_of_traffic_leave_year_by_year(make_world: Callable[..., World]) -> None:
    world = make_world()
    for year in range(2014, 2026):
        world.now = datetime(year + 1, 1, 1, tzinfo=UTC)
        world.ingest(
            [
                report(year, PAKISTANI, datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)),
                report(year + 1, GERMAN, datetime(year, 2, 28 + (year % 4 == 0), tzinfo=UTC)),
            ]
        )
        outcomes = world.sweep()
        gone = [o.what for o in outcomes if o.what.startswith("archive-")]
        assert gone == ([f"archive-{year - 10}-02", f"archive-{year - 10}-12"] if year >= 2024 else [])
        assert years(world) == [str(y) for y in range(max(2014, year - 9), year + 1)]
    assert not [p for p in world.paths("metadata") if "month=2014" in p or "month=2015" in p]
    signer = load_signer(world.keys)
    assert signer is not None
    assert certificates.verify_all(world.runtime.objects, signer.history.keys) > 20
    assert reconcile.check(world.runtime.warehouse) == []


def test_a_year_stays_until_its_last_microsecond(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.traffic(30)
    world.now = datetime(2036, 1, 1, tzinfo=UTC) - MICROSECOND
    world.sweep(forced=True)
    assert years(world) == ["2025"]
    world.now += MICROSECOND
    world.sweep(forced=True)
    assert years(world) == []
    assert world.sweep(forced=True) == []


def test_one_countrys_rows_leave_and_the_others_stay_as_they_were(make_world: Callable[..., World]) -> None:
    policy = {"countries": [{"country": "DE", "archive_years": 2, "reason": "a shorter law"},
                            {"country": "AT", "archive_years": 12, "reason": "a longer law"}]}  # fmt: skip
    world = make_world(retention=policy)
    when = datetime(2025, 3, 9, tzinfo=UTC)
    world.ingest([report(i, n, when) for i, n in enumerate((PAKISTANI, GERMAN, AUSTRIAN))])
    before = {r["country"]: r for r in world.rows("metadata")}
    assert set(before) == {"PK", "DE", "AT"}
    world.now = datetime(2028, 1, 1, tzinfo=UTC)
    world.sweep(forced=True)
    after = {r["country"]: r for r in world.rows("metadata")}
    assert after == {c: before[c] for c in ("PK", "AT")}
    files = world.paths("metadata")
    assert len([p for p in files if p.endswith(".parquet")]) == 1, "the file that held the rows is gone"
    assert world.sweep(forced=True) == [], "looked into once"
    assert world.paths("metadata") == files
    world.now = datetime(2036, 1, 1, tzinfo=UTC)
    world.sweep(forced=True)
    assert [r["country"] for r in world.rows("metadata")] == ["AT"]
    world.now = datetime(2038, 1, 1, tzinfo=UTC)
    world.sweep(forced=True)
    assert world.rows("metadata") == []


SHORTER = {"countries": [{"country": "DE", "archive_years": 2, "reason": "a shorter law"}]}
MARCH = datetime(2025, 3, 9, tzinfo=UTC)


def shared(make_world: Callable[..., World], **more: Any) -> World:
    """A world whose archive has rows of two countries, with different periods, in integrity scope."""
    return make_world(retention=SHORTER, integrity={"scope": "all"}, **more)


def mixed(count: int, first: int = 0) -> list[bytes]:
    return [report(first + i, (PAKISTANI, GERMAN)[i % 2], MARCH + timedelta(seconds=i)) for i in range(count)]


def history(world: World) -> KeyHistory:
    signer = load_signer(world.keys)
    assert signer is not None
    return signer.history


def evidence(world: World, row: dict[str, Any]) -> Proven:
    runtime, keys = world.runtime, history(world)
    position = Position(row["stream"], row["partition"], row["offset"], row["index"])
    file = evidence_of(runtime.warehouse, runtime.ring, keys, position, world.now).file
    return verify_evidence.verify(file, [str(keys.sets[0].ed25519)])


def findings(world: World, policy: RetentionPolicy | None = None) -> list[Finding]:
    runtime = world.runtime
    policy = policy or world.settings.retention
    return list(Verifier(runtime.warehouse, history(world), policy, world.now).run())


def whole(world: World) -> list[str]:
    return [p for p in world.paths("_log") if p.endswith(".whole")]


def test_what_stays_of_a_commit_is_still_proven_row_by_row(make_world: Callable[..., World]) -> None:
    world = shared(make_world)
    world.ingest(mixed(90))
    rows = world.rows("metadata")
    assert findings(world) == []
    assert whole(world) == []
    world.now = datetime(2028, 1, 1, tzinfo=UTC)
    world.sweep(forced=True)
    stay = world.rows("metadata")
    assert stay == [r for r in rows if r["country"] == "PK"]
    assert len(whole(world)) == 1
    assert findings(world) == []
    for row in stay[::9]:
        assert evidence(world, row).original is None
    # Compared by who does not know of the shorter period: what is gone is named, and nothing else.
    names = {(Kind.MISSING, str(position_of(r))) for r in rows if r["country"] == "DE"}
    assert {(f.kind, f.where) for f in findings(world, RetentionPolicy())} == names
    # Without the list that was kept, two others of a group are enough to prove nothing.
    (path,) = whole(world)
    (world.root / path).unlink()
    with pytest.raises(IntegrityError, match="cannot be proven"):
        evidence(world, stay[0])


def test_a_row_damaged_before_others_leave_does_not_hold_them_up(make_world: Callable[..., World]) -> None:
    world = shared(make_world)
    world.ingest(mixed(90))
    (path,) = [p for p in world.paths("metadata") if p.endswith(".parquet")]
    table = pq.read_table(world.root / path, partitioning=None)
    status = ["X" if at in (3, 5, 40) else s for at, s in enumerate(table["status"].to_pylist())]
    at = table.column_names.index("status")
    rows = table.set_column(at, table.schema.field("status"), pa.array(status, pa.string()))
    (world.root / path).write_bytes(parquet_bytes("metadata", rows))
    world.now = datetime(2028, 1, 1, tzinfo=UTC)
    world.sweep(forced=True)
    stay = {r["offset"]: r for r in world.rows("metadata")}
    assert set(stay) == set(range(0, 90, 2))
    for offset in (4, 40, 42):
        with pytest.raises(IntegrityError, match="cannot be proven"):
            evidence(world, stay[offset])  # of the groups of which a row was damaged
    assert evidence(world, stay[70])


def test_commits_of_several_months_need_no_list(make_world: Callable[..., World]) -> None:
    world = shared(make_world)
    earlier = [report(i, (PAKISTANI, GERMAN)[i % 2], datetime(2024, 12, 30, tzinfo=UTC)) for i in range(40)]
    world.ingest([*earlier, *mixed(40, 40)])
    world.now = datetime(2027, 1, 1, tzinfo=UTC)
    world.sweep(forced=True)
    assert len(world.rows("metadata")) == 60
    assert whole(world) == []
    for row in world.rows("metadata")[::7]:
        assert evidence(world, row)


def test_no_list_is_kept_of_what_leaves_as_a_whole(make_world: Callable[..., World]) -> None:
    world = shared(make_world)
    world.ingest([report(i, GERMAN, MARCH) for i in range(40)])
    world.ingest([report(i, PAKISTANI, MARCH) for i in range(40, 80)])
    world.now = datetime(2028, 1, 1, tzinfo=UTC)
    world.sweep(forced=True)
    assert {r["country"] for r in world.rows("metadata")} == {"PK"}
    assert whole(world) == []
    world.now = datetime(2036, 1, 1, tzinfo=UTC)
    world.sweep(forced=True)
    assert world.rows("metadata") == []
    assert whole(world) == []


@pytest.mark.parametrize("value", ["+923001234567", "0092 300 1234567", "PK", "pk"])
def test_policy_explain_names_the_rule_and_the_instants(value: str) -> None:
    from lethe.operations.retention.policy import explained

    policy = RetentionPolicy(countries=[{"country": "PK", "window_months": 24, "reason": "clause 9"}])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    answer = explained(policy, value, datetime(2024, 2, 29, 23, tzinfo=UTC), now)
    window, archive = answer.of(DataClass.IDENTIFIERS), answer.of(DataClass.ARCHIVE)
    assert (window.rule, window.reason) == ("PK>=24", "clause 9")
    assert window.kept_until == datetime(2026, 3, 1, tzinfo=UTC)
    assert window.kept is True
    assert (archive.rule, archive.kept_until) == ("default", datetime(2035, 1, 1, tzinfo=UTC))
    assert "3001234567" not in str(answer)


@pytest.mark.parametrize("value", ["(+92) 300-1234567", "0300 1234567"])
def test_policy_explain_reads_a_number_as_a_look_up_does(value: str) -> None:
    from lethe.operations.retention.policy import explained

    when, now = datetime(2024, 2, 29, 23, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    answer = explained(RetentionPolicy(), value, when, now, lines=("PK",))
    assert (answer.countries, answer.country_found) == (("PK",), "by the number's country code")
