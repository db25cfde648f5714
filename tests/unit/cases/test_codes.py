"""Codes never end empty: what may not be shown has a stand-in, the same all month, of nobody."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from transform_kit import Kit, kept, rows

NOW = datetime(2026, 3, 20, tzinfo=UTC)
KEYS = [
    "8F0792F86035A9F4290821F1EE6BC06A",
    "1234567",
    "0d5b9a1c-7f0e-4b39-9d7e-1a2b3c4d5e6f",
    "1st-bank",
    "acme_eu",
]
ROUTES = [
    "R51010-OPEN5", "12345", "Route 66", "SS7/STP2/OPC1234", "T-Mobile-26201-1", "MNO#21910", "gw-192-168-0-1",
    "a3f9c1d2e4b5", "Telenor Pakistan (direct)",
]  # fmt: skip
SENDERS = ["Bank AlFalah", "8-800-555", "Uber®", "DHL/Express"]
STAND_IN = re.compile(r"~[a-z2-7]{16}")


def report(**more: Any) -> bytes:
    record = {
        "to": "923005550142", "sender": "ACME", "messageId": "m", "sentAt": "2026-03-01T10:00:00.000+0000",
        "status": {"groupName": "DELIVERED"}, "platform": {"entityId": "acme"}, "route": "gold",
    }  # fmt: skip
    return json.dumps(record | more).encode()


def split(values: list[bytes | None]) -> list[dict[str, Any]]:
    return rows(Kit(now=NOW).process(values, "infobip/sms-report").metadata)


def test_keys_of_accounts_reach_the_archive_as_they_are() -> None:
    found = split([report(platform={"entityId": key}) for key in KEYS])
    assert [row["account"] for row in found] == KEYS
    (row,) = split([report(platform={"entityId": "Acme Retail Ltd"})])
    assert STAND_IN.fullmatch(row["account"])


def test_no_route_and_no_sender_ends_empty() -> None:
    for path, column, words in (("route", "route", ROUTES), ("sender", "sender", SENDERS)):
        found = [row[column] for row in split([report(**{path: word}) for word in words])]
        assert all(f == word or STAND_IN.fullmatch(f or "") for f, word in zip(found, words, strict=True)), (
            found
        )
        assert len(set(found)) == len(words)


def test_a_stand_in_is_the_same_all_month_and_another_in_the_next() -> None:
    kit = Kit(now=datetime(2026, 5, 20, tzinfo=UTC))
    times = ["2026-03-01T10:00:00.000+0000", "2026-03-31T10:00:00.000+0000", "2026-04-01T10:00:00.000+0000"]
    found = [
        rows(kit.process([report(route="Route 66", sentAt=at)], "infobip/sms-report", first).metadata)[0][
            "route"
        ]
        for first, at in enumerate(times)
    ]
    assert found[0] == found[1] != found[2]


def test_a_person_in_a_code_is_not_shown_and_what_was_written_is_kept() -> None:
    words = [
        "923005550142",
        "+92 300 5550142",
        "03005550142",
        "x923005550142",
        "jane@example.org",
        "3005550142",
    ]
    kit = Kit(now=NOW, scope="none")
    done = kit.process([report(route=w, platform={"entityId": w}) for w in words], "infobip/sms-report")
    for row, word in zip(rows(done.metadata), words, strict=True):
        assert STAND_IN.fullmatch(row["route"])
        assert STAND_IN.fullmatch(row["account"])
        assert row["route"] != row["account"]
        assert {"route", "account"} <= set(row["redacted"].split(","))
        assert word in json.dumps(kept(done)[row["offset"], None][1])


def test_a_record_of_an_ended_month_has_the_mark_alone() -> None:
    (row,) = rows(
        Kit(now=datetime(2028, 3, 20, tzinfo=UTC))
        .process([report(route="Route 66")], "infobip/sms-report")
        .metadata
    )
    assert row["route"] == "~"
