"""What is replayed from the quarantine is compared too: by what never was, and by what was sent again meanwhile."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from quality_world import SMS, Record, Site, changed, learned

from lethe.operations.intake.replay import Wanted, replay
from lethe.operations.proof.publisher import publish_now
from lethe.tiers.quality.past import read_changes

Named = set[tuple[str, str]]
AHEAD = 3 * 1440


def moved(record: Record, minutes: int) -> None:
    for member in ("sentAt", "doneAt"):
        at = datetime.fromisoformat(record[member]) + timedelta(minutes=minutes)
        record[member] = at.isoformat(timespec="milliseconds")


@pytest.fixture
def rejected(tmp_path: Path) -> Any:
    """Give a site whose vendor was three days ahead for some hours, changed by `how`; three days later."""

    def give(how: Any = lambda _record: None, published: bool = True) -> tuple[Site, list[bytes]]:
        site = Site(tmp_path)
        coming = learned(site, SMS)

        def ahead(record: Record) -> None:
            moved(record, AHEAD)
            how(record)

        early = changed(coming, ahead)
        site.commit({SMS: early})
        if published:
            assert publish_now(site.runtime, ()).failures == {}
        site.now += timedelta(minutes=AHEAD)
        return site, early

    return give


def replayed(site: Site) -> tuple[int, Named]:
    """Replay, as a command of its own does, and return what landed and what was named by it."""
    before = {(one.column, one.what) for one in read_changes(site.runtime.objects)}
    site.restart()
    done, trouble = replay(site.runtime, Wanted())
    assert trouble is None
    return done.records, {(one.column, one.what) for one in read_changes(site.runtime.objects)} - before


def dearer(record: Record) -> None:
    record["price"] = {**record["price"], "pricePerMessage": record["price"]["pricePerMessage"] * 1000}


def another_status(record: Record) -> None:
    record["status"] |= {"id": 77, "name": "DELIVERED_TO_CLOUD"}


def free(record: Record) -> None:
    del record["price"]


def test_what_is_replayed_and_is_as_it_always_was_is_not_named(rejected: Any) -> None:
    site, early = rejected()
    landed, named = replayed(site)
    assert landed == len(early) > 100
    assert named == {
        ("event_time", "future")
    }  # which they were when they came: that is why they were rejected


def test_a_commit_of_nothing_but_rejected_records_is_published_after_they_were_replayed(
    rejected: Any,
) -> None:
    """The worker that took them in died before it published: what lies at their offsets now is the replay's."""
    site, early = rejected(published=False)
    landed, _ = replayed(site)
    assert landed == len(early)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (dearer, ("price", "range")),
        (another_status, ("status", "codes")),
        (free, ("price", "missing")),
    ],
)
def test_what_never_was_is_named_when_it_is_replayed(
    rejected: Any, how: Any, expected: tuple[str, str]
) -> None:
    site, _ = rejected(how)
    _, named = replayed(site)
    assert expected in named


def test_what_was_sent_again_before_it_was_replayed_is_named(rejected: Any) -> None:
    site, early = rejected()
    site.commit({SMS: early}, topic="-again")
    landed, named = replayed(site)
    assert landed == len(early)
    assert ("event_time", "repeated") in named


def test_a_choice_of_what_came_is_no_measure_for_what_comes(rejected: Any) -> None:
    """Only failed messages are replayed; ordinary ones after them are not named, nor are they by their shares."""

    def failed(record: Record) -> None:
        record["status"] = {
            "groupName": "UNDELIVERABLE",
            "groupId": 2,
            "id": 9,
            "name": "UNDELIVERABLE_NOT_DELIVERED",
        }

    site, _ = rejected(failed)
    before = site.another().quality
    before.check([], site.now)
    _, named = replayed(site)
    assert "status_group" not in {column for column, _ in named}
    site.restart()
    site.warehouse.quality.check([], site.now)
    past, was = site.warehouse.quality._past, before._past
    assert past is not None
    assert was is not None
    assert past.profiles[SMS].columns["status_group"] == was.profiles[SMS].columns["status_group"]


def test_nobody_is_in_what_a_replay_leaves_of_it(rejected: Any) -> None:
    site, early = rejected(another_status)
    replayed(site)
    kept = b"".join(
        f.read_bytes() for f in (site.folder / "warehouse" / "_quality").rglob("*") if f.is_file()
    )
    assert b"DELIVERED_TO_CLOUD" in kept
    for value in early:
        assert json.loads(value)["to"].encode() not in kept
