"""What a vendor changes is named within one flush: planted into ordinary days, through the real commit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from quality_world import EMAIL, INBOUND, SMS, VOICE, Record, Site, changed, learned

from lethe.schemas.errors import TransientError
from lethe.tiers.quality.past import read_changes

Named = set[tuple[str, str]]


def named(site: Site, name: str, values: list[bytes]) -> Named:
    return {(one.column, one.what) for one in site.commit({name: values}) if one.format == name}


_LEARNED: dict[str, tuple[Path, Site, list[bytes]]] = {}


@pytest.fixture
def ordinary_days(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give a site that has seen ordinary days of a format, and the records that come next; learned once a format."""

    def give(name: str) -> tuple[Site, list[bytes]]:
        if name not in _LEARNED:
            folder = tmp_path_factory.mktemp("learned")
            site = Site(folder)
            coming = learned(site, name)
            site.warehouse.quality.save()
            _LEARNED[name] = folder, site, coming
        folder, site, coming = _LEARNED[name]
        copy = tmp_path / "site"
        shutil.copytree(folder, copy)
        return Site(copy, site.now, dict(site.offsets)), coming

    return give


def moved(minutes: int, *members: str) -> Any:
    """Move times of a record, written as they were."""

    def how(record: Record) -> None:
        for member in members:
            at = datetime.fromisoformat(record[member]) + timedelta(minutes=minutes)
            record[member] = at.isoformat(timespec="milliseconds")

    return how


def priced(**price: object) -> Any:
    def how(record: Record) -> None:
        record["price"] = {k: v for k, v in {**record["price"], **price}.items() if v is not None}

    return how


def price_renamed(record: Record) -> None:
    record["cost"] = record.pop("price")


def times(member: str, factor: float, *within: str) -> Any:
    def how(record: Record) -> None:
        inside: Any = record
        for one in within:
            inside = inside[one]
        if inside.get(member) is not None:
            inside[member] = inside[member] * factor

    return how


def status_and_error_swapped(record: Record) -> None:
    record["status"], record["error"] = (
        {**record["status"], "name": record["error"]["name"]},
        {**record["error"], "name": record["status"]["name"]},
    )


def another_status(record: Record) -> None:
    record["status"] |= {"id": 77, "name": "DELIVERED_TO_CLOUD"}


def no_status(record: Record) -> None:
    record["status"] |= {"groupName": "ON_ITS_WAY", "groupId": 42}


def networks_renamed(record: Record) -> None:
    record["mccMnc"] = "99901"


def one_in_five(how: Any) -> Any:
    """Change the records of some: of one account of many."""

    def some(record: Record) -> Any:
        return how(record) if hash_of(record) % 5 == 0 else None

    return some


def hash_of(record: Record) -> int:
    return sum(record["messageId"].encode())


def required_field_left_out(record: Record) -> None:
    del record["sentAt"]


def dates_in_words(record: Record) -> None:
    record["sentAt"] = "yesterday"


def ends_swapped_with_beginnings(record: Record) -> None:
    record["sentAt"], record["doneAt"] = record["doneAt"], record["sentAt"]


def calls_not_counted(record: Record) -> None:
    record["voiceCall"]["duration"] = 0


