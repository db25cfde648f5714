"""Made-up traffic: the same for ever, shaped like the real thing, with the shares that were asked for."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice

import phonenumbers
import pytest
from traffic_reference import END_USER, EVENT_TIME, FIELDS, RefusedError, members, read, time_of

import lethe.testing.traffic
from lethe.schemas.retention.calendar import Month, window_end
from lethe.testing.traffic import FORMATS, generate, generate_mixed, labelled
from lethe.testing.traffic.malformed import KINDS, damage
from lethe.testing.traffic.population import COUNTRIES, email, msisdn
from lethe.testing.traffic.wheels import source, wheel

UNTIL = datetime(2025, 11, 14, 9, 30, tzinfo=UTC)

FROZEN = {  # plain, and with a share of everything
    "infobip/sms-report": (
        "b2c363fa5cab8dd88b4698f7efa55ef5e76340f166ea3b38a255ee8ea9d5af42",
        "8523b650c68d99d883dcd3f2334992da356bf49a003ebc62d2f192efd6942b86",
    ),
    "infobip/sms-inbound": (
        "5d8242a3d8f492968e1ee364ec6f0807ac73b8b5366df827f353e6c920e90bc7",
        "12da6dc9fedf2a1e1782a28a4fd942f9d6b292fea272e2604ddf2c698c21a281",
    ),
    "infobip/voice-report": (
        "7112e9db326aebe052ae868322e72aad1184c55e5ec1a1f378d07041e9cd4eb1",
        "c73eaf63387a1d4de1ef1b689655394e9d33aff2c22169269e91bd9110c91a1d",
    ),
    "infobip/email-report": (
        "9d3d2defc99ff29c7e3e53826db2f3693546cb4bd4bf90906d53bad254eb4004",
        "aaebb3872b7d93cc254a3e12e14e487afbb0765959349b060283cd744d3f3131",
    ),
}


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_first_thousand_records_are_frozen(format_name: str) -> None:
    plain = generate(format_name, 1000, 7, until=UNTIL)
    mixed = generate(format_name, 1000, 7, until=UNTIL, malformed=0.05, late=0.05, envelope=0.05)
    assert hashlib.sha256(b"\n".join(plain)).hexdigest() == FROZEN[format_name][0]
    assert hashlib.sha256(b"\n".join(mixed)).hexdigest() == FROZEN[format_name][1]


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_longer_run_begins_like_a_shorter_one_and_another_seed_differs(format_name: str) -> None:
    run = list(generate(format_name, 200, 1, until=UNTIL))
    assert list(islice(generate(format_name, 5000, 1, until=UNTIL), 200)) == run
    assert not set(generate(format_name, 200, 2, until=UNTIL)) & set(run)


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_good_record_has_exactly_the_listed_fields(format_name: str) -> None:
    missing = set(FIELDS[format_name])
    first, last = Month(2025, 8).start(), UNTIL
    for value in generate(format_name, 4000, 3, until=UNTIL):
        assert b"\n" not in value
        record = read(format_name, value, UNTIL)
        missing -= set(record)
        assert first <= time_of(record[EVENT_TIME[format_name]]) < last
        assert time_of(record.get("doneAt", record[EVENT_TIME[format_name]])) < last
    assert not missing, "a listed field never occurs"


def test_the_package_documents_every_field() -> None:
    text = lethe.testing.traffic.__doc__ or ""
    sections = dict(zip(FORMATS, re.split(r"^`infobip/[a-z-]+`$", text, flags=re.M)[1:], strict=True))
    for format_name, fields in FIELDS.items():
        for name, inside in fields.items():
            assert re.search(rf"\b{name}\b", sections[format_name]), (format_name, name)
            if isinstance(inside, dict) and "groupId" not in inside:
                for inner in inside:
                    assert re.search(rf"\b{inner}\b", sections[format_name]), (format_name, inner)


@pytest.mark.parametrize("format_name", FORMATS)
def test_shares_are_what_was_asked_for(format_name: str) -> None:
    labels = Counter(
        label
        for label, _ in labelled(format_name, 20_000, 5, until=UNTIL, malformed=0.08, late=0.05, envelope=0.1)
    )
    kinds = {kind: n for kind, n in labels.items() if kind in KINDS}
    assert set(kinds) == set(KINDS)
    assert 0.07 < sum(kinds.values()) / 20_000 < 0.09
    assert 0.085 < labels["envelope"] / 20_000 < 0.1
    assert 0.035 < labels["late"] / 20_000 < 0.05


@pytest.mark.parametrize("format_name", FORMATS)
def test_late_records_are_of_months_whose_window_has_ended(format_name: str) -> None:
    months = set()
    for value in generate(format_name, 600, 11, until=UNTIL, late=1.0):
        record = read(format_name, value, UNTIL)
        month = Month.of(time_of(record[EVENT_TIME[format_name]]))
        assert window_end(month) <= UNTIL
        months.add(month)
        if "doneAt" in record:
            assert Month.of(time_of(record["doneAt"])) == month
    assert months == {Month(2025, 11).plus(-n) for n in range(13, 21)}


@pytest.mark.parametrize("format_name", FORMATS)
def test_an_envelope_holds_several_good_records(format_name: str) -> None:
    for value in generate(format_name, 100, 13, until=UNTIL, envelope=1.0):
        inside = members(value)
        assert 2 <= len(inside) <= 5
        for record in inside:
            read(format_name, record, UNTIL)
        with pytest.raises(RefusedError):
            read(format_name, value, UNTIL)


@pytest.mark.parametrize("format_name", FORMATS)
def test_malformed_values_are_refused(format_name: str) -> None:
    for label, value in labelled(format_name, 3000, 17, until=UNTIL, malformed=1.0):
        try:
            read(format_name, value, UNTIL)
        except RefusedError:
            continue
        pytest.fail(f"{label} passes for a good record: {value[:200]!r}")


def test_an_oversized_value_can_be_asked_for() -> None:
    (record,) = generate("infobip/sms-report", 1, 1, until=UNTIL)
    value = damage("oversized", source("test"), record.decode(), "infobip/sms-report")
    assert len(value) > 2**20
    with pytest.raises(RefusedError, match="size"):
        read("infobip/sms-report", value, UNTIL)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 1.0])
def test_the_asked_share_of_end_users_lives_in_pakistan(share: float) -> None:
    inside = 0
    for value in generate("infobip/sms-report", 5000, 19, until=UNTIL, pakistan=share):
        record = read("infobip/sms-report", value, UNTIL)
        at_home = record["to"].lstrip("+").startswith("923")
        inside += at_home
        if record["mccMnc"] is not None:
            assert record["mccMnc"].startswith("410") == at_home
            assert not at_home or record["mccMnc"][3:] in {"01", "03", "04", "06", "07"}
    assert abs(inside / 5000 - share) < 0.02


def test_people_come_back_as_in_real_traffic() -> None:
    seen = Counter(
        read("infobip/sms-report", value, UNTIL)["to"].lstrip("+")
        for value in generate("infobip/sms-report", 20_000, 23, until=UNTIL)
    )
    assert seen.most_common(1)[0][1] >= 10
    assert sum(n > 1 for n in seen.values()) > 1000
    assert len(seen) > 8000
    replies = {
        read("infobip/sms-inbound", value, UNTIL)["from"].lstrip("+")
        for value in generate("infobip/sms-inbound", 5000, 29, until=UNTIL)
    }
    assert len(replies & set(seen)) > 500


def test_numbers_and_addresses_are_plausible_and_nobody_shares_one() -> None:
    numbers, addresses = set(), set()
    for country, plan in enumerate(COUNTRIES):
        for rank in range(64, 64 + 4000 * 64, 64):
            number = msisdn(country, rank)
            numbers.add(number)
            addresses.add(email(country, rank))
        assert phonenumbers.is_possible_number(phonenumbers.parse("+" + number)), plan.iso
    assert len(numbers) == len(addresses) == len(COUNTRIES) * 4000
    assert re.fullmatch(r"923[0-4]\d{8}", msisdn(0, 99))


def test_callback_data_and_message_ids_sometimes_hold_the_end_user() -> None:
    found: Counter[str] = Counter()
    for value in generate("infobip/sms-report", 5000, 31, until=UNTIL):
        record = read("infobip/sms-report", value, UNTIL)
        number = record["to"].lstrip("+")
        found["callback"] += number in record.get("callbackData", "")
        found["id"] += number in record["messageId"]
    assert 200 < found["callback"] < 800
    assert 3 < found["id"] < 100


def test_accounts_senders_prices_and_statuses_vary() -> None:
    records = [
        read("infobip/sms-report", v, UNTIL) for v in generate("infobip/sms-report", 5000, 37, until=UNTIL)
    ]
    assert len({r["platform"]["entityId"] for r in records}) == 12
    assert {len(r["platform"]) for r in records} == {1, 2}
    senders = {r["sender"] for r in records}
    assert any(s.isdigit() and len(s) <= 6 for s in senders)
    assert any(s.isdigit() and len(s) > 10 for s in senders)
    assert all(len(s) <= 11 for s in senders if not s.isdigit())
    groups = Counter(r["status"]["groupName"] for r in records)
    assert set(groups) == {"PENDING", "UNDELIVERABLE", "DELIVERED", "EXPIRED", "REJECTED"}
    assert 0.85 < groups["DELIVERED"] / 5000 < 0.95
    for r in records:
        price = Decimal(str(r["price"]["pricePerMessage"]))
        assert -price.as_tuple().exponent <= 6  # type: ignore[operator]
        assert (price == 0) == (r["status"]["groupName"] == "REJECTED" or r["price"]["currency"] == "UNKNOWN")
        assert re.fullmatch(r"[A-Z]{2}-[A-Z]+-\d", r["route"])
    assert {r["messageCount"] for r in records} == {1, 2, 3, 4}


def test_calls_add_up() -> None:
    for value in generate("infobip/voice-report", 3000, 41, until=UNTIL):
        record = read("infobip/voice-report", value, UNTIL)
        call = record["voiceCall"]
        start, end = time_of(call["startTime"]), time_of(call["endTime"])
        assert time_of(record["sentAt"]) <= start <= end <= UNTIL
        assert call["duration"] <= call["chargedDuration"] < call["duration"] + 30
        if call["answerTime"] is None:
            assert call["duration"] == 0
            assert record["error"]["name"] not in {"VOICE_ANSWERED", "NORMAL_HANGUP"}
        else:
            talk = end - time_of(call["answerTime"])
            assert timedelta(seconds=call["duration"]) <= talk + timedelta(seconds=1)


def test_traffic_follows_the_hours_of_the_day() -> None:
    hours = Counter(
        time_of(read("infobip/sms-inbound", value, UNTIL)["receivedAt"]).hour
        for value in generate("infobip/sms-inbound", 10_000, 43, until=UNTIL)
    )
    assert hours[9] > 2 * hours[1]


def test_times_are_written_in_the_ways_that_occur() -> None:
    ends = Counter(
        re.sub(r"\d", "0", read("infobip/sms-report", value, UNTIL)["sentAt"][19:])
        for value in generate("infobip/sms-report", 5000, 47, until=UNTIL)
    )
    assert set(ends) == {".000+0000", ".000Z", "+0000", "Z", ".000-0000"}
    assert ends[".000+0000"] > 4500


@pytest.mark.parametrize(
    "until", [datetime(2025, 12, 1, tzinfo=UTC), datetime(2025, 12, 1, 0, 2, tzinfo=UTC)]
)
def test_one_month_ends_before_until_however_young_the_month_is(until: datetime) -> None:
    first = Month.of(until - timedelta(milliseconds=1)).start()
    for value in generate("infobip/sms-report", 500, 53, until=until, months=1):
        assert first <= time_of(read("infobip/sms-report", value, until)["sentAt"]) < until


def test_mixed_traffic_keeps_the_shares_and_each_format_its_own_sequence() -> None:
    shares = {"infobip/sms-report": 6, "infobip/voice-report": 2, "infobip/email-report": 2}
    mixed = list(generate_mixed(3000, 59, shares, until=UNTIL))
    counts = Counter(name for name, _ in mixed)
    assert 1600 < counts["infobip/sms-report"] < 2000
    for name, n in counts.items():
        assert [value for f, value in mixed if f == name] == list(generate(name, n, 59, until=UNTIL))


def test_message_ids_do_not_repeat_across_formats() -> None:
    ids = [
        read(name, value, UNTIL)["messageId"]
        for name in FORMATS
        for value in generate(name, 3000, 61, until=UNTIL)
    ]
    assert len(set(ids)) == len(ids)


def test_arguments_that_make_no_sense_are_refused() -> None:
    for options in ({"pakistan": 1.5}, {"late": -0.1}, {"months": 0}, {"months": 13}):
        with pytest.raises(ValueError, match=r"share|months"):
            list(generate("infobip/sms-report", 1, 1, until=UNTIL, **options))
    with pytest.raises(ValueError, match="format"):
        list(generate("infobip/telegram", 1, 1, until=UNTIL))
    with pytest.raises(ValueError, match="time zone"):
        list(generate("infobip/sms-report", 1, 1, until=datetime(2025, 1, 1)))
    with pytest.raises(ValueError, match="shares"):
        list(generate_mixed(1, 1, {}, until=UNTIL))


def test_a_wheel_gives_every_weight_its_slots() -> None:
    assert Counter(wheel([("a", 3), ("b", 1)], 64)) == {"a": 48, "b": 16}
    with pytest.raises(ValueError, match="weight"):
        wheel([("a", 0)])


def test_every_domain_and_address_range_is_reserved() -> None:
    for value in generate("infobip/email-report", 2000, 67, until=UNTIL):
        record = read("infobip/email-report", value, UNTIL)
        for domain in re.findall(r"@([A-Za-z0-9.-]+)", value.decode().replace("%40", "@")):
            assert re.search(r"(^|\.)example\.(com|org|net)$", domain.lower())
        assert re.match(r"(192\.0\.2|198\.51\.100|203\.0\.113)\.", record["sendingIp"])
        assert END_USER["infobip/email-report"] in record
