"""The guard scored as a recogniser: everybody is found in every usual spelling, and ordinary codes are left alone."""

from __future__ import annotations

import csv
import json
import re
import string
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import phonenumbers
import polars as pl
import pytest
from canaries import found_in, person, record
from phonenumbers import PhoneNumberFormat, PhoneNumberType
from transform_kit import Kit, rows

from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Format, bare
from lethe.schemas.declaration.vocabulary import CODES
from lethe.streams.transform.decode.reshape import records
from lethe.streams.transform.split.leak_guard import GUARDED, leaks
from lethe.streams.transform.split.rules import ID

FORMATS = [f for f in formats.builtin().values() if isinstance(f, Format)]
STAND_IN = re.compile(r"~[a-z2-7]{16}")
NOW = datetime(2026, 10, 15, 12, tzinfo=UTC)
FIXTURES = Path(__file__).parents[2] / "fixtures" / "formats" / "infobip"


def spellings(number: phonenumbers.PhoneNumber) -> dict[str, str]:
    """The usual ways to write a number, in a code or alone."""
    whole, national, inter = (
        phonenumbers.format_number(number, how)
        for how in (PhoneNumberFormat.E164, PhoneNumberFormat.NATIONAL, PhoneNumberFormat.INTERNATIONAL)
    )
    trunk = "".join(c for c in national if c.isdigit())
    return {
        "E.164": whole, "bare": whole[1:], "00": f"00{whole[1:]}", "011": f"011{whole[1:]}", "national": national,
        "national digits": trunk, "significant": phonenumbers.national_significant_number(number), "spaced": inter,
        "RFC 3966": phonenumbers.format_number(number, PhoneNumberFormat.RFC3966), "dots": inter.replace(" ", "."),
        "dashes": inter.replace(" ", "-"), "percent": quote(whole, safe=""), "SIP": f"sip:{whole}@gw.example",
        "inside": f"x{whole[1:]}y", "brackets": f"({national})", "prefixed": f"9911#{trunk}",
        "full width": "".join(chr(0xFF10 + int(c)) if c.isdigit() else c for c in whole),
        "Arabic-Indic": "".join(chr(0x660 + int(c)) if c.isdigit() else c for c in whole),
        "in a name": f"route {national}", "underscores": "_".join(whole[1:]), "account": f"acme-{whole[1:]}-eu",
    }  # fmt: skip


@lru_cache(maxsize=1)
def everybody() -> list[tuple[str, str, str, str]]:
    """Region, spelling, text and stored number of a mobile and a fixed line in every region there is."""
    found = []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE):
            number = phonenumbers.example_number_for_type(region, kind)
            if number is None:
                continue
            stored = phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:]
            found += [(region, name, text, stored) for name, text in spellings(number).items()]
    return found


@pytest.mark.parametrize("column", GUARDED)
def test_every_number_of_every_region_is_recognised_in_every_usual_spelling(column: str) -> None:
    people = everybody()
    assert len({region for region, *_ in people}) > 240
    ids = pl.Series(range(len(people)), dtype=pl.UInt32)
    texts = pl.DataFrame({ID: ids, column: [text for _, _, text, _ in people]})
    subjects = pl.DataFrame(
        {ID: ids, "kind": ["msisdn"] * len(people), "value": [stored for *_, stored in people]}
    )
    hit = leaks(texts, subjects)[column]
    missed = [people[at][:2] for at in (~hit).arg_true()]
    assert not missed, f"recall {1 - len(missed) / len(people):.4f}"


def ordinary(draw: Random) -> str:
    """A code as platforms give them: a key, or a name with few digits."""
    word = "".join(draw.choice(string.ascii_letters) for _ in range(draw.randint(2, 9)))
    other = "".join(draw.choice(string.ascii_lowercase) for _ in range(draw.randint(2, 6)))
    number = str(draw.randrange(10 ** draw.randint(1, 4)))
    return draw.choice(
        [
            word, f"{word}-{other}", f"{word}_{number}", f"{word}.{other}{number}", f"{word}{number}-{other}",
            str(draw.randrange(10 ** draw.randint(1, 8))), f"{number}{other}", f"{number}-{other}",
            f"R{draw.randrange(10_000, 10**7)}-{other}", f"{draw.getrandbits(128):032x}",
            f"{draw.getrandbits(128):032X}",
            "-".join(f"{draw.getrandbits(4 * n):0{n}x}" for n in (8, 4, 4, 4, 12)),
        ]
    )  # fmt: skip