PLANTED = [
    ("the vendor renames the price", SMS, price_renamed, {("price", "missing")}),
    ("the currency is left out", SMS, priced(currency=None), {("currency", "missing")}),
    ("prices in another unit", SMS, times("pricePerMessage", 1000, "price"), {("price", "unit")}),
    ("seconds become milliseconds", VOICE, times("duration", 1000, "voiceCall"), {("duration_ms", "unit")}),
    ("charged seconds become minutes", VOICE, times("chargedDuration", 1 / 60, "voiceCall"),
     {("charged_duration_ms", "unit")}),
    ("two fields swapped", SMS, status_and_error_swapped, {("status", "swapped"), ("error", "swapped")}),
    ("a status never seen", SMS, another_status, {("status", "codes")}),
    ("prices of some in another unit", SMS, one_in_five(times("pricePerMessage", 1000, "price")), {("price", "range")}),
    ("the price of some renamed", SMS, one_in_five(price_renamed), {("price", "missing")}),
    ("refunds begin", SMS, one_in_five(times("pricePerMessage", -1, "price")), {("price", "negative")}),
    ("all networks renamed", SMS, networks_renamed, {("mcc", "codes")}),
    ("calls no longer counted", VOICE, calls_not_counted, {("duration_ms", "zeros")}),
    ("a required field left out of some", SMS, one_in_five(required_field_left_out), {("refused", "refused")}),
    ("dates in words", SMS, dates_in_words, {("refused", "refused")}),
    ("beginning and end swapped", SMS, ends_swapped_with_beginnings, {("done_time", "future")}),
    ("an account's currency", SMS, one_in_five(priced(currency="JPY")), {("currency", "codes")}),
    ("clocks an hour ahead", SMS, moved(60, "sentAt", "doneAt"), {("event_time", "future")}),
    ("clocks an hour behind", SMS, moved(-60, "sentAt", "doneAt"), {("event_time", "zone")}),
    ("half an hour behind, as in India", INBOUND, moved(-30, "receivedAt"), {("event_time", "zone")}),
    ("the end alone in another zone", EMAIL, moved(-120, "doneAt"), {("done_time", "future")}),
    ("the end alone in another zone, later", EMAIL, moved(120, "doneAt"), {("done_time", "zone")}),
]  # fmt: skip


@pytest.mark.parametrize(("what", "name", "how", "expected"), PLANTED, ids=[p[0] for p in PLANTED])
def test_what_a_vendor_changes_is_named_within_one_flush(
    ordinary_days: Any, what: str, name: str, how: Any, expected: Named
) -> None:
    site, coming = ordinary_days(name)
    assert named(site, name, changed(coming, how)) >= expected, what


def test_a_reason_never_seen_is_named_where_refusals_are_ordinary(tmp_path: Path) -> None:
    site = Site(tmp_path)
    coming = learned(site, SMS, how=one_in_five(required_field_left_out))
    assert site.warehouse.quality.current(site.now) == []
    found = site.commit({SMS: changed(coming, one_in_five(dates_in_words))})
    assert {(one.column, one.what, one.now) for one in found} == {("refused", "reasons", "bad_time")}


def test_an_hour_sent_twice_is_named_with_its_hours(ordinary_days: Any) -> None:
    site, coming = ordinary_days(SMS)
    assert named(site, SMS, coming) == set()
    site.now += timedelta(minutes=5)
    again = site.commit({SMS: coming})
    assert {(one.column, one.what) for one in again} >= {("event_time", "repeated")}
    (repeated,) = [one for one in again if one.what == "repeated"]
    assert repeated.day in repeated.now
    assert "100%" in repeated.now


def test_an_hour_sent_twice_is_known_by_the_next_process_and_from_another_partition(
    ordinary_days: Any,
) -> None:
    site, coming = ordinary_days(SMS)
    site.commit({SMS: coming})
    site.restart()
    site.now += timedelta(hours=1)
    assert ("event_time", "repeated") in {
        (o.column, o.what) for o in site.commit({SMS: coming}, topic="-other")
    }


def test_what_comes_late_after_an_outage_is_no_other_zone(ordinary_days: Any) -> None:
    site, coming = ordinary_days(SMS)
    made = site.transformed(SMS, coming)
    late = [replace(one, received_ms=int(site.now.timestamp() * 1000) + 3_600_000) for one in made]
    site.warehouse.commit(late, site.runtime.ring)
    assert [one.what for one in site.warehouse.quality.current(site.now)] == []


