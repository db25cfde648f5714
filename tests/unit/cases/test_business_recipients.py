"""Whom a person wrote to is a code of the business: it never ends empty, and names nobody."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_kit import Kit, rows, subjects

NOW = datetime(2026, 3, 20, tzinfo=UTC)
STAND_IN = re.compile(r"~[a-z2-7]{16}")
IDS = [
    "17841405822304914", "102233445566778", "1022334455667788", "12345678901234567890",  # Instagram, pages of Messenger
    "U4af4980629a1b2c3d4e5f60718293a4b", "C4af4980629a1b2c3d4e5f60718293a4b",  # LINE
    "0d5b9a1c-7f0e-4b39-9d7e-1a2b3c4d5e6f", "8f0792f86035a9f4290821f1ee6bc06a",  # Apple, WhatsApp through others
    "110201543", "@acme_bot", "acme_support_bot", "acme-care@rbm.goog", "24365", "acme-line",  # Telegram, RCS
]  # fmt: skip
OTHERS = [
    "brands/acme/agents/care", "pa:5529021443", "Acme Support (PK)", "1" * 21, "110201543:AAHdqTcvCH1vGWJ",
    "urn:mbid:AQAAY7PU", "+92 21 111 (Acme)", "x" * 300,
]  # fmt: skip
INSTAGRAM = {
    "event": "MO", "channel": "INSTAGRAM_DM", "sender": "6254100007739184",
    "receivedAt": "2026-03-06T06:06:06.006+0000", "messageId": "m", "platform": {"entityId": "acme"},
}  # fmt: skip
LINE = {"type": "message", "message": {"type": "text", "id": "4", "text": "hi"}, "timestamp": 1772780766006,
        "source": {"type": "user", "userId": "U90ee7731cc0b55aa8f2e6d1b3347ff02"}}  # fmt: skip
MESSENGER = {"sender": {"id": "6254100007739184"}, "timestamp": 1772780766006, "message": {"mid": "m"}}


def value(name: str, recipient: str) -> bytes:
    record: dict[str, Any] = {
        "infobip/messages-inbound": {**INSTAGRAM, "destination": recipient},
        "line/webhook": {"destination": recipient, "events": [LINE]},
        "meta/messenger": {
            "object": "page", "entry": [{"messaging": [{**MESSENGER, "recipient": {"id": recipient}}]}],
        },
    }[name]  # fmt: skip
    return json.dumps(record).encode()


def recipients(name: str, texts: list[str]) -> list[str | None]:
    split = Kit(now=NOW).process([value(name, text) for text in texts], name)
    found = rows(split.metadata)
    assert [row["offset"] for row in found] == list(range(len(texts))), split.counts.reasons
    return [row["recipient"] for row in found]


FORMATS = ["infobip/messages-inbound", "line/webhook", "meta/messenger"]


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_platform_calls_an_account_of_a_business_is_in_the_archive(name: str) -> None:
    assert recipients(name, IDS) == IDS


@pytest.mark.parametrize("name", FORMATS)
def test_any_other_recipient_has_a_stand_in(name: str) -> None:
    found = recipients(name, OTHERS)
    assert all(STAND_IN.fullmatch(one or "") for one in found), found
    assert len(set(found)) == len(OTHERS)


WRITTEN = st.text(min_size=1, max_size=40).filter(
    lambda t: t.strip() and "\0" not in t and t.lstrip()[0] not in "{["
)


@given(texts=st.lists(WRITTEN, max_size=8))
@settings(max_examples=60, deadline=None)
def test_no_recipient_ends_empty(texts: list[str]) -> None:
    for text, found in zip(texts, recipients(FORMATS[0], texts), strict=True):
        assert found, text


def test_a_recipient_that_names_the_sender_is_not_shown() -> None:
    kit = Kit(now=NOW)
    same = "6254100007739184"
    split = kit.process([value("infobip/messages-inbound", same)], "infobip/messages-inbound")
    (row,) = rows(split.metadata)
    assert STAND_IN.fullmatch(row["recipient"])
    assert row["redacted"] == "recipient"
    assert {v for _, _, v in subjects(split, kit.ring)[0, None]} == {f"instagram:{same}"}
