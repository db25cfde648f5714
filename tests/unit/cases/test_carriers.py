"""A sender that carries the recipient's address is nobody beside the recipient, and goes with the record."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from transform_kit import Kit, kept, subjects

LINE = "2026-01-09 17:44:53 1tVxYz-0001Ab-CD => {to} F=<{sender}> R=dnslookup T=remote_smtp"


@pytest.mark.parametrize(
    ("sender", "nobody"),
    [
        ("bounce+jane.doe=example.org@news.example.com", True),
        ("bounces-77-Jane.Doe=Example.org@news.example.com", True),
        ("jane.doe_at_example.org@relay.example.com", True),
        ("jane.doe#example.org@relay.example.com", True),
        ("SRS0=HHH=TT=example.org=jane.doe@forward.example.com", True),
        ("example.org!jane.doe@gate.example.com", True),
        ("jane.doe@example.org", False),  # she wrote to herself
        ("bounce+mary-jane.doe=example.com@news.example.com", False),
        ("bounce+xjane.doe=example.org@news.example.com", False),
        ("bounce+jane.doe=example.organic@news.example.com", False),
        ("khalid@pk.example.com", False),
    ],
)
def test_a_sender_that_carries_the_recipient_is_nobody(sender: str, nobody: bool) -> None:
    kit = Kit(now=datetime(2026, 1, 15, tzinfo=UTC), scope="none")
    beside = LINE.format(to="ann@example.net", sender="khalid@pk.example.com").encode()
    values = [beside, LINE.format(to="jane.doe@example.org", sender=sender).encode(), beside]
    split = kit.process(values, "exim/main-log")
    people = subjects(split, kit.ring)
    assert ("recipient", "email", "jane.doe@example.org") in people[1, None]
    assert ("sender" in {role for role, _, _ in people[1, None]}) is not nobody
    assert people[0, None] == people[2, None]
    assert len(people[0, None]) == 2
    if nobody:
        assert kept(split)[1, None][1]["from"] == sender
        assert "jane" not in str(people[1, None] - {("recipient", "email", "jane.doe@example.org")})
