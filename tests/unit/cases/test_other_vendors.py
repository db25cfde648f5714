"""What vendors without a bundled declaration write: PBX with a dialling prefix, gateways, mail servers, Pub/Sub."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from transform_kit import Kit, quarantine, rows, subjects

from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Format
from lethe.schemas.line import Line, parse_own_numbers
from lethe.schemas.subjects.addresses import Reading, read
from lethe.schemas.subjects.equivalents import typed
from lethe.schemas.transformed import TransformedBatch

NOW = datetime(2026, 12, 15, tzinfo=UTC)

CALL = """
name = "test/call"
version = 1
title = "test"
channel = "voice"
direction = "unknown"
HEAD

[[field]]
path = "at"
class = "archive"
type = "timestamp"
column = "event_time"
format = "epoch_s"
required = true

[[field]]
path = "from"
class = "subject"
role = "caller"
END
business = "sender"
longest = 64

[[field]]
path = "to"
class = "subject"
role = "callee"
end_user = "unless_own"
digits = "dialled"
business = "recipient"

[[field]]
path = "cost"
class = "archive"
type = "decimal"
column = "charge"

[[field]]
path = "currency"
class = "archive"
type = "enum"
column = "currency"
"""
PERSON = 'end_user = "unless_own"\ndigits = "dialled"'


def declared(head: str = "", end: str = PERSON) -> Format:
    return formats.parse(CALL.replace("HEAD", head).replace("END", end), "test.toml")


def split(record: Any, fmt: Format, line: Line | None = None) -> tuple[TransformedBatch, Kit]:
    kit = Kit(now=NOW, line=line)
    value = record if isinstance(record, bytes) else json.dumps({"at": 1794873600, **record}).encode()
    done = kit.process([value], fmt)
    assert quarantine(done, kit.ring) == []
    return done, kit


def called(record: Any, line: Line | None = None, end: str = PERSON) -> set[tuple[str, str]]:
    done, kit = split(record, declared(end=end), line)
    return {(kind, value) for _, kind, value in subjects(done, kit.ring).get((0, None), set())}


@pytest.mark.parametrize(
    ("country", "prefix", "written", "number"),
    [
        # Shown on the line with its country's code, which begins as the dialling prefix does.
        ("PK", "9", "923335550107", "923335550107"),
        ("PK", "9", "sip:923335550107@pbx.example", "923335550107"),
        ("PK", "9", "903335550107", "923335550107"),
        ("PK", "9", "92135550142", "922135550142"),  # 9, and a number of Karachi without its 0
        ("PK", "9", "900442079460123", "442079460123"),
        ("IN", "9", "919876543210", "919876543210"),
        ("IN", "9", "909876543210", "919876543210"),
        ("US", "9", "912025550143", "12025550143"),
        ("US", "9", "912025550143 x12", "12025550143"),
        ("US", "1", "12025550143", "12025550143"),
        ("DE", "0", "0015155501234", "4915155501234"),
        ("GB", "4", "447700900123", "447700900123"),
        ("RU", "8", "89165550142", "79165550142"),
    ],
)
def test_a_prefix_that_is_dialled_is_no_part_of_a_number_and_takes_nothing_from_one(
    country: str, prefix: str, written: str, number: str
) -> None:
    line = Line(country=country, dial_prefixes=(prefix,))
    assert ("msisdn", number) in called({"from": written, "to": "1002"}, line)


@pytest.mark.parametrize("prefixes", [("9", "9911#"), ("9911#", "9"), ("", "9", "9911#")])
@pytest.mark.parametrize("written", ["9911#923005550142", "903005550142"])
def test_of_several_prefixes_the_longest_counts(prefixes: tuple[str, ...], written: str) -> None:
    line = Line(country="PK", dial_prefixes=prefixes)
    assert called({"from": written, "to": "1002"}, line) >= {("msisdn", "923005550142")}


@pytest.mark.parametrize("written", ["03005550142", "0300-5550142", "0300 5550142", "(0300) 5550142"])
def test_a_number_with_its_trunk_prefix_is_of_the_lines_country_in_every_format(written: str) -> None:
    """No country's code begins with 0: such digits are national even where bare ones are international."""
    end = 'end_user = "always"'
    assert called({"from": written}, Line(country="PK"), end) == {("msisdn", "923005550142")}
    assert ("msisdn", "923005550142") not in called({"from": written}, None, end)
    assert called({"from": "3005550142"}, Line(country="PK"), end) == {("msisdn", "3005550142")}  # Greek


@pytest.mark.parametrize(
    "written", [r"\+923005550142", r"\\+923005550142", r"sip:\+923005550142@cucm.example"]
)
def test_a_plus_that_a_switch_escapes_is_one(written: str) -> None:
    assert called({"from": written}) == {("msisdn", "923005550142")}
    assert ("msisdn", "923005550142") in {(s.kind, s.value) for s in typed(written)}


@pytest.mark.parametrize("written", ["Ext.101", "ext 101", "Extn101", "Extension: 101", "EXT101", "101"])
def test_an_extension_is_one_however_it_is_named(written: str) -> None:
    assert called({"from": written}) == {("opaque", "101")}
    assert ("opaque", "101") in {(s.kind, s.value) for s in typed(written)}
    own = Line(own=parse_own_numbers("100-199", "own"))
    done, _ = split({"from": written, "to": "+923005550142"}, declared(), own)
    assert rows(done.metadata)[0]["sender"] == "101"


