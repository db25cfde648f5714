"""A file is not taken in under a declaration that is not its own: its first records are looked at."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lethe.console.cli.main import app
from lethe.operations.intake.fit import better, fit
from lethe.operations.intake.ingest import ingest
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import LetheError
from lethe.testing.traffic import generate

FIXTURES = Path(__file__).parents[2] / "fixtures" / "formats"
SAMPLES = sorted(p for p in FIXTURES.rglob("*") if p.suffix in (".ndjson", ".csv"))
NOW = datetime(2026, 1, 15, tzinfo=UTC)


def lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines() if line][:100]


def traffic(name: str) -> list[bytes]:
    return list(generate(name, 100, 1, until=NOW, months=1))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_declaration_fits_its_own_records(path: Path) -> None:
    assert better(lines(path) * 5, f"{path.parent.name}/{path.stem}") is None


@pytest.mark.parametrize(
    ("own", "given"),
    [
        ("infobip/voice-report", "infobip/sms-report"),
        ("infobip/email-report", "infobip/sms-report"),
        ("infobip/sms-report", "infobip/voice-report"),
        ("infobip/sms-inbound", "infobip/sms-report"),
        ("infobip/sms-report", "asterisk/master"),
    ],
)
def test_another_that_fits_better_is_named(own: str, given: str) -> None:
    assert better(traffic(own), own) is None
    why = better(traffic(own), given)
    assert why is not None
    assert "--as-declared" in why
    assert given in why


def test_what_leaves_most_of_a_declaration_empty_is_refused() -> None:
    why = better([b'{"messageId":"1","to":"923001234567","unknown":1}'] * 10, "infobip/voice-report")
    assert why is not None
    assert "empty" in why or "better" in why


def test_what_cannot_be_read_at_all_is_left_to_the_quarantine() -> None:
    assert better([b"nothing", b"of", b"a record"], "infobip/sms-report") is None
    assert fit([b"nothing"], formats.get("infobip/sms-report")).score == 0


def test_nothing_is_taken_in_unless_it_is_meant(tmp_path: Path) -> None:
    file = tmp_path / "calls.ndjson"
    file.write_bytes(b"\n".join(traffic("infobip/voice-report")))
    runtime = Runtime(Settings(root=str(tmp_path / "w"), keys_dir=tmp_path / "keys"), lambda: NOW)
    with pytest.raises(LetheError, match="fit infobip/voice-report better") as refused:
        ingest(runtime, str(file), "infobip/sms-report")
    assert not any(char in str(refused.value) for char in '{}"')
    assert runtime.warehouse.metadata.version == 0
    config = tmp_path / "lethe.toml"
    config.write_text(f'root = "{tmp_path / "w"}"\nkeys_dir = "{tmp_path / "keys"}"\n')
    order = ["--config", str(config), "ingest", str(file), "--format", "infobip/sms-report"]
    assert CliRunner().invoke(app, order).exit_code == 1
    assert ingest(runtime, str(file), "infobip/sms-report", as_declared=True).counts.records == 100
    assert ingest(runtime, str(file), "infobip/sms-report").already == 100, "nor is it asked for again"
