"""What a record costs in all: as the vendors say, in the records' own figures, worked out once more by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_kit import Kit, quarantine, rows

from lethe.operations.lines import check_charges
from lethe.operations.sections.lines import LineSettings
from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Format
from lethe.schemas.errors import ConfigurationError
from lethe.schemas.line import Line

FOLDER = Path(__file__).parents[2] / "fixtures" / "formats"
KIT = Kit(now=datetime(2026, 1, 15, tzinfo=UTC), window_months=36, scope="none")
Record = dict[str, Any]


def exact(value: Any) -> Decimal:
    return Decimal(str(value if value not in (None, "") else 0))


def count(record: Record) -> int:
    return int(next(record[n] for n in ("messageCount", "smsCount", "mmsCount", "rcsCount") if record.get(n)))


def per_part(record: Record) -> Decimal:
    return exact(record["price"]["pricePerMessage"]) * count(record)


# The bill of a vendor, from the raw record: what Lethe's own code is not asked for.
BY_HAND: dict[str, Callable[[Record], Decimal | None]] = {
    "8x8/sms-report": lambda r: exact(
        r["payload"]["price"].get("total") or r["payload"]["price"]["perSms"] * r["payload"]["smsCount"]
    ),
    "telnyx/message": lambda r: exact(r["data"]["payload"]["cost"]["amount"]),
    "plivo/message": lambda r: exact(r["total_amount"]),
    "infobip/messages-inbound": per_part,
    "infobip/sms-report": per_part,
    "infobip/sms-log": per_part,
    "infobip/sms-log-legacy": per_part,
    "infobip/sms-inbound": per_part,
    "infobip/mms-report": per_part,
    "infobip/mms-inbound": per_part,
    "infobip/email-report": per_part,
    "infobip/viber-report": per_part,
    "infobip/whatsapp-report": per_part,
    "infobip/rcs-report": per_part,
    "infobip/rcs-inbound": per_part,
    "infobip/viber-inbound": lambda r: exact(r["price"]["pricePerMessage"]),
    "infobip/whatsapp-inbound": lambda r: exact(r["price"]["pricePerMessage"]),
    "infobip/voice-report": lambda r: (
        exact(r["price"]["pricePerSecond"]) * exact(r["voiceCall"]["chargedDuration"])
    ),
    "infobip/voice-log": lambda r: exact(r["price"]["pricePerSecond"]) * exact(r["duration"]),
    "infobip/number-masking": lambda r: exact(r["pricePerSecond"]) / 100 * exact(r["calculatedDuration"]),
    "twilio/message": lambda r: None if r["price"] is None else -exact(r["price"]),
    "twilio/call": lambda r: None if r["price"] is None else -exact(r["price"]),
    "vonage/report": lambda r: exact(r["total_price"]),
    "vonage/dlr": lambda r: exact(r["price"]),
    "vonage/dlr-form": lambda r: exact(r["price"]),
    "aws/end-user-messaging": lambda r: exact(r["totalMessagePrice"]) + exact(r["totalCarrierFee"]),
    "aws/pinpoint-sms": lambda r: exact(r["metrics"]["price_in_millicents_usd"]) / 100_000,
}


def records(name: str) -> list[Record]:
    lines = (FOLDER / f"{name}.ndjson").read_text("utf-8").splitlines()
    found = [json.loads(line) if line.startswith("{") else dict(parse_qsl(line)) for line in lines]
    return [one for value in found for one in value.get("results", [value])]


def test_every_format_with_a_price_says_how_a_charge_follows() -> None:
    priced = {n: f for n, f in formats.builtin().items() if isinstance(f, Format) and f.priced}
    assert set(priced) == set(BY_HAND)
    assert all(f.charge is not None for f in priced.values())


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_a_charge_is_what_the_vendor_bills(name: str) -> None:
    lines = (FOLDER / f"{name}.ndjson").read_bytes().splitlines()
    found = rows(KIT.process(list(lines), name).metadata)
    for row, record in zip(found, records(name), strict=True):
        if row["price"] is None:
            assert row["charge"] is None
            assert row["charge_basis"] is None
            continue
        expected = BY_HAND[name](record)
        assert expected is not None
        assert row["charge"] == expected.quantize(Decimal("0.000001"))
        assert row["currency"] is not None


def sms(price: Any, parts: Any = 3, currency: str = "EUR", **more: Any) -> bytes:
    record = {
        "to": "447700900123", "sender": "ACME", "messageId": "m", "sentAt": "2026-01-02T03:04:05.000+0000",
        "price": {"pricePerMessage": price, "currency": currency}, "status": {"groupName": "DELIVERED"},
    }  # fmt: skip
    if parts is not None:
        record["messageCount"] = parts
    return json.dumps(record | more).encode()


def charge(value: bytes, name: str = "infobip/sms-report", line: Line | None = None) -> Any:
    kit = KIT if line is None else Kit(now=KIT.now, window_months=36, scope="none", line=line)
    return rows(kit.process([value], name).metadata)[0]["charge"]


def test_the_older_name_of_the_count_counts() -> None:
    assert charge(sms(0.01, None, smsCount=4)) == Decimal("0.04")
    assert charge(sms(0.01, 2, smsCount=4)) == Decimal("0.02")


def test_a_source_says_that_the_price_is_for_the_whole_message() -> None:
    assert charge(sms(0.01), line=Line(charge_basis="message")) == Decimal("0.01")


def test_a_source_says_the_currency_of_prices_that_name_none() -> None:
    value = (FOLDER / "vonage/dlr.ndjson").read_bytes().splitlines()[0]
    kit = Kit(now=KIT.now, window_months=36, scope="none", line=Line(currency="PKR"))
    assert rows(kit.process([value], "vonage/dlr").metadata)[0]["currency"] == "PKR"


def test_a_count_that_is_missing_makes_no_charge_up() -> None:
    (row,) = rows(KIT.process([sms(0.01, None)], "infobip/sms-report").metadata)
    assert (row["price"], row["charge"], row["charge_basis"]) == (Decimal("0.01"), None, "part")


def test_a_refund_keeps_its_sign() -> None:
    lines = (FOLDER / "twilio/message.ndjson").read_bytes().splitlines()
    record = json.loads(lines[0]) | {"price": "0.00750"}
    assert charge(json.dumps(record).encode(), "twilio/message") == Decimal("-0.0075")
    assert charge(sms(-0.02, 3)) == Decimal("-0.06")


def test_a_charge_out_of_all_bounds_is_refused_alone() -> None:
    found = KIT.process([sms(0.01), sms(9_000_000, 10**6), sms(0.02)], "infobip/sms-report")
    assert [r["charge"] for r in rows(found.metadata)] == [Decimal("0.03"), Decimal("0.06")]
    assert [q[2:4] for q in quarantine(found, KIT.ring)] == [("not_a_number", "charge")]


def test_a_currency_nobody_knows_is_refused_with_the_fields_name() -> None:
    value = sms(0.01, currency="GALLEONS")
    found = KIT.process([value], "infobip/sms-report")
    assert [q[2:4] for q in quarantine(found, KIT.ring)] == [("unknown_value", "price.currency")]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.decimals(-9_999, 9_999, places=6, allow_nan=False),
            st.integers(0, 20_000),
            st.sampled_from(["second", "minute"]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_a_product_is_exact_and_rounded_half_to_even(calls: list[tuple[Decimal, int, str]]) -> None:
    fmt = gateway('[charge]\nbasis = "{}"\n')
    for basis in ("second", "minute"):
        mine = [(p, ms) for p, ms, b in calls if b == basis]
        values: list[bytes | None] = [b'{"to":"447700900123","at":"2026-01-02T03:04:05Z","p":"%s","ms":%d}'
                                      % (str(p).encode(), ms) for p, ms in mine]  # fmt: skip
        found = rows(KIT.process(values, formats.parse(fmt.format(basis), "x.toml")).metadata)
        for row, (price, ms) in zip(found, mine, strict=True):
            expected = price * ms / (1000 if basis == "second" else 60_000)
            assert row["charge"] == expected.quantize(Decimal("0.000001"), ROUND_HALF_EVEN)
            assert row["charged_duration_ms"] == ms


def gateway(charged: str, without: str = "") -> str:
    fields = {
        "at": 'class = "archive"\ntype = "timestamp"\ncolumn = "event_time"\nrequired = true',
        "p": 'class = "archive"\ntype = "decimal"\ncolumn = "price"',
        "ms": 'class = "archive"\ntype = "duration"\ncolumn = "charged_duration_ms"\nscale = "0.001"',
        "bytes": 'class = "window"',
    }
    head = 'name = "acme/calls"\nversion = 1\ntitle = "calls"\nchannel = "voice"\ndirection = "outbound"\n'
    head += "" if without == "currency" else 'currency = "EUR"\n'
    text = (
        head + charged + '[[field]]\npath = "to"\nclass = "subject"\nrole = "callee"\nend_user = "always"\n'
    )
    return text + "".join(f'[[field]]\npath = "{n}"\n{b}\n' for n, b in fields.items() if n != without)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (gateway('[charge]\nbasis = "hour"\n'), "x.toml: charge.basis"),
        (gateway('[charge]\nbasis = "part"\n'), "charge.basis: part needs a field that fills parts"),
        (gateway('[charge]\nbasis = "second"\n', "ms"), "charge.basis: second needs a field"),
        (gateway('[charge]\nbasis = "call"\n', "p"), "charge.basis: call needs a field"),
        (gateway('[charge]\nbasis = "none"\n'), "charge.basis: none, but a field fills a price"),
        (gateway('[charge]\nbasis = "call"\n', "currency"), "charge: nothing fills currency"),
        (gateway('[charge]\nbasis = "megabyte"\n'), "charge.quantity: megabyte"),
        (gateway('[charge]\nbasis = "megabyte"\nquantity = "octets"\n'), "charge.quantity: octets"),
        (gateway('[charge]\nbasis = "call"\nplus = ["fee"]\n'), "charge.plus: fee is not declared"),
        (gateway('[charge]\nbasis = "call"\nwhy = "x"\n'), "charge.why"),
    ],
)
def test_an_impossible_rule_is_refused_with_the_fields_name(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        formats.parse(text, "x.toml")


def test_a_price_a_megabyte_is_multiplied_by_the_volume() -> None:
    rule = '[charge]\nbasis = "megabyte"\nquantity = "bytes"\nquantity_scale = "0.000001"\n'
    fmt = formats.parse(gateway(rule), "x.toml")
    value = b'{"to":"447700900123","at":"2026-01-02T03:04:05Z","p":"0.05","bytes":2500000}'
    (row,) = rows(KIT.process([value], fmt).metadata)
    assert (row["charge"], row["charge_basis"]) == (Decimal("0.125"), "megabyte")


def test_a_format_without_a_rule_goes_by_the_unit_of_its_prices() -> None:
    fmt = formats.parse(gateway('price_unit = "minute"\n'), "x.toml")
    value = b'{"to":"447700900123","at":"2026-01-02T03:04:05Z","p":"0.6","ms":90000}'
    (row,) = rows(KIT.process([value], fmt).metadata)
    assert (row["charge"], row["charge_basis"]) == (Decimal("0.9"), "minute")


def test_a_source_cannot_ask_for_a_charge_its_format_has_nothing_for() -> None:
    settings = {"cdr.voice": LineSettings(charge_basis="part")}
    with pytest.raises(ConfigurationError, match=r"lines.cdr.voice: infobip/voice-report .* fills parts"):
        check_charges(settings, {"cdr.voice": "infobip/voice-report"})
    check_charges(settings, {"cdr.voice": "infobip/sms-report"})
