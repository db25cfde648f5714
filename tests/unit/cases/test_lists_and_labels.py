"""Whom a field names where it holds a list, a label or the name of a channel beside the address."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transform_kit import Kit, subjects

from lethe.schemas.declaration.format import Format, parse
from lethe.schemas.line import Line
from lethe.schemas.subjects.addresses import Reading, Subject, normalise, read, several
from lethe.streams.transform.split.columns import parse_time

ANN, BOB, ZOE = (Subject("email", f"{name}@example.org") for name in ("ann", "bob", "zoe"))
AYESHA, OMAR = Subject("msisdn", "923005550142"), Subject("msisdn", "923335550191")
LISTS = {
    "Ann <ann@example.org>, Bob <bob@example.org>": [ANN, BOB],
    'ann@example.org, "Shah, Bob" <bob@example.org>': [ANN, BOB],
    "Shah, Ann <ann@example.org>; Khan, Bob <bob@example.org>": [ANN, BOB],
    "Shah, Ann <ann@example.org>": [ANN],
    '"Ann, \\"A\\"" <ann@example.org>,\n bob@example.org': [ANN, BOB],
    "staff: ann@example.org, Bob <bob@example.org>;": [ANN, BOB],
    "staff: ann@example.org;": [ANN],
    "Ayesha <+923005550142>, Omar <+923335550191>": [AYESHA, OMAR],
    "923005550142<923335550191": [AYESHA, OMAR],
    "923005550142|923335550191": [AYESHA, OMAR],
}
FMT = parse(
    """
name = "test/lists"
version = 1
title = "t"
channel = "email"
direction = "outbound"
[[field]]
path = "to"
class = "subject"
role = "recipient"
end_user = "always"
[[field]]
path = "at"
class = "archive"
type = "timestamp"
column = "event_time"
required = true
""",
    "test",
)


def people(*texts: str, fmt: Format | str = FMT) -> list[set[tuple[str, str]]]:
    kit = Kit(now=datetime(2026, 3, 20, tzinfo=UTC))
    values: list[bytes | None] = [
        json.dumps({"to": text, "at": "2026-03-06T06:06:06Z"}).encode() for text in texts
    ]
    found = subjects(kit.process(values, fmt), kit.ring)
    return [{(kind, value) for _, kind, value in found.get((at, None), set())} for at in range(len(texts))]


def test_everybody_in_a_list_is_a_subject_whatever_stands_beside_the_addresses() -> None:
    assert people(*LISTS) == [{(one.kind, one.value) for one in found} for found in LISTS.values()]


@pytest.mark.parametrize(
    "text", ["Ann, of Acme", "ann@example.org, Bob", "ref 1234567, Ann <ann@example.org>", '"Ann <a@b.example>', "a|b"]
)  # fmt: skip
def test_what_is_no_list_is_left_whole(text: str) -> None:
    assert several(text, Reading()) == []


@given(
    names=st.lists(st.text("AZaz ,.'-é张", max_size=12), min_size=2, max_size=5),
    mark=st.sampled_from([", ", ";", ",\r\n ", " ; "]),
    quoted=st.booleans(),
)
def test_lists_with_any_names_are_everybody(names: list[str], mark: str, quoted: bool) -> None:
    clean = [name.strip(" ,") for name in names]
    addresses = [f"p{at}@example.org" for at in range(len(names))]
    written = [f'"{name}"' if quoted else name.replace(",", "") for name in clean]
    shown = [f"{name} <{address}>" for name, address in zip(written, addresses, strict=True)]
    assert people(mark.join(shown)) == [{("email", one) for one in addresses}]


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("client:923005550142", AYESHA), ("msisdn:+923005550142", AYESHA), ("E.164:+923005550142", AYESHA),
        ("urn:tel:+92-300-5550142", AYESHA), ("4:+923005550142", AYESHA), ("+92 300 555 0142 (mobile)", AYESHA),
        ("SMTP:Ann@Example.ORG", ANN), ("smtp;ann@example.org", ANN),
        ("undisclosed-recipients:;", None), ("Undisclosed recipients:;", None),
        ("client:ayesha.khan", Subject("opaque", "client:ayesha.khan")),
        ("4:923005550142", Subject("opaque", "4:923005550142")),
        ("urn:service:sos", Subject("opaque", "urn:service:sos")),
    ],
)  # fmt: skip
def test_a_label_before_an_address_is_no_part_of_it(text: str, subject: Subject | None) -> None:
    assert normalise(text) == subject


@pytest.mark.parametrize(
    "text", ["PJSIP/+923005550142@trunk", "Local/03005550142@from-internal/n", "SIP/923005550142@gw",
             "E164:923005550142"]
)  # fmt: skip
def test_a_channel_of_asterisk_names_whom_it_dials(text: str) -> None:
    assert read(text, Reading(dialled=True, country=Line(country="PK").country)) == AYESHA


@pytest.mark.parametrize(
    ("form", "text", "moment"),
    [
        ("yymmddhhmm", "260228100012", datetime(2026, 2, 28, 10, 0, 12)),  # SMPP with seconds
        ("yymmddhhmm", "202602281000", datetime(2026, 2, 28, 10, 0)),
        ("yymmddhhmm", "20260228100012", datetime(2026, 2, 28, 10, 0, 12)),
        ("yymmddhhmm", "201231235959", datetime(2020, 12, 31, 23, 59, 59)),
        ("iso", "20260228T100000Z", datetime(2026, 2, 28, 10, 0)),
        ("iso", "20260228T150000+0500", datetime(2026, 2, 28, 10, 0)),
        ("iso", "2026-02-28T10:00:00.5Z[UTC]", datetime(2026, 2, 28, 10, 0, 0, 500_000)),
        ("iso", "2026-02-28T15:00:00+05:00[Asia/Karachi]", datetime(2026, 2, 28, 10, 0)),
        ("iso", "2026-02-28T15:00:00[Asia/Karachi]", None),  # no offset: of which clock nobody says
        ("iso", "20260228", None),
        ("yymmddhhmm", "202613281000", None),
    ],
)
def test_times_as_message_centres_and_java_write_them(form: str, text: str, moment: datetime | None) -> None:
    assert parse_time(text, form) == (moment and moment.replace(tzinfo=UTC))
