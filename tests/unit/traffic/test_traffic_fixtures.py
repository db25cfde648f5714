"""The hand-written records of every kind: complete, consistent with their expectations, nobody's data."""

from __future__ import annotations

import csv
import ipaddress
import json
import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Format
from lethe.schemas.declaration.vocabulary import CHANNELS, CURRENCIES, DIRECTIONS, PRICE_UNITS, STATUS_GROUPS

FOLDER = Path(__file__).parents[2] / "fixtures" / "formats"
KINDS = {
    "asterisk": ["master"],
    "aws": ["end-user-messaging", "pinpoint-sms"],
    "freeswitch": ["json-cdr"],
    "infobip": [
        "call-log",
        "email-report",
        "email-tracking",
        "messages-report",
        "mms-inbound",
        "mms-report",
        "number-masking",
        "rcs-inbound",
        "rcs-report",
        "rcs-seen",
        "sms-inbound",
        "sms-log",
        "sms-log-legacy",
        "sms-report",
        "viber-inbound",
        "viber-report",
        "viber-seen",
        "voice-log",
        "voice-report",
        "whatsapp-inbound",
        "whatsapp-report",
        "whatsapp-seen",
    ],
    "kamailio": ["acc"],
    "sinch": ["dlr"],
    "twilio": ["call", "message"],
    "vonage": ["dlr", "inbound", "report"],
}
NAMES = [f"{vendor}/{kind}" for vendor, kinds in KINDS.items() for kind in kinds]
MASTER = [
    *(
        "accountcode",
        "src",
        "dst",
        "dcontext",
        "clid",
        "channel",
        "dstchannel",
        "lastapp",
        "lastdata",
        "start",
    ),
    *("answer", "end", "duration", "billsec", "disposition", "amaflags", "uniqueid", "userfield"),
]
COLUMNS = {
    *("event_time", "channel", "direction", "sender", "recipient", "country", "mcc", "mnc", "parts"),
    *("duration_ms", "status_group", "price", "currency", "price_unit"),
}


def expected(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / f"{name}.expected.json").read_text())
    return document


def records(name: str) -> list[dict[str, Any]]:
    if name == "asterisk/master":
        with (FOLDER / "asterisk/master.csv").open(newline="") as lines:
            return [dict(zip(MASTER, row, strict=True)) for row in csv.reader(lines)]
    found: list[dict[str, Any]] = []
    for line in (FOLDER / f"{name}.ndjson").read_text().splitlines():
        value = json.loads(line)
        found += value.get("results", [value])
    return found


def at(record: Any, path: str) -> Any:
    for step in re.findall(r"[^.\[\]]+", path):
        record = record[int(step)] if isinstance(record, list) else record[step]
    return record


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{index}]")
    elif value is not None:
        yield path, str(value)


def test_every_format_has_its_fixture_and_nothing_else_is_there() -> None:
    every = {name for name, found in formats.builtin().items() if isinstance(found, Format)}
    assert set(NAMES) <= every
    sides = {p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*.expected.json")}
    assert sides == {f"{name}.expected.json" for name in every}
    files = {
        p.relative_to(FOLDER).with_suffix("").as_posix()
        for p in FOLDER.rglob("*.*")
        if p.suffix in {".ndjson", ".csv", ".log"}
    }
    assert files == every


@pytest.mark.parametrize("name", NAMES)
def test_expectations_fit_the_records(name: str) -> None:
    document, found = expected(name), records(name)
    assert document["format"] == name
    assert 3 <= len(found) <= 6
    assert len(document["records"]) == len(found)
    for record, expects in zip(found, document["records"], strict=True):
        assert set(expects) <= {"end_users", "content", "hidden", "archive"}
        assert expects["end_users"], "a record without an end user shows nothing"
        for part in ("end_users", "content", "hidden"):
            for path, value in expects.get(part, {}).items():
                assert at(record, path) == value, path
                assert value not in (None, [], {}), path


@pytest.mark.parametrize("name", NAMES)
def test_expected_columns_are_of_the_vocabulary(name: str) -> None:
    for expects in expected(name)["records"]:
        row = expects["archive"]
        assert set(row) <= COLUMNS
        moment = datetime.fromisoformat(row["event_time"])
        assert row["event_time"].endswith("Z")
        assert 2024 <= moment.year <= 2025
        assert row.get("channel", "sms") in CHANNELS
        assert row.get("direction", "inbound") in DIRECTIONS
        assert row.get("status_group", "UNKNOWN") in STATUS_GROUPS
        assert row.get("price_unit", "message") in PRICE_UNITS
        if row.get("currency") is not None:
            assert row["currency"] in CURRENCIES
        if row.get("price") is not None:
            price = Decimal(row["price"])
            assert price >= 0
            assert price == round(price, 6)
        for column, pattern in (("country", "[A-Z]{2}"), ("mcc", r"\d{3}"), ("mnc", r"\d{2,3}")):
            if row.get(column) is not None:
                assert re.fullmatch(pattern, row[column])


@pytest.mark.parametrize("name", NAMES)
def test_every_place_that_holds_an_end_user_is_named(name: str) -> None:
    for record, expects in zip(records(name), expected(name)["records"], strict=True):
        named = {path for part in ("end_users", "content", "hidden") for path in expects.get(part, {})}
        for value in expects["end_users"].values():
            digits = re.sub(r"\D", "", unquote(value)).removeprefix("00")
            is_phone = len(digits) >= 9 and not re.search(r"[A-Za-z@.]", unquote(value))
            for path, text in leaves(record):
                plain = unquote(text)
                holds = value.lower() in plain.lower() if len(value) > 4 else value == text
                if is_phone:
                    holds = holds or digits in re.sub(r"[\s().+-]", "", plain)
                within = any(path == n or path.startswith((f"{n}.", f"{n}[")) for n in named)
                assert not holds or within, path
            for column, text in expects["archive"].items():
                assert text is None or value not in str(text), column


def test_addresses_are_reserved_ones() -> None:
    for name in NAMES:
        for record in records(name):
            for path, text in leaves(record):
                plain = unquote(text)
                for domain in re.findall(r"@([a-z0-9-]+(?:\.[a-z0-9-]+)+)", plain.lower()):
                    assert re.search(r"(^|\.)example(\.(com|org|net))?$", domain) or _reserved(domain), (
                        path,
                        domain,
                    )
                for address in re.findall(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])", plain):
                    assert _reserved(address), (path, address)


def _reserved(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_private  # documentation ranges included
    except ValueError:
        return False


def test_together_they_show_what_real_records_do() -> None:
    rows = [row for name in NAMES for row in expected(name)["records"]]
    countries = {row["archive"].get("country") for row in rows}
    assert {"PK", "US", "GB", "DE", None} <= countries
    for vendor, kinds in KINDS.items():
        if vendor != "infobip":
            assert any(
                r["archive"].get("country") == "PK"
                for k in kinds
                for r in expected(f"{vendor}/{k}")["records"]
            )
    senders = {row["archive"].get("sender") for row in rows} - {None}
    assert any(re.search("[A-Za-z]", s) for s in senders)
    assert any(s.isdigit() and len(s) <= 6 for s in senders)
    assert {row["archive"].get("direction") for row in rows} >= {"inbound", "outbound", "internal"}
    assert sum("hidden" in row for row in rows) > 25
