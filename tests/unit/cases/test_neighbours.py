"""Neighbours of the cases from the field: other countries, other PBXs, other vendors' spellings of the same kinds."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType
from transform_kit import Kit, kept, quarantine, rows, subjects

from lethe.schemas.declaration.format import Format
from lethe.schemas.line import Line
from lethe.schemas.subjects.equivalents import typed
from lethe.schemas.subjects.numbers import canonical_number, dialled
from lethe.streams.transform.split.columns import parse_time

NOW = datetime(2026, 12, 15, tzinfo=UTC)
People = set[tuple[str, str]]


def people(values: list[bytes], fmt: str, line: Line | None = None) -> list[People]:
    kit = Kit(now=NOW, line=line)
    split = kit.process(values, fmt)
    assert quarantine(split, kit.ring) == []
    found = subjects(split, kit.ring)
    return [
        {(kind, value) for role, kind, value in found.get((at, None), set()) if role != "network_address"}
        for at in range(len(values))
    ]


def cdr(src: str, dst: str) -> bytes:
    start = '"SIP/a-1","SIP/b-2","Dial","SIP/b","2026-01-10 09:15:02","","2026-01-10 09:16:41"'
    return f'"","{src}","{dst}","from-trunk","{src}",{start},99,90,"ANSWERED","DOCUMENTATION"'.encode()


def acc(**more: Any) -> bytes:
    record = {
        "time": 1795980517, "method": "INVITE", "callid": "c", "sip_code": "200", "sip_reason": "OK",
        "src_user": "+923005550142", "src_domain": "a.example", "dst_user": "+12025550199", "dst_domain": "a.example",
    }  # fmt: skip
    return json.dumps(record | more).encode()


def mail(**more: Any) -> bytes:
    record = {
        "messageId": "m", "to": "ayesha@example.org", "sender": "shop@acme.example",
        "sentAt": "2026-03-01T10:00:00.000+0000", "status": {"groupName": "DELIVERED"},
    }  # fmt: skip
    return json.dumps(record | more).encode()


def numbers() -> list[tuple[str, phonenumbers.PhoneNumber]]:
    return [
        (region, number)
        for region in sorted(phonenumbers.SUPPORTED_REGIONS)
        for kind in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE)
        if (number := phonenumbers.example_number_for_type(region, kind)) is not None
    ]


def test_on_a_line_of_any_country_its_numbers_are_read_in_every_spelling() -> None:
    """With `+` and `00`, bare, as dialled at home, and without the trunk prefix: never as somebody else's."""
    wrong = []
    for region, number in numbers():
        whole = phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:]
        home = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        abroad = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
        written = [
            f"+{whole}", f"00{whole}", whole, abroad[1:], home, "".join(c for c in home if c.isdigit()),
            phonenumbers.national_significant_number(number),
        ]  # fmt: skip
        wrong += [(region, text) for text in written if dialled(text, region) != canonical_number(whole)]
    assert wrong == []


@pytest.mark.parametrize(
    ("country", "written", "number"),
    [
        ("DE", "4915155501234", "4915155501234"),
        ("DE", "015155501234", "4915155501234"),
        ("SE", "46701740605", "46701740605"),
        ("ID", "6281255501234", "6281255501234"),
        ("PK", "923005550142", "923005550142"),
        ("GL", "221234", "299221234"),
        ("US", "12025550143", "12025550143"),
        ("RU", "8 916 555-01-42", "79165550142"),
        ("HU", "06205551234", "36205551234"),
        ("BR", "021 11 95555-0123", "5511955550123"),
        ("IT", "3335550123", "393335550123"),
    ],
)
def test_a_number_of_the_lines_country_is_found_by_all_it_is_called(
    country: str, written: str, number: str
) -> None:
    (found,) = people([cdr(written, "1002")], "asterisk/master", Line(country=country))
    assert ("msisdn", number) in found
    for asked in (f"+{number}", f"00{number}", number):
        assert ("msisdn", number) in {(s.kind, s.value) for s in typed(asked, country=country)}


