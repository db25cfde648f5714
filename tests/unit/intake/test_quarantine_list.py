"""The list of rejected records says how many there are, and makes objects of those it shows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from typer.testing import CliRunner

from lethe.console.cli.main import app
from lethe.operations.intake import quarantine
from lethe.operations.intake.ingest import ingest
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings


def test_the_list_says_how_many_of_how_many(tmp_path: Path) -> None:
    runtime = Runtime(
        Settings(root=str(tmp_path / "w"), keys_dir=tmp_path / "keys"), lambda: datetime.now(UTC)
    )
    file = tmp_path / "broken.ndjson"
    file.write_bytes(b"broken\n" * 250 + b"\n" * 50)
    ingest(runtime, str(file), "infobip/sms-report")
    listed = quarantine.listed(runtime, None, None, 10)
    assert [one.offset for one in listed] == list(range(299, 289, -1))
    assert quarantine.counted(runtime, None, None) == 300
    assert quarantine.counted(runtime, listed[0].reason, None) == 50
    config = tmp_path / "lethe.toml"
    config.write_text(f'root = "{tmp_path / "w"}"\nkeys_dir = "{tmp_path / "keys"}"\n')
    shown = CliRunner().invoke(app, ["--config", str(config), "quarantine", "list", "--limit", "20"])
    assert "20 of 300 rejected records" in shown.stdout, shown.output
