"""Hand-written records of every declared format become what their expectations say."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from transform_kit import Kit, kept, landed, rows, subjects

from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Format
from lethe.schemas.subjects.addresses import normalise
from lethe.schemas.transformed import TransformedBatch

FOLDER = Path(__file__).parents[2] / "fixtures" / "formats"
NAMES = sorted(
    p.relative_to(FOLDER).as_posix().removesuffix(".expected.json") for p in FOLDER.rglob("*.expected.json")
)
KIT = Kit(now=datetime(2026, 1, 15, tzinfo=UTC), window_months=36, scope="none")


def fixture(name: str) -> tuple[list[bytes | None], list[dict[str, Any]]]:
    (file,) = [p for p in FOLDER.glob(f"{name}.*") if p.suffix in (".ndjson", ".csv", ".log")]
    expected = json.loads((FOLDER / f"{name}.expected.json").read_text())
    return list(file.read_bytes().splitlines()), expected["records"]


@lru_cache(maxsize=64)
def processed(name: str) -> TransformedBatch:
    return KIT.process(fixture(name)[0], name)


def test_there_is_a_format_for_every_fixture_and_a_fixture_for_every_format() -> None:
    assert sorted(n for n, f in formats.builtin().items() if isinstance(f, Format)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_record_is_split_with_the_expected_columns(name: str) -> None:
    transformed, expected = processed(name), fixture(name)[1]
    assert transformed.quarantine.to_pylist() == []
    found = landed(transformed, KIT.ring)
    assert len(found) == len(expected)
    for number, (row, record) in enumerate(zip(found, expected, strict=True)):
        for column, value in (record.get("archive") or record["usage"]).items():
            assert shown(row[column], value) == value, (number, column)


def shown(value: Any, like: Any) -> Any:
    if isinstance(value, datetime):
        micros = value.strftime("%f")
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + (micros[:3] if micros.endswith("000") else micros) + "Z"
    if isinstance(value, Decimal):
        return like if value == Decimal(like) else str(value)
    return value


@pytest.mark.parametrize("name", NAMES)
def test_end_users_are_in_the_window_and_nowhere_else(name: str) -> None:
    transformed, expected = processed(name), fixture(name)[1]
    people, fields, archive = (
        subjects(transformed, KIT.ring),
        kept(transformed),
        landed(transformed, KIT.ring),
    )
    for row, record in zip(archive, expected, strict=True):
        where = (row["offset"], row["index"])
        values = {(kind, value) for _, kind, value in people.get(where, set())}
        somebody = [v for v in record["end_users"].values() if v != "anonymous"]
        assert values or not somebody, "every record names somebody"
        window = json.dumps(fields.get(where, ("", {}))[1], ensure_ascii=False)
        archived = {name: v for name, v in row.items() if name != "account" or row.get("data") is None}
        texts = {str(v) for v in archived.values() if isinstance(v, str)}
        for path, written in {**record["end_users"], **record.get("hidden", {})}.items():
            subject = normalise(written) if isinstance(written, str) else None
            assert not {t for t in texts if str(written) in t}, path
            if path not in record["end_users"] or name == "freeswitch/json-cdr":
                continue
            known = subject is not None and any(
                v == subject.value or v.endswith(f":{written}") for _, v in values
            )
            assert known or json.dumps(written, ensure_ascii=False)[1:-1] in window or written in window, path


@pytest.mark.parametrize("name", NAMES)
def test_content_is_kept_nowhere(name: str) -> None:
    transformed, expected = processed(name), fixture(name)[1]
    for record, (form, window) in zip(expected, kept(transformed).values(), strict=False):
        assert form == "fields"
        text = json.dumps(window, ensure_ascii=False)
        for value in record.get("content", {}).values():
            written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            assert len(written) < 3 or f'"{written}"' not in text
    in_scope = Kit(now=KIT.now, window_months=36, scope="all").process(fixture(name)[0], name)
    for _, value in kept(in_scope).values():
        text = json.dumps(value, ensure_ascii=False)
        for record in expected:
            for path, written in record.get("content", {}).items():
                if isinstance(written, str) and len(written) >= 3:
                    assert json.dumps(written, ensure_ascii=False) not in text, path


@pytest.mark.parametrize(
    "name", ["twilio/message", "vonage/dlr", "sinch/dlr", "aws/pinpoint-sms", "asterisk/master"]
)
def test_the_vendors_own_word_is_kept_beside_ours(name: str) -> None:
    assert all(row["status"] for row in rows(processed(name).metadata))


def test_both_ends_of_a_call_are_end_users_whatever_its_direction() -> None:
    people = subjects(processed("infobip/call-log"), KIT.ring)
    assert {(r, k) for r, k, _ in people[0, None]} == {("caller", "msisdn"), ("callee", "msisdn")}
    assert {(r, k) for r, k, _ in people[1, None]} == {("caller", "msisdn"), ("callee", "msisdn")}
    assert ("callee", "email", "zainab.shah@example.com") in people[3, None]


def test_a_chat_id_belongs_to_its_channel() -> None:
    people = subjects(processed("infobip/whatsapp-inbound"), KIT.ring)
    assert ("sender", "chat", "whatsapp:BR.1502576394655843") in people[1, None]
    assert ("user_name", "chat", "whatsapp:joao.silva.77") in people[1, None]
    assert subjects(processed("infobip/messages-report"), KIT.ring)[1, None] == {
        ("recipient", "chat", "whatsapp:US.ENT.11815799212886844830")
    }


def test_everybody_in_a_group_is_an_end_user() -> None:
    people = subjects(processed("infobip/mms-inbound"), KIT.ring)[0, None]
    assert {v for r, _, v in people if r == "group_member"} == {"14155550188", "14155550199"}