@pytest.mark.parametrize("extension", ["s", "h", "i", "t", "T", "fax", "failed"])
def test_an_extension_of_the_dial_plan_itself_is_nobody(extension: str) -> None:
    (found,) = people([cdr("+923005550142", extension)], "asterisk/master")
    assert found == {("msisdn", "923005550142")}


def test_words_that_are_nobody_are_declared_by_field_and_kept_in_the_window() -> None:
    split = Kit(now=NOW, scope="none").process([cdr("+923005550142", "s")], "asterisk/master")
    assert "s" in kept(split)[0, None][1].values()
    assert rows(split.metadata)[0]["recipient"] is None


@pytest.mark.parametrize(
    "word",
    ["asterisk", "N/A", "No Caller ID", "Unbekannt", "Anonyme", "<>", "Número privado", "+86282452253"],
)
def test_withheld_callers_of_other_switches_are_nobody(word: str) -> None:
    assert typed(word) == ()
    (found,) = people([acc(src_user=word)], "kamailio/acc")
    assert found == {("msisdn", "12025550199")}


@pytest.mark.parametrize(
    "host", ["tenant-a.example", "Tenant-A.Example.", "tenant-a.example:5060", " tenant-a.example "]
)
def test_a_user_is_the_same_with_and_without_a_port(host: str) -> None:
    (found,) = people([acc(src_user="1002", src_domain=host)], "kamailio/acc")
    assert ("sip", "1002@tenant-a.example") in found


@pytest.mark.parametrize(
    "sender",
    [
        "ayesha_at_example_org@relay.example", "ayesha.at.example.org.xyzab@alias.example",
        "reply+ayesha-example-org-91@mail.example", "bounce+ayesha=example.org@acme.example",
        "SRS1=x=r.example==HHH=TT=example.org=ayesha@r2.example", "ayesha#example.org@relay.example",
        "ayesha%example.org@relay.example", "b_ayesha__example_org@x.example",
    ],
)  # fmt: skip
def test_a_sender_that_carries_the_recipient_with_other_marks_is_withheld(sender: str) -> None:
    (row,) = rows(Kit(now=NOW).process([mail(sender=sender)], "infobip/email-report").metadata)
    assert row["sender"].startswith("~")
    assert row["redacted"] == "sender"


@pytest.mark.parametrize(
    "sender", ["shop@example.org", "ayesha.news@acme.example", "example-org@acme.example"]
)
def test_a_sender_with_half_of_an_address_stays(sender: str) -> None:
    values = [mail(sender=sender, to="ayeshakhan@example.org")]
    (row,) = rows(Kit(now=NOW).process(values, "infobip/email-report").metadata)
    assert row["sender"] == sender


@pytest.mark.parametrize(
    "to",
    [
        '["ayesha@example.org","bilal@example.org"]', '{"to":["ayesha@example.org","bilal@example.org"]}',
        '[{"email":"ayesha@example.org","name":"A"},{"email":"bilal@example.org"}]',
        "ayesha@example.org; bilal@example.org", '{"to":[{"address":"ayesha@example.org"},"bilal@example.org"]}',
    ],
)  # fmt: skip
def test_several_in_one_field_are_several_subjects_however_they_are_listed(to: str) -> None:
    (found,) = people([mail(to=to)], "infobip/email-report")
    assert found == {("email", "ayesha@example.org"), ("email", "bilal@example.org")}


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01 10:00:00 UTC",
        "2026-03-01t10:00:00z",
        "2026-03-01 10:00:00 GMT",
        "2026/03/01 15:00:00 +0500",
    ],
)
def test_usual_spellings_of_a_time_are_one(text: str) -> None:
    assert parse_time(text, "iso") == datetime(2026, 3, 1, 10, tzinfo=UTC)


def test_a_list_has_no_words_for_nobody() -> None:
    text = """
name = "x/y"
version = 1
title = "x"
channel = "sms"
direction = "outbound"
[[field]]
path = "to[]"
class = "subject"
role = "recipient"
end_user = "always"
nobody = ["s"]
"""
    with pytest.raises(Exception, match="nobody"):
        Format.model_validate(__import__("tomllib").loads(text))
