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