def test_an_extension_stored_under_its_name_before_is_still_found() -> None:
    assert {("opaque", "101"), ("opaque", "Ext.101")} <= {(s.kind, s.value) for s in typed("Ext.101")}


@pytest.mark.parametrize(
    "written",
    [
        "+924215550100", "04215550100", "sip:+924215550100@203.0.113.9:5061;transport=tls", "tel:+924215550100",
        "<sip:04215550100@pbx.example>", "00924215550100", "924215550100",
    ],
)  # fmt: skip
def test_the_sites_own_number_is_one_business_in_every_spelling(written: str) -> None:
    line = Line(country="PK", own=parse_own_numbers("924215550100-924215550199", "own"))
    done, kit = split({"from": "+923005550142", "to": written}, declared(), line)
    (row,) = rows(done.metadata)
    assert (row["recipient"], row["redacted"]) == ("924215550100", None)
    assert {value for *_, value in subjects(done, kit.ring)[0, None]} == {"923005550142"}


@pytest.mark.parametrize(
    "sender",
    [
        "SRS0=HHH=TT=example.org=bilal@fwd.example.net", "bounce+4aa6c.be9e4a-bilal=example.org@mg.acme.example",
        "bilal#example.org@relay.example", "bilal%example.org@relay.example", "example.org!bilal@relay.example",
        "bilal_at_example.org@relay.example", "srs1+xx=r.example==HHH=TT=example.org=bilal@r2.example",
    ],
)  # fmt: skip
def test_a_sender_that_carries_an_address_of_somebody_else_is_withheld(sender: str) -> None:
    """Who forwards a message is in its envelope's sender, and is nobody's business partner."""
    done, _ = split({"from": sender, "to": "+923005550142"}, declared(end='end_user = "never"'))
    (row,) = rows(done.metadata)
    assert row["sender"].startswith("~")
    assert row["redacted"] == "sender"


@pytest.mark.parametrize("sender", ["shop=news@acme.example", "a.b-c@acme.example", "no_reply@acme.example"])
def test_other_marks_in_a_sender_carry_nobody(sender: str) -> None:
    done, _ = split({"from": sender, "to": "+923005550142"}, declared(end='end_user = "never"'))
    assert rows(done.metadata)[0]["sender"] == sender


@pytest.mark.parametrize("channel", ["KAKAO_CHAT", "TELEGRAM", "LINE_ON"])
def test_the_handle_of_a_business_is_its_address(channel: str) -> None:
    message = {"sender": "xyz9JHsgQw", "destination": "@acme_shop", "channel": channel, "messageId": "m",
               "receivedAt": "2026-11-10T16:20:47.850+0000", "event": "MO"}  # fmt: skip
    done = Kit(now=NOW).process([json.dumps({"results": [message]}).encode()], "infobip/messages-inbound")
    (row,) = rows(done.metadata)
    assert (row["recipient"], row["redacted"]) == ("@acme_shop", None)


def test_what_a_call_costs_in_all_is_that_of_a_call() -> None:
    done, _ = split({"from": "+923005550142", "to": "1002", "cost": 0.3, "currency": "USD"}, declared())
    assert rows(done.metadata)[0]["charge_basis"] == "call"


@pytest.mark.parametrize("name", ["price[amount]", "price%5Bamount%5D", "price.amount"])
def test_members_in_brackets_of_a_form_are_declared_with_dots(name: str) -> None:
    text = CALL.replace("HEAD", 'encoding = "form"').replace("END", PERSON)
    fmt = formats.parse(text.replace('path = "cost"', 'path = "price.amount"'), "test.toml")
    done, _ = split(f"at=1794873600&from=%2B923005550142&{name}=0.05&currency=EUR".encode(), fmt)
    assert str(rows(done.metadata)[0]["charge"]) == "0.050000"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_value_in_base64_is_unwrapped(encode: Any) -> None:
    """As Pub/Sub pushes it."""
    inner = json.dumps({"from": "+923005550142", "at": 1794873600, "note": "??>>~~ü"}, ensure_ascii=False)
    for data in (encode(inner.encode()).decode(), encode(inner.encode()).decode().rstrip("=")):
        value = json.dumps({"message": {"data": data, "messageId": "1"}, "subscription": "s"}).encode()
        done, kit = split(value, declared('unwrap = "message.data"'))
        assert {v for *_, v in subjects(done, kit.ring)[0, None]} == {"923005550142"}


@pytest.mark.parametrize("data", ["aGVsbG8=", "Zm9v", "!!!!", "e30", "W10=", "bnVsbA==", "/" * 40])
def test_what_holds_no_record_in_base64_is_refused(data: str) -> None:
    kit = Kit(now=NOW)
    done = kit.process(
        [json.dumps({"message": {"data": data}}).encode()], declared('unwrap = "message.data"')
    )
    assert done.counts.split == 0
    assert done.counts.rejected == 1


def test_a_prefix_alone_is_dialled_as_it_is() -> None:
    found = read("9", Reading("auto", True, "PK", ("9",)))
    assert found is not None
    assert (found.kind, found.value) == ("opaque", "9")
