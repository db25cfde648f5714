"""The guide's own example works: its declaration is sound, its commands run, and do what it says."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lethe.console.cli.main import app
from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import ConfigurationError, LetheError

GUIDE = Path(__file__).parents[3] / "docs" / "formats.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "acme-sms.toml").write_text(blocks("toml")[0])
    (tmp_path / "sample.ndjson").write_text(blocks("json")[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMANDS = [line.removeprefix("$ lethe ") for block in blocks("console") for line in block.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("as_json", [False, True])
def test_every_command_of_the_guide_runs(command: str, as_json: bool, folder: Path) -> None:
    done = CliRunner().invoke(app, [*(["--json"] if as_json else []), *shlex.split(command)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) if as_json else done.output


def test_the_sample_goes_where_the_guide_says(folder: Path) -> None:
    done = CliRunner().invoke(app, ["--json", "formats", "try", "acme-sms.toml", "sample.ndjson"])
    first, second = json.loads(done.output)
    assert {f["path"]: f["part"] for f in first["fields"]} == {
        "id": "window", "dir": "archive", "msisdn": "window", "from": "archive", "body": "nowhere", "sent": "archive",
        "state": "archive", "parts": "archive", "cost": "archive", "note": "window", "trace": "undeclared",
    }  # fmt: skip
    assert first["archive"]["price"] == "0.025000"
    assert first["archive"]["status"] == "DELIVRD"
    assert first["archive"]["event_time"] == "2026-03-01T04:30:00+00:00"
    assert (first["archive"]["direction"], second["archive"]["direction"]) == ("outbound", "inbound")
    assert not {"923005550142", "447700900123"} & set(
        map(str, [*first["archive"].values(), *second["archive"].values()])
    )


def on_a_terminal(*arguments: str) -> str:
    """What a command writes when a person looks on."""
    ours, its = pty.openpty()
    # Wide enough that no line is broken.
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 400, 0, 0))
    env = {n: v for n, v in os.environ.items() if n not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    lethe = Path(sys.executable).with_name("lethe")
    process = subprocess.Popen(
        [lethe, *arguments], stdin=its, stdout=its, stderr=its, env={**env, "TERM": "xterm-256color"}
    )
    os.close(its)
    written = b""
    with suppress(OSError):  # how the end of a terminal shows
        while some := os.read(ours, 65_536):
            written += some
    os.close(ours)
    assert process.wait(60) == 0, written
    return written.decode()


def test_on_a_terminal_colours_tell_where_each_value_goes(folder: Path) -> None:
    said = on_a_terminal("formats", "try", "acme-sms.toml", "sample.ndjson")
    green, yellow, red, dim = (f"\x1b[{code}m" for code in (32, 33, 31, 2))
    assert f"sent: {green}2026-03-01 09:30:00 +0500" in said, "to the archive"
    assert f"msisdn: {yellow}+923005550142" in said, "to the window"
    assert f"body: {red}Your code is 4471" in said, "nowhere"
    assert f"trace: {dim}x1" in said, "not declared"
    assert "\x1b[" not in CliRunner().invoke(app, ["formats", "try", "acme-sms.toml", "sample.ndjson"]).output


def test_a_record_that_would_be_quarantined_says_why(folder: Path) -> None:
    (folder / "sample.ndjson").write_text('{"dir":"out"}\nhello\n')
    done = CliRunner().invoke(app, ["formats", "try", "acme-sms.toml", "sample.ndjson"])
    assert done.exit_code == 1
    assert "a required field is missing" in done.output
    assert "the value is not JSON" in done.output
    assert "2 of 2 records would be quarantined" in done.output


def test_a_format_of_a_directory_is_known_like_any_other(folder: Path) -> None:
    try:
        formats.use_directory(folder)
        assert formats.get("acme/sms").title == "Text messages of our own gateway"
        assert "acme/sms" in formats.known()
    finally:
        formats.use_directory(None)
    with pytest.raises(ConfigurationError, match="no format 'acme/sms'"):
        formats.get("acme/sms")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('class = "content"', 'class = "contents"'), "field.body.class"),
        (('column = "price"', 'column = "parts"'), "field.cost: type decimal fills charge, price"),
        (('scale = "0.01"', 'scale = "cheap"'), "`scale` is a decimal number"),
        (('role = "subscriber"\n', ""), "a subject has a `role`"),
        (('end_user = "never"', 'end_user = { field = "nothing", is = ["x"] }'), "a condition looks at nothing"),
        (('end_user = "never"', 'end_user = { field = "dir", matches = "(?=x)" }'), "look around"),
        (('DELIVRD = "DELIVERED"', 'DELIVRD = "GONE"'), "status_group has no value GONE"),
        (('path = "note"', 'path = "body"'), "a field is declared twice"),
        (('path = "note"', 'path = "body.x"'), "declared inside another"),
        (('channel = "sms"', ""), "nothing fills channel"),
        (('currency = "PKR"', 'currency = "XTS"'), "currency has no value XTS"),
        (('name = "acme/sms"', 'name = "infobip/sms-report"'), "there is another format"),
        (('message_id = true', 'message_id = true\npattern = "name"'), "a field of class window has no `pattern`"),
        (('title =', 'colour = "x"\ntitle ='), "colour"),
        (("[[field]]", "[[field"), "not TOML"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused_and_told_where(
    change: tuple[str, str], complaint: str, folder: Path
) -> None:
    text = (folder / "acme-sms.toml").read_text()
    assert change[0] in text
    (folder / "acme-sms.toml").write_text(text.replace(*change, 1))
    with pytest.raises(LetheError, match=re.escape(complaint)):
        formats.use_directory(folder)
