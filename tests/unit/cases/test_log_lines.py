"""Lines of logs are read by declared patterns; what fits none is skipped by declaration or refused with a reason."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_kit import Kit, kept, landed, rows, subjects

from lethe.schemas.declaration.format import parse
from lethe.schemas.errors import ConfigurationError
from lethe.streams.transform.decode.log_lines import cut_line, cut_lines
from lethe.streams.transform.split.yearless import with_year

DECLARED = r"""
name = "test/gateway-log"
version = 1
title = "t"
encoding = "lines"
lines = [
    '(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) (?P<dir>in|out) <(?P<who>[^<>]*)>(?: ref=(?P<ref>\S+))? "(?P<text>.*)"',
    '(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) call (?P<who>\S+) (?P<dir>in|out)',
]
skip_lines = ['#.*', '.* heartbeat']
channel = "sms"
[[field]]
path = "who"
class = "subject"
role = "subscriber"
end_user = "always"
required = true
[[field]]
path = "ref"
class = "window"
[[field]]
path = "text"
class = "content"
[[field]]
path = "at"
class = "archive"
type = "timestamp"
column = "event_time"
required = true
[[field]]
path = "dir"
class = "archive"
type = "enum"
column = "direction"
required = true
values = { in = "inbound", out = "outbound" }
"""
FMT = parse(DECLARED, "test")
GOOD = b'2026-01-09T10:00:00Z in <+923005550142> ref=r-1 "Your code is 4471"'
CALL = b"2026-01-09T10:00:01Z call +923335550191 out\r"


def test_each_line_becomes_what_the_first_pattern_that_fits_says() -> None:
    kit = Kit(now=datetime(2026, 1, 15, tzinfo=UTC), scope="none")
    split = kit.process(
        [b"\xef\xbb\xbf" + GOOD, b"# a remark", CALL, b"nonsense", b"x heartbeat", b"\xff", GOOD], FMT
    )
    assert [(r["offset"], r["reason"]) for r in split.quarantine.to_pylist()] == [
        (1, "no_communication"), (3, "line_form"), (4, "no_communication"), (5, "not_utf8"),
    ]  # fmt: skip
    assert [(r["offset"], r["direction"]) for r in landed(split, kit.ring)] == [
        (0, "inbound"), (2, "outbound"), (6, "inbound"),
    ]  # fmt: skip
    people = subjects(split, kit.ring)
    assert people[0, None] == people[6, None] == {("subscriber", "msisdn", "923005550142")}
    assert people[2, None] == {("subscriber", "msisdn", "923335550191")}
    assert kept(split)[0, None] == ("fields", {"ref": "r-1", "who": "+923005550142"})


def test_the_original_of_a_line_in_scope_has_its_parts_without_content() -> None:
    kit = Kit(now=datetime(2026, 1, 15, tzinfo=UTC), scope="all")
    split = kit.process([GOOD, CALL], FMT)
    assert kept(split)[0, None] == (
        "canonical", {"at": "2026-01-09T10:00:00Z", "dir": "in", "ref": "r-1", "who": "+923005550142"},
    )  # fmt: skip
    assert all(row["integrity_hash"] for row in rows(split.metadata))
    whole = parse(DECLARED.replace('class = "content"', 'class = "window"'), "test")
    form, value = kept(Kit(now=kit.now, scope="all").process([GOOD], whole))[0, None]
    assert (form, value) == ("received", {"": GOOD.decode()}), "without content it is the line as it came"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("(?P<at>", "(?P<when>"), "at: no pattern in `lines`"),
        (("ref=(?P<ref>", "ref=(?=r)(?P<ref>"), "lines: pattern 1: it is no regular expression, or it looks around"),
        (("in|out) <", r"in|out)\1 <"), "lines: pattern 1: it is no regular expression, or it looks around"),
        (("call ", "(call "), "lines: pattern 2: it is no regular expression"),
        (("call (?P<who>", "call )|((?P<who>"), "lines: pattern 2: it is no regular expression"),
        (("call ", "(?:(?:[a-z]{900}){900}){90}"), "lines: pattern 2: it repeats too much"),
        (("(?P<ref>", "(?P<who>"), "lines: pattern 1: it has two groups of one name"),
        (("'#.*'", "'#(.*'"), "skip_lines: pattern 1: it is no regular expression"),
        (("'#.*'", "''"), "skip_lines.0: String should have at least 1 character"),
        (("'#.*'", f"'{'x' * 2001}'"), "skip_lines.0: String should have at most 2000 characters"),
        (('encoding = "lines"', 'encoding = "json"'), 'encoding = "lines", and only it, has patterns in `lines`'),
        (('channel = "sms"', 'each = "[]"'), "`envelope`, `unwrap` and `each` are for json"),
        (('channel = "sms"', 'headings = true'), "only csv has `headings`"),
    ],
)  # fmt: skip
def test_a_pattern_that_cannot_be_applied_is_refused_with_its_place(
    change: tuple[str, str], said: str
) -> None:
    text = DECLARED.replace(*change)
    with pytest.raises(ConfigurationError) as refused:
        parse(text, "test")
    assert said in str(refused.value)


def test_no_line_keeps_a_pattern_busy() -> None:
    greedy = DECLARED.replace("(?P<text>.*)", "(?P<text>(?:(?:a+)+)+)")
    hostile = GOOD.replace(b"Your code is 4471", b"a" * 100_000 + b"!")
    began = time.process_time()
    assert cut_line(hostile, parse(greedy, "test")) == "line_form"
    assert time.process_time() - began < 5, "a backtracking engine would not end at all"


LINES = st.lists(
    st.one_of(
        st.sampled_from([GOOD, CALL, b"# x", b"a heartbeat", b"", b"\xff\xfe", b"nonsense", GOOD + b" ", b"\r"]),
        st.binary(max_size=30),
        st.text(max_size=30).map(lambda text: f'2026-01-09T10:00:00Z in <{text}> "{text}"'.encode()),
    ),
    max_size=12,
)  # fmt: skip


@given(lines=LINES)
@settings(max_examples=150, deadline=None)
def test_lines_together_are_cut_as_each_by_itself(lines: list[bytes]) -> None:
    together = cut_lines(lines, FMT)
    alone = [cut_line(line, FMT) for line in lines]
    assert dict(together.refused) == {at: one for at, one in enumerate(alone) if isinstance(one, str)}
    found = dict(zip(together.at.tolist(), together.parts.to_dicts(), strict=True))
    assert {at: {k: v for k, v in one.items() if v is not None} for at, one in found.items()} == {
        at: one for at, one in enumerate(alone) if isinstance(one, dict)
    }


@given(lines=LINES, at=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_a_good_line_lands_whatever_stands_beside_it(lines: list[bytes], at: int) -> None:
    at = min(at, len(lines))
    kit = Kit(now=datetime(2026, 1, 15, tzinfo=UTC))
    values: list[bytes | None] = [*lines[:at], GOOD, *lines[at:]]
    split = kit.process(values, FMT)
    counts = split.counts
    assert counts.records == counts.split + counts.rejected + counts.tombstones == len(values)
    assert subjects(split, kit.ring)[at, None] == {("subscriber", "msisdn", "923005550142")}


@pytest.mark.parametrize(
    ("text", "received", "iso"),
    [
        ("Jan  9 17:44:53", datetime(2026, 1, 9, 12, 44), "2026-01-09T17:44:53"),  # a clock five hours ahead of UTC
        ("Dec 31 23:59:59", datetime(2026, 1, 1), "2025-12-31T23:59:59"),
        ("Jan  1 00:00:00", datetime(2025, 12, 31, 23, 59), "2026-01-01T00:00:00"),
        ("Feb 29 10:00:00.25", datetime(2024, 3, 1), "2024-02-29T10:00:00.25"),
        ("Feb 29 10:00:00", datetime(2026, 3, 1), "Feb 29 10:00:00"),  # of no year near: refused as a time
        ("Jun 31 10:00:00", datetime(2026, 3, 1), "Jun 31 10:00:00"),
        ("Foo 01 10:00:00", datetime(2026, 3, 1), "Foo 01 10:00:00"),
        ("2026-01-09T17:44:53+05:00", datetime(2026, 3, 1), "2026-01-09T17:44:53+05:00"),
    ],
)  # fmt: skip
def test_a_time_of_syslog_is_of_the_year_in_which_it_was_received(
    text: str, received: datetime, iso: str
) -> None:
    assert with_year(text, received.replace(tzinfo=UTC)) == iso


@given(
    when=st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1)),
    late=st.timedeltas(timedelta(days=-1), timedelta(days=363)),
)
def test_a_time_of_syslog_gets_its_year_back(when: datetime, late: timedelta) -> None:
    when = when.replace(microsecond=0)
    read = with_year(f"{when:%b} {when.day:2d} {when:%H:%M:%S}", (when + late).replace(tzinfo=UTC))
    assert read == when.isoformat()


@pytest.mark.parametrize(
    ("to", "recipient"),
    [
        ('"ayesha khan"@pk.example.com', '"ayesha khan"@pk.example.com'),
        ("|/usr/bin/vacation -a x <ayesha@pk.example.com>", "ayesha@pk.example.com"),
        ("/var/mail/a khan/inbox <ayesha@pk.example.com>", "ayesha@pk.example.com"),
        (":blackhole: <ayesha@pk.example.com>", "ayesha@pk.example.com"),
        ("ayesha@pk.example.com", "ayesha@pk.example.com"),
    ],
)
@pytest.mark.parametrize(
    "more", ["", ' F=<bob@example.org> R=r1 T=t1 S=12 C="250 OK"', ": Unrouteable address"]
)
def test_a_delivery_of_exim_names_its_recipient_wherever_it_went(to: str, recipient: str, more: str) -> None:
    kit = Kit(now=datetime(2026, 1, 15, tzinfo=UTC))
    split = kit.process([f"2026-01-09 17:44:53 1tVxYz-0001Ab-CD => {to}{more}".encode()], "exim/main-log")
    sender = {("sender", "email", "bob@example.org")} if "F=" in more else set()
    assert subjects(split, kit.ring)[0, None] == {("recipient", "email", recipient)} | sender
