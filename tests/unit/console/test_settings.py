"""Settings: what file and environment say together, and everything that is wrong with them in one go."""

from __future__ import annotations

from pathlib import Path

import pytest

from lethe.operations.settings import load
from lethe.schemas.errors import ConfigurationError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "site.toml"
    found.write_text(
        'root = "here"\n[sources]\nown = "infobip/sms-report"\n[flush]\nrecords = 500\nseconds = 3\n', "utf-8"
    )
    return found


def refused(file: Path, environment: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as refusal:
        load(file, environment)
    return str(refusal.value)


def test_the_environment_wins_key_by_key(file: Path) -> None:
    settings = load(file, {"LETHE_FLUSH__SECONDS": "7.5", "LETHE_STORAGE__AWS_REGION": "eu-1", "HOME": "/"})
    assert (settings.root, settings.flush.records, settings.flush.seconds) == ("here", 500, 7.5)
    assert settings.storage["aws_region"].get_secret_value() == "eu-1"


def test_a_table_is_written_as_json_beside_that_of_the_file(file: Path) -> None:
    settings = load(
        file, {"LETHE_SOURCES": '{"more": "infobip/voice-report"}', "LETHE_FLUSH": '{"records": 9}'}
    )
    assert settings.sources == {"own": "infobip/sms-report", "more": "infobip/voice-report"}
    assert (settings.flush.records, settings.flush.seconds) == (9, 3)


def test_only_the_environment_that_is_given_counts(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_ROOT", "elsewhere")
    assert load(file, {}).root == "here"
    assert load(file).root == "elsewhere"


def test_all_that_is_wrong_is_said_at_once_by_name(file: Path) -> None:
    file.write_text('rot = "x"\nbootstrap = ""\n[flush]\nrecord = 5\n', "utf-8")
    text = refused(file, {"LETHE_FLUSH__SECONDS": "soon", "LETHE_SOURCE": "{}", "LETHE_LINES": "not-json"})
    assert "rot" in text
    assert "did you mean root?" in text
    assert "flush.record" in text
    assert "did you mean records?" in text
    assert "bootstrap (" in text
    assert str(file) in text
    assert "flush.seconds (LETHE_FLUSH__SECONDS)" in text
    assert "no setting is called LETHE_SOURCE; did you mean LETHE_SOURCES?" in text
    assert "LETHE_LINES: not JSON" in text
    assert "soon" not in text
    assert "not-json" not in text
    assert "\n" not in text


def test_a_secret_that_is_wrong_is_not_repeated(file: Path) -> None:
    secret = "hunter2 " * 10
    text = refused(file, {"LETHE_KAFKA__SASL_PASSWORD": secret, "LETHE_KAFKA__SASL_PASSWORD_FILE": "x"})
    assert "kafka" in text
    assert "keep one" in text
    assert "hunter2" not in text


def test_a_clock_that_nothing_reads_is_no_setting(file: Path) -> None:
    assert "LETHE_NOW" in refused(file, {"LETHE_NOW": "2030-01-01"})