PBX = ("asterisk/master", "freeswitch/json-cdr")
KEYED = ("account", "application", "route", "status", "error")


def test_ordinary_codes_are_not_withheld() -> None:
    """Of 100,000 in each column at most one in a thousand has a stand-in, and none is empty."""
    draw, each = Random(11), 100_000
    values: list[bytes | None] = []
    codes = [ordinary(draw) for _ in range(each)]
    given = {column: codes[at:] + codes[:at] for at, column in enumerate(KEYED)}
    for at in range(each):
        values.append(
            json.dumps(
                {"to": f"92300{draw.randrange(10**7):07d}", "sender": f"ACME{at % 99}", "messageId": f"m{at}",
                 "sentAt": "2026-10-01T10:00:00.000+0000", "route": given["route"][at],
                 "status": {"groupName": "DELIVERED", "name": given["status"][at]},
                 "error": {"name": given["error"][at]},
                 "platform": {"entityId": given["account"][at], "applicationId": given["application"][at]}}
            ).encode()
        )  # fmt: skip
    found = Kit(now=NOW, scope="none").process(values, "infobip/sms-report").metadata
    assert found.num_rows == each
    for column in (*KEYED, "sender"):
        shown = found.column(column)
        assert shown.null_count == 0, column
        withheld = sum(text.startswith("~") for text in shown.to_pylist())
        assert withheld <= each // 1_000, (column, withheld)


NETWORKS = [
    "Vodafone IN-KA",
    "Telenor (Pakistan)",
    "Zong 4G",
    "T-Mobile USA, Inc.",
    "\u4e2d\u56fd\u79fb\u52a8",
    "Route 66",
]
OPERATORS = [
    "Zong",
    "Jazz-PK",
    "O2",
    "3",
    "T-Mobile",
    "Telenor.PK",
    "41001",
    "410-01",
    "MTN_NG",
    "Vodafone-IN-KA",
]


def test_ordinary_networks_are_not_withheld_and_names_of_them_are_never_empty() -> None:
    """Of 100,000 names and ids of networks none has a stand-in; what has not the shape of a key has one."""
    draw, each = Random(12), 100_000
    base = json.loads((FIXTURES / "messages-report.ndjson").read_bytes().splitlines()[0])
    base |= {"sentAt": "2026-10-01T10:00:00.000+0000", "doneAt": "2026-10-01T10:00:03.000+0000"}
    given = [*OPERATORS, *(ordinary(draw) for _ in range(each - len(OPERATORS)))]
    values: list[bytes | None] = [
        json.dumps({**base, "networkId": name, "messageId": f"m{at}"}).encode()
        for at, name in enumerate([*given, *NETWORKS])
    ]
    found = Kit(scope="none").process(values, "infobip/messages-report").metadata
    shown = found.column("network").to_pylist()
    assert len(shown) == len(values)
    assert shown[: len(OPERATORS)] == OPERATORS
    assert sum(text != code for text, code in zip(shown[:each], given, strict=True)) <= each // 1_000
    assert all(STAND_IN.fullmatch(text) for text in shown[each:])


