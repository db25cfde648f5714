"""A record in which the person has two roles has two lines, and is one communication."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lethe.console.cli.people import window
from lethe.console.cli.shell import Shell
from lethe.operations.window.communications import Communications

LINE = {
    "event_time": datetime(2026, 10, 1, tzinfo=UTC), "record": "cdr.sms/0/7", "kind": "msisdn", "channel": "sms",
    "direction": "inbound", "counterpart": None, "status_group": None, "status": None, "account": None,
    "country": "PK",
}  # fmt: skip


def test_a_record_with_two_roles_is_one_communication(capsys: pytest.CaptureFixture[str]) -> None:
    window._show(Shell(), Communications([LINE | {"role": "recipient"}, LINE | {"role": "group_member"}]))
    said = capsys.readouterr().out
    assert "1 communication inside the window" in said
    assert "recipient" in said
    assert "group_member" in said
