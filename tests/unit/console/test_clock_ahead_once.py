"""A clock that was ahead once: what is asked by the right one is not answered "nothing", and doctor says what it is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lethe.keys.latest import NAME
from lethe.operations.asker import Asker
from lethe.operations.health import doctor
from lethe.operations.intake.ingest import ingest
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.operations.window.lookup import lookup
from lethe.schemas.errors import ClockError
from lethe.testing.traffic import generate
from lethe.tiers.retention.clock_guard import note_run

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ASKER = Asker.of("tester", "case 1", "test")


def at(home: Path, when: datetime) -> Runtime:
    return Runtime(Settings(root=str(home / "warehouse"), keys_dir=home / "keys"), clock=lambda: when)


def test_a_look_under_a_clock_ahead_does_not_make_the_next_one_empty(tmp_path: Path) -> None:
    made = list(generate("infobip/sms-report", 20, 1, until=datetime(2026, 11, 20, tzinfo=UTC), months=1))
    file = tmp_path / "records.ndjson"
    file.write_bytes(b"".join(record + b"\n" for record in made))
    ingest(at(tmp_path, NOW), str(file), "infobip/sms-report")
    number = "+" + json.loads(made[0])["to"]
    found = lookup(at(tmp_path, NOW), ASKER, number)
    assert len(found.records) == 1
    ahead = NOW + timedelta(days=730)
    assert not lookup(at(tmp_path, ahead), ASKER, number).records
    with pytest.raises(ClockError, match="remove the file latest-time"):
        lookup(at(tmp_path, NOW), ASKER, number)
    (told,) = [c for c in doctor.checks(at(tmp_path, NOW), {}) if c.what == "clock"]
    assert (told.state, "latest-time" in told.advice) == ("wrong", True)
    (tmp_path / "keys" / NAME).unlink()
    assert len(lookup(at(tmp_path, NOW), ASKER, number).records) == 1
    (told,) = [c for c in doctor.checks(at(tmp_path, NOW), {}) if c.what == "clock"]
    assert told.state == "ok"


def said_of_the_clock(runtime: Runtime) -> tuple[str, str]:
    (told,) = [c for c in doctor.checks(runtime, {}) if c.what == "clock"]
    return told.state, told.found


def test_doctor_holds_a_clock_that_is_ahead_against_the_newest_commit(tmp_path: Path) -> None:
    file = tmp_path / "records.ndjson"
    made = generate("infobip/sms-report", 20, 1, until=datetime(2026, 11, 20, tzinfo=UTC), months=1)
    file.write_bytes(b"".join(record + b"\n" for record in made))
    ingest(at(tmp_path, NOW), str(file), "infobip/sms-report")
    lookup(at(tmp_path, NOW), ASKER, "+923330000001")
    before = (tmp_path / "keys" / NAME).read_bytes()

    assert said_of_the_clock(at(tmp_path, NOW + timedelta(hours=23)))[0] == "ok"
    idle = said_of_the_clock(at(tmp_path, NOW + timedelta(days=3)))
    assert idle == ("warning", "2026-11-26 00:00 UTC, but nothing vouches for it: the newest commit was made at "
                    "2026-11-23 00:00 UTC")  # fmt: skip
    years = said_of_the_clock(at(tmp_path, NOW + timedelta(days=730)))
    assert years[0] == "wrong"
    assert years[1].startswith("2028-11-22 00:00 UTC, but nothing vouches for it")
    assert (tmp_path / "keys" / NAME).read_bytes() == before, "looking does not note that time"

    lookup(at(tmp_path, NOW + timedelta(days=730)), ASKER, "+923330000001")
    assert said_of_the_clock(at(tmp_path, NOW + timedelta(days=730))) == years, (
        "a look-up vouches for nothing"
    )


def test_a_sweep_that_somebody_forced_vouches_for_the_clock(tmp_path: Path) -> None:
    file = tmp_path / "records.ndjson"
    made = generate("infobip/sms-report", 20, 1, until=datetime(2026, 11, 20, tzinfo=UTC), months=1)
    file.write_bytes(b"".join(record + b"\n" for record in made))
    ingest(at(tmp_path, NOW), str(file), "infobip/sms-report")
    later = NOW + timedelta(days=60)
    assert said_of_the_clock(at(tmp_path, later))[0] == "wrong"
    note_run(at(tmp_path, later).objects, later, forced=True)
    assert said_of_the_clock(at(tmp_path, later))[0] == "ok"
    assert "the last sweep ran at 2027-01-22" in said_of_the_clock(at(tmp_path, later + timedelta(days=2)))[1]