def test_nobody_of_any_region_is_shown_in_any_code_column_in_any_usual_spelling() -> None:
    people = everybody()
    base = json.loads((FIXTURES / "messages-report.ndjson").read_bytes().splitlines()[0])
    base |= {"sentAt": "2026-10-01T10:00:00.000+0000", "doneAt": "2026-10-01T10:00:03.000+0000"}
    values: list[bytes | None] = [
        json.dumps(
            {**base, "to": stored, "destination": stored, "messageId": f"m{at}", "networkId": text,
             "status": {"groupName": "DELIVERED", "name": text}, "error": {"name": text},
             "platform": {"entityId": text, "applicationId": text}}
        ).encode()
        for at, (_, _, text, stored) in enumerate(people)
    ]  # fmt: skip
    found = Kit(scope="none").process(values, "infobip/messages-report").metadata
    assert found.num_rows == len(people)
    for column in ("account", "application", "network", "status", "error"):
        shown = found.column(column).to_pylist()
        seen = [people[at][:2] for at, text in enumerate(shown) if not STAND_IN.fullmatch(text or "")]
        assert not seen, (column, seen[:5])


def code_fields(fmt: Format) -> dict[str, list[str]]:
    """The paths that any code may stand at, by the column they fill.

    None that also take words of a list alone, or that say whether a record is a communication.
    """
    paths: dict[str, list[str]] = {}
    listed: set[str] = set()
    skipping = {path for condition in fmt.skips for path in condition.fields()}
    for spec in fmt.archive:
        column = str(spec.column if spec.type == "code" else spec.keep)
        if column not in CODES:
            continue
        if spec.path not in skipping and (spec.type == "code" or "*" in (spec.values or {})):
            paths.setdefault(column, []).append(spec.path)
        else:
            listed.add(column)
    return {column: some for column, some in paths.items() if column not in listed}


@pytest.mark.parametrize("fmt", [f for f in FORMATS if code_fields(f)], ids=lambda f: f.name)
def test_a_key_in_any_code_column_of_any_format_reaches_the_archive_as_it_is(fmt: Format) -> None:
    """But for the accounts of a PBX, which are digits or have a stand-in."""
    draw, kit, each = Random(fmt.name), Kit(now=NOW, scope="none"), 200
    for column, paths in code_fields(fmt).items():
        codes = [ordinary(draw) for _ in range(each)]
        values: list[bytes | None] = [
            record(fmt, person(draw), draw, 0.0, given=dict.fromkeys(paths, code)) for code in codes
        ]
        split = kit.process(values, fmt)
        found = {row["offset"]: row[column] for row in rows(split.metadata)}
        assert len(found) == each, split.counts.reasons
        of_persons = column == "account" and fmt.name in PBX
        for at, code in enumerate(codes):
            if of_persons and not code.isdecimal():
                assert STAND_IN.fullmatch(found[at]), (column, code)
            else:
                assert found[at] == code, (column, code)


def at_path(node: Any, path: str) -> Iterator[str]:
    """The texts at a declared path."""
    name, _, below = path.partition(".")
    for one in node if isinstance(node, list) else [node]:
        value = one.get(bare(name)) if isinstance(one, dict) else None
        if below:
            yield from at_path(value, below)
        elif isinstance(value, str) and value.strip():
            yield value


def parsed(value: bytes, fmt: Format) -> Any:
    if fmt.encoding == "csv":
        return dict(zip(fmt.columns, next(csv.reader([value.decode()])), strict=False))
    if fmt.reshaped:
        return records(value, fmt)[0][1]
    found = json.loads(value)
    return found[fmt.envelope][0] if fmt.envelope in found else found


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_no_code_of_any_format_ends_empty_and_nobody_is_shown(fmt: Format) -> None:
    draw, kit = Random(fmt.name), Kit(now=NOW)
    values = [record(fmt, person(draw), draw, planted) for planted in (0.0, 0.1, 0.4) for _ in range(60)]
    split = kit.process(values, fmt)
    fields: dict[str, list[str]] = {}
    for spec in fmt.archive:
        for column in {spec.column if spec.type == "code" else None, spec.keep} & CODES:
            fields.setdefault(str(column), []).append(spec.path)
    for row in rows(split.metadata):
        assert not [text for text in row.values() if isinstance(text, str) and found_in(text)]
        if row["index"] not in (None, 0):
            continue
        written = parsed(values[row["offset"]] or b"", fmt)
        for column, paths in fields.items():
            if any(text for path in paths for text in at_path(written, path)):
                assert row[column], (column, "is empty")