def test_a_change_is_told_once_goes_on_and_is_how_things_are_after_a_week(
    ordinary_days: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site, coming = ordinary_days(SMS)
    renamed, began = changed(coming, price_renamed), site.now
    for _ in range(4):
        site.commit({SMS: renamed}, topic=f"-{_}")
        site.now += timedelta(hours=1)
    assert sum("price: missing" in record.getMessage() for record in caplog.records) == 1
    kept = [
        one for one in read_changes(site.runtime.objects) if (one.column, one.what) == ("price", "missing")
    ]
    assert [(one.since, one.last) for one in kept] == [(began, began + timedelta(hours=3))]
    for day in range(1, 14):
        site.now = began + timedelta(days=day)
        for part in range(3):
            site.commit(
                {SMS: changed(renamed, moved(day * 1440, "sentAt", "doneAt"))}, topic=f"-{day}-{part}"
            )
    now = {(one.column, one.what) for one in site.warehouse.quality.current(site.now)}
    assert ("price", "missing") not in now
    site.now += timedelta(days=1)
    back = {
        (o.column, o.what) for o in site.commit({SMS: changed(coming, moved(14 * 1440, "sentAt", "doneAt"))})
    }
    assert ("price", "filled") in back


def test_what_one_process_learned_the_others_know(ordinary_days: Any) -> None:
    """A worker that starts knows the past; one that runs sees what another found."""
    site, coming = ordinary_days(SMS)
    other = site.another()
    renamed = changed(coming, price_renamed)
    assert ("price", "missing") in {(o.column, o.what) for o in site.commit({SMS: renamed}, "-a", other)}
    site.now += timedelta(minutes=20)
    assert ("price", "missing") in {(o.column, o.what) for o in site.commit({SMS: renamed}, "-b")}
    (one,) = [o for o in read_changes(site.runtime.objects) if (o.column, o.what) == ("price", "missing")]
    assert one.last - one.since == timedelta(minutes=20)


def test_a_killed_process_leaves_the_past_to_the_next(ordinary_days: Any) -> None:
    site, coming = ordinary_days(VOICE)
    site.restart(killed=True)
    milliseconds = changed(coming, times("duration", 1000, "voiceCall"))
    assert ("duration_ms", "unit") in named(site, VOICE, milliseconds)


def test_files_that_cannot_be_read_or_written_end_no_commit(
    ordinary_days: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, coming = ordinary_days(SMS)
    for file in (site.folder / "warehouse" / "_quality").rglob("*.json"):
        file.write_bytes(b"{torn")
    site.restart(killed=True)
    rows = site.warehouse.metadata.dataset().count_rows()

    def refuses(*_: object) -> None:
        raise TransientError("the disk is full")

    monkeypatch.setattr("lethe.tiers.quality.check.save", refuses)
    assert named(site, SMS, changed(coming, price_renamed)) == set()
    site.warehouse.metadata.reload()
    assert site.warehouse.metadata.dataset().count_rows() == rows + len(coming)


def test_nobody_is_in_what_is_kept(ordinary_days: Any) -> None:
    site, coming = ordinary_days(SMS)
    site.commit({SMS: changed(coming, price_renamed)})
    site.warehouse.quality.save()
    kept = b"".join(
        f.read_bytes() for f in (site.folder / "warehouse" / "_quality").rglob("*") if f.is_file()
    )
    assert len(kept) > 1_000
    for value in coming:
        record = json.loads(value)
        assert record["to"].encode() not in kept
        assert record["messageId"].encode() not in kept


def test_the_command_says_what_changed(ordinary_days: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site, coming = ordinary_days(SMS)
    site.commit({SMS: changed(coming, times("pricePerMessage", 1000, "price"))})
    config = site.folder / "lethe.toml"
    config.write_text(f'root = "{site.folder}/warehouse"\nkeys_dir = "{site.folder}/keys"\n')
    command = [sys.executable, "-m", "lethe.console.cli.main", "--config", str(config)]

    def run(*more: str) -> str:
        done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    days = str((datetime.now(UTC) - site.now).days + 2) if datetime.now(UTC) > site.now else "35"
    said = json.loads(run("quality", "--format", "json", "--days", days))
    (price,) = [one for one in said if one["column"] == "price"]
    assert (price["change"], price["day"]) == ("unit", f"{site.now - timedelta(hours=1):%Y-%m-%d}")
    assert "1000 times as much" in price["to"]
    assert "since" in run("quality", "--format", "csv", "--days", days).splitlines()[0]
    assert "unit" in run("quality", "--days", days)
    assert json.loads(run("--json", "quality", "--of", VOICE, "--days", days)) == []
