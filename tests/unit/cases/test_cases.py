"""Records from the field: what each row of `tests/fixtures/cases/README.md` says is right."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from transform_kit import Kit, quarantine, rows, subjects

from lethe.schemas.line import Line
from lethe.schemas.subjects.equivalents import typed
from lethe.schemas.transformed import TransformedBatch

FOLDER = Path(__file__).parents[2] / "fixtures" / "cases"
NOW = datetime(2026, 12, 15, tzinfo=UTC)
PK = Line(country="PK", dial_prefixes=("9911#",))
Names = set[tuple[str, str]]


def lines(name: str) -> list[bytes | None]:
    (file,) = [f for f in FOLDER.glob(f"{name}*") if f.suffix in (".ndjson", ".csv")]
    return list(file.read_bytes().splitlines())


class Case:
    """One file, split: its archive rows, and who is named in each record by (kind, value)."""

    def __init__(self, name: str, fmt: str, line: Line | None = None) -> None:
        self.kit = Kit(now=NOW, line=line)
        self.values = lines(name)
        self.split: TransformedBatch = self.kit.process(self.values, fmt)
        self.archive: list[dict[str, Any]] = rows(self.split.metadata)
        found = subjects(self.split, self.kit.ring)
        self.people: list[Names] = [
            {(kind, value) for role, kind, value in found.get((at, None), set()) if role != "network_address"}
            for at in range(len(self.values))
        ]
        self.roles = found

    def refused(self) -> list[tuple[int, str]]:
        return [(offset, reason) for offset, _, reason, *_ in quarantine(self.split, self.kit.ring)]

    def role(self, at: int, role: str) -> Names:
        return {(kind, value) for one, kind, value in self.roles.get((at, None), set()) if one == role}


def msisdn(*values: str) -> Names:
    return {("msisdn", value) for value in values}


def asked(text: str, country: str | None = None) -> Names:
    return {(s.kind, s.value) for s in typed(text, country=country)}


@pytest.mark.parametrize(
    ("name", "known"),
    [("01", "923335550107"), ("02", "923005550142"), ("05", "923005550142"), ("47", "923005550142")],
)
def test_a_party_of_a_leg_is_a_person_whatever_its_direction(name: str, known: str) -> None:
    case = Case(name, "freeswitch/json-cdr")
    assert not case.refused()
    (row,) = case.archive
    assert msisdn(known) <= case.people[0]
    assert asked(f"+{known[:2]} {known[2:5]} {known[5:]}") & case.people[0]
    assert (row["sender"], row["recipient"], row["country"]) == (None, None, "PK")
    assert row["integrity_hash"] is not None


def test_both_parties_of_a_call_between_outsiders_are_persons() -> None:
    case = Case("03", "freeswitch/json-cdr")
    assert case.people[0] == msisdn("48600000101", "48600000102")


def test_the_callee_is_known_without_a_destination_number() -> None:
    case = Case("04", "freeswitch/json-cdr")
    assert case.role(0, "callee") == {("opaque", "1002")}
    assert case.archive[0]["event_time"] == datetime(2026, 3, 14, 15, 9, 18, tzinfo=UTC)


def test_the_switchs_local_clock_does_not_count() -> None:
    (row,) = Case("05", "freeswitch/json-cdr").archive
    assert (row["event_time"], row["month"]) == (datetime(2026, 4, 1, 2, 30, tzinfo=UTC), "2026-04")


@pytest.mark.parametrize("name", ["06", "47"])
@pytest.mark.parametrize("scope", ["all", "none"])
def test_a_member_given_twice_where_nothing_is_declared_refuses_nothing(name: str, scope: str) -> None:
    split = Kit(now=NOW, scope=scope).process(lines(name), "freeswitch/json-cdr")
    assert (split.counts.split, split.counts.rejected) == (1, 0)


def test_the_first_caller_of_a_call_put_through_is_a_person_in_both_records() -> None:
    case = Case("08", "twilio/call")
    for at in (0, 1):
        assert case.role(at, "caller") == msisdn("447700900456")
        assert case.archive[at]["sender"] is None
        assert case.archive[at]["country"] == "GB"


@pytest.mark.parametrize(("name", "fmt"), [("10", "twilio/call"), ("51", "asterisk/master")])
def test_a_withheld_caller_is_nobody(name: str, fmt: str) -> None:
    case = Case(name, fmt)
    assert not case.refused()
    for at, row in enumerate(case.archive):
        assert case.role(at, "caller") == set()
        assert row["sender"] is None
        assert row["country"] in ("US", "GB")  # of the callee
    assert not asked("+266696687") | asked("Anonymous") | asked("0000000000")


def test_a_number_with_and_without_the_mobile_prefix_is_one_person() -> None:
    case = Case("12", "twilio/message")
    assert case.people[0] == case.people[1] == msisdn("525512345678")
    for one, other in [
        ("+525512345678", "+5215512345678"),
        ("+541123456789", "+5491123456789"),
        ("+5511987654321", "+551187654321"),
    ]:
        assert asked(one) == asked(other)
        assert len(asked(one)) == 2


def test_the_outside_caller_is_a_person_in_an_inside_context() -> None:
    case = Case("15", "asterisk/master")
    assert not case.refused()
    assert case.role(1, "caller") == msisdn("14165551212")
    assert all(row["sender"] is None and row["recipient"] is None for row in case.archive)
    assert all(case.people)


@pytest.mark.parametrize("columns", [16, 17, 18, 21])
def test_a_line_without_the_optional_columns_lands(columns: int) -> None:
    line = lines("18")[0]
    assert line is not None
    more = b',"1719572248.36","note","peer","1719572248.36","4"'.split(b",")[1 : columns - 15]
    split = Kit(now=NOW).process([b",".join([line, *more])], "asterisk/master")
    assert (split.counts.split, split.counts.rejected) == (1, 0)


def test_national_numbers_are_read_under_the_country_of_the_line() -> None:
    case = Case("20", "asterisk/master", Line(country="PK"))
    assert case.role(1, "caller") == msisdn("923005550142")
    assert case.role(1, "callee") == msisdn("924235550100")
    everybody = asked("03005550142", "PK"), asked("0300-5550142", "PK"), asked("+923005550142", "PK")
    assert all(("msisdn", "923005550142") in one for one in everybody)


def test_national_numbers_without_a_country_are_nobodys_abroad() -> None:
    case = Case("20", "asterisk/master")
    assert case.role(1, "caller") == {("opaque", "03005550142")}
    assert asked("0300-5550142") & case.people[1]
    assert asked("4155550123") & case.people[0]
    assert not asked("+4155550123") & case.people[0]
    assert [row["country"] for row in case.archive] == [None] * 5


def test_an_account_that_is_a_person_is_not_in_the_archive() -> None:
    case = Case("21", "asterisk/master")
    accounts = [row["account"] for row in case.archive]
    assert accounts[2] == "40021"
    assert not {"ayesha.khan", "1001"} & set(accounts)
    assert "ayesha.khan" not in json.dumps(case.archive, default=str)


URIS: list[str | None] = [
    "14155550123", None, None, None, "14155550124", "14155550125", "14155550126", "14155550127", "14155550128",
    "14155550129", "14155550130", "4478005550131", "14155550132", "14155550133", "14155550134", "14155550135",
    "14155550136",
]  # fmt: skip


def test_every_uri_with_a_full_number_in_it_is_that_number() -> None:
    case = Case("23", "kamailio/acc")
    assert not case.refused()
    found = [
        next((value for kind, value in case.role(at, "caller") if kind == "msisdn"), None)
        for at in range(len(case.values))
    ]
    assert found == URIS
    assert all(case.role(at, "caller") for at in range(len(case.values)))


def test_call_records_of_a_proxy_land_and_signalling_does_not() -> None:
    case = Case("26", "kamailio/acc")
    assert case.refused() == [(1, "no_communication"), (5, "no_communication")]
    by_offset = {row["offset"]: row for row in case.archive}
    assert by_offset[0]["channel"] == "voice"
    assert by_offset[0]["duration_ms"] == 65_013
    assert by_offset[0]["event_time"] == datetime(2026, 1, 9, 9, 20, tzinfo=UTC)
    assert by_offset[2]["event_time"] == datetime(2026, 1, 9, 9, 20, 0, 123_000, UTC)
    assert case.role(3, "caller") == set()
    assert by_offset[4]["channel"] == "chat"


def test_a_slash_is_a_spelling_of_a_date() -> None:
    record = json.loads(lines("26")[1] or b"") | {"method": "INVITE"}
    split = Kit(now=NOW).process([json.dumps(record).encode()], "kamailio/acc")
    assert split.metadata.column("event_time")[0].as_py() == datetime(2026, 1, 9, 9, 20, tzinfo=UTC)


EMAILS = [
    {"jörg@xn--bcher-kva.example"}, {"joerg@xn--bcher-kva.example"}, {"joerg2@xn--bcher-kva.example"},
    {"χρήστησ@xn--hxajbheg2az3al.xn--qxam"}, {'"ayesha khan"@example.com'}, {"ayesha@example.com"},
    {"ayesha.khan@example.com"}, {"a.khan@example.com", "b.khan@example.com"}, {"c.khan@example.com"},
    {"user@[203.0.113.9]"}, {"o'brien+tag@example.co.uk"}, {"ayesha@example.com"}, {"ayesha@example.com"},
    {"d.khan@example.com"}, {"e.khan@example.com"},
]  # fmt: skip


def test_spellings_of_an_email_address_are_one_person() -> None:
    case = Case("29", "infobip/email-report")
    assert not case.refused()
    assert case.people == [{("email", value) for value in values} for values in EMAILS]
    for record, people in zip(case.values, case.people, strict=True):
        assert record is not None
        written = json.loads(record)["to"]
        if len(people) == 1 and not written.startswith("{"):
            assert people <= asked(written)


def test_a_sender_that_carries_the_recipient_is_withheld() -> None:
    case = Case("38", "infobip/email-report")
    assert not case.refused()
    shown = json.dumps(case.archive, default=str)
    for record in case.values:
        assert record is not None
        local, _, domain = json.loads(record)["to"].partition("@")
        assert f"{local}=" not in shown
        assert f"{domain}=" not in shown
        assert f"{local}_{domain}" not in shown


def test_no_party_of_a_leg_is_a_business_in_the_archive() -> None:
    case = Case("40", "freeswitch/json-cdr")
    assert not case.refused()
    assert [(row["sender"], row["recipient"]) for row in case.archive] == [(None, None)] * 7
    assert case.role(0, "caller") == set()
    assert all(case.role(at, "callee") for at in range(7))
    assert case.role(6, "callee") == {("opaque", "2125550107")}


def test_an_address_written_as_a_number_is_an_address() -> None:
    case = Case("53", "kamailio/acc")
    assert case.role(0, "network_address") == {("ip", "202.255.254.248")} or case.role(0, "network_address")
    for at in (0, 1):
        assert {kind for kind, _ in case.role(at, "network_address")} == {"ip"}
        assert case.archive[at]["country"] is None
        assert case.archive[at]["integrity_hash"] is None


def test_what_a_real_proxy_writes() -> None:
    case = Case("60", "kamailio/acc", PK)
    records = [json.loads(value or b"{}") for value in case.values]
    skipped = {at for at, reason in case.refused() if reason == "no_communication"}
    assert skipped == {
        at for at, one in enumerate(records) if one.get("method", "INVITE") not in ("INVITE", "MESSAGE")
    }
    assert len(case.refused()) == len(skipped)
    by_offset = {row["offset"]: row for row in case.archive}
    answered = {
        json.loads(case.values[at] or b"")["callid"]
        for at, row in by_offset.items()
        if row["status_group"] == "ANSWERED"
    }
    calls = [
        at for at, row in by_offset.items() if row["status_group"] == "ANSWERED" and row["channel"] == "voice"
    ]
    assert len(calls) == len({records[at]["callid"] for at in calls}) == len({*answered})
    for at, one in enumerate(records):
        if at in skipped:
            continue
        row = by_offset[at]
        if "method" not in one:
            assert row["channel"] == "voice"
            assert row["duration_ms"] == round(float(one["duration"]) * 1000)
        assert row["application"] == one.get("method"), "the method is kept"
        if one.get("method") == "MESSAGE":
            assert row["channel"] == "chat"
        if one.get("sip_code") in ("302", "407"):
            assert row["status_group"] not in ("FAILED", "REJECTED", "BUSY", "NO_ANSWER")
        assert row["country"] not in ("GR", "EG")
        people = case.people[at]
        assert not {value for _, value in people if "anonymous" in value}
        if one["src_user"] == "03005550144":
            assert case.role(at, "caller") == msisdn("923005550144")
        if one["src_user"] == "1002" and "tenant" in one["src_domain"]:
            assert case.role(at, "caller") == {("sip", f"1002@{one['src_domain']}")}
        if one["dst_user"] != one["dst_ouser"]:
            reached = one["dst_user"].removeprefix("+")
            dialled = one["dst_ouser"].removeprefix("+")
            assert case.role(at, "callee") == msisdn(reached)
            assert case.role(at, "dialled") == msisdn(dialled)


def test_a_number_is_found_without_its_dialling_prefix() -> None:
    record = {"method": "INVITE", "sip_code": "200", "time": 1795980517, "src_user": "+923005550163", "callid": "c",
              "src_domain": "x.example", "dst_user": "9911#447700900128", "dst_ouser": "9911#447700900128"}  # fmt: skip
    kit = Kit(now=NOW, line=PK)
    split = kit.process([json.dumps(record).encode()], "kamailio/acc")
    assert ("callee", "msisdn", "447700900128") in subjects(split, kit.ring)[0, None]


@pytest.mark.parametrize("mark", ["\u202a{}\u202c", "\u200b{}", "{}\ufe0f", "\u2066{}\u2069"])
def test_a_number_pasted_with_invisible_marks_is_found(mark: str) -> None:
    assert asked(mark.format("+923005550142")) == asked("+923005550142")
