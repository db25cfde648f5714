"""A batch is nothing but its records: whatever came with a record makes no difference to what becomes of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from transform_kit import NOW, Kit, batch_of, kept, place, quarantine, rows, subjects

from lethe.schemas.declaration import format as formats
from lethe.schemas.transformed import Counts
from lethe.streams.transform.batch import EXPLAINED, Reason, Source
from lethe.testing.traffic import FORMATS, generate, labelled

KIT = Kit()


@pytest.mark.parametrize("name", FORMATS)
def test_a_batch_equals_its_records_one_by_one(name: str) -> None:
    values = list(generate(name, 160, 7, until=NOW, malformed=0.15, late=0.05, envelope=0.1))
    together = KIT.process(values, name, first=1000)
    alone = [KIT.process([value], name, first=1000 + at) for at, value in enumerate(values)]
    for table in ("metadata", "identifiers", "entries", "quarantine"):
        # Within a batch rows stand month by month; the tables put them in an order of their own.
        expected = [r for one in alone for r in rows(getattr(one, table))]
        assert in_order(rows(getattr(together, table))) == in_order(expected), table
    counts = Counts()
    for one in alone:
        counts.add(one.counts)
    assert counts == together.counts
    assert len(set(counts.reasons)) > 8
    assert counts.late > 0 < counts.split


@pytest.mark.parametrize("name", FORMATS)
def test_batches_split_together_equal_each_alone(name: str) -> None:
    values = list(generate(name, 200, 8, until=NOW, malformed=0.1, late=0.05, envelope=0.1))
    batches = [
        replace(batch_of(values[start:end], name, first=start), source=Source(stream, number, stream, name))
        for stream, number, start, end in (
            ("a", 0, 0, 90),
            ("b", 3, 90, 90),
            ("b", 7, 90, 91),
            ("a", 1, 91, 200),
        )
    ]
    together = KIT.transform.process_all(batches, formats.get(name))
    alone = [KIT.transform.process(batch, formats.get(name)) for batch in batches]
    for one, other in zip(together, alone, strict=True):
        for table in ("metadata", "identifiers", "entries", "quarantine"):
            assert in_order(rows(getattr(one, table))) == in_order(rows(getattr(other, table))), table
        assert (one.stream, one.partition, one.first, one.last) == (
            other.stream, other.partition, other.first, other.last
        )  # fmt: skip
        assert one.counts == other.counts
    assert sum(one.counts.rejected for one in together) > 10
    exact = sum(one.held for one in alone)
    assert exact / 2 < sum(one.held for one in together) < exact * 2


def test_what_a_batch_holds_until_its_commit_is_known() -> None:
    values = list(generate("infobip/sms-report", 200, 8, until=NOW, malformed=0.1))
    some, every = (Kit(scope=scope).process(values, "infobip/sms-report") for scope in ("none", "all"))
    for one in (some, every):
        assert one.held == sum(t.nbytes for t in (one.metadata, one.identifiers, one.entries, one.quarantine))
    assert every.held > some.held + sum(map(len, values)) / 2, "originals are held, too"


def in_order(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(
        found, key=lambda r: (r["offset"], -1 if r["index"] is None else r["index"], str(r.get("token")))
    )


@pytest.mark.parametrize("name", FORMATS)
def test_every_offset_is_accounted_for_once(name: str) -> None:
    labels, values = zip(
        *labelled(name, 600, 11, until=NOW, malformed=0.2, late=0.05, envelope=0.1), strict=True
    )
    found = KIT.process(values, name)
    landed = [place(r) for r in rows(found.metadata)]
    refused = [(r[0], r[1]) for r in quarantine(found, KIT.ring)]
    assert len(set(landed)) == len(landed)
    assert not set(landed) & set(refused)
    assert {p[0] for p in landed + refused} == set(range(600))
    counts = found.counts
    assert (
        counts.records
        == counts.split + counts.late + counts.rejected + counts.tombstones
        == len(landed) + len(refused)
    )
    assert {o for o, label in enumerate(labels) if label in ("good", "late")} <= {o for o, _ in landed}
    assert all(r in EXPLAINED for r in counts.reasons)


def flat(value: object, path: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        return {
            k: v
            for name, inner in value.items()
            for k, v in flat(inner, f"{path}.{name}" if path else name).items()
        }
    if value is None:
        return {}
    return {
        path: value
        if isinstance(value, str)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    }


@pytest.mark.parametrize("name", FORMATS)
def test_split_then_rejoined_nothing_is_lost(name: str) -> None:
    """Every declared value that is no content comes back from archive, opened identifiers and opened pages."""
    fmt = formats.get_format(name)
    kit = Kit(scope="none")
    values = list(generate(name, 300, 3, until=NOW))
    found = kit.process(values, fmt)
    people, window, archive = (
        subjects(found, kit.ring),
        kept(found),
        {place(r): r for r in rows(found.metadata)},
    )
    for offset, value in enumerate(values):
        record = flat(orjson.loads(value))
        row, fields = archive[offset, None], window.get((offset, None), ("", {}))[1]
        known = {v for _, _, v in people[offset, None]}
        for spec in fmt.fields:
            text = record.get(spec.path)
            if text is None or spec.class_ == "content" or spec.path == "messageId":
                continue
            if spec.class_ == "window":
                assert fields[spec.path] in (text, text.removesuffix(".0")), (
                    spec.path
                )  # a number, not its spelling
            elif spec.class_ == "subject":
                column = row["sender"] if spec.business == "sender" else row["recipient"]
                assert text in known or fields.get(spec.path) == text or column == text, spec.path
            elif spec.type == "mccmnc":
                assert row["mcc"] + row["mnc"] == text
            elif spec.type == "timestamp":
                assert row[spec.column] == datetime.fromisoformat(text)
            elif spec.type in ("code", "enum"):
                assert row[spec.column] == text or fields.get(spec.path) == text, spec.path
            elif spec.type == "boolean":
                assert row[spec.column] == (text == "true")
            else:
                scale = 1000 if spec.type == "duration" else 1
                assert float(row[spec.column]) == pytest.approx(float(text) * scale)
        content = [p for p in record if any(p == s.path or p.startswith(f"{s.path}.") for s in fmt.content)]
        assert not set(content) & set(fields)


def good(**changes: object) -> bytes:
    record = {
        "to": "923005550142",
        "sender": "ACME",
        "messageId": "m-1",
        "sentAt": "2026-10-01T10:00:00.000+0000",
        "messageCount": 1,
        "price": {"pricePerMessage": 0.01, "currency": "EUR"},
        "status": {"groupName": "DELIVERED", "name": "DELIVERED_TO_HANDSET"},
        "error": {"name": "NO_ERROR", "permanent": False},
    }
    return orjson.dumps({k: v for k, v in {**record, **changes}.items() if v != "absent"})


BAD = {
    "not JSON": (b"hello", Reason.NOT_JSON),
    "cut off": (good()[:-9], Reason.NOT_JSON),
    "empty": (b"", Reason.EMPTY),
    "white space": (b" \t ", Reason.BLANK),
    "embedded newline": (good().replace(b",", b",\n", 1), Reason.NEWLINE),
    "only a newline": (b"\n", Reason.BLANK),
    "two documents": (good() + good(), Reason.TWO_DOCUMENTS),
    "deep nesting": (b'{"to":' + b"[" * 5000 + b"]" * 5000 + b"}", Reason.TOO_DEEP),
    "deep nesting elsewhere": (b'{"x":' + b'{"a":' * 3000 + b"1" + b"}" * 3001, Reason.TOO_DEEP),
    "a list": (b"[" + good() + b"]", Reason.NOT_AN_OBJECT),
    "a text": (b'"923005550142"', Reason.NOT_AN_OBJECT),
    "null": (b"null", Reason.NOT_AN_OBJECT),
    "price is a text": (good(price="0.01"), Reason.WRONG_TYPE),
    "status is a list": (good(status=["DELIVERED"]), Reason.WRONG_TYPE),
    "recipient is an object": (good(to={"phone": "923005550142"}), Reason.WRONG_TYPE),
    "recipient is an empty list": (good(to=[]), Reason.WRONG_TYPE),
    "recipient is a list of what is no address": (good(to=["x"]), Reason.WRONG_TYPE),
    "no recipient": (good(to="absent"), Reason.MISSING),
    "empty recipient": (good(to=""), Reason.MISSING),
    "no time": (good(sentAt=None), Reason.MISSING),
    "count is no number": (good(messageCount="many"), Reason.NOT_A_NUMBER),
    "negative count": (good(messageCount=-1), Reason.NOT_A_NUMBER),
    "price is no number": (good(price={"pricePerMessage": "free", "currency": "EUR"}), Reason.NOT_A_NUMBER),
    "NaN": (good().replace(b"0.01", b"NaN"), Reason.NOT_JSON),
    "time cannot be read": (good(sentAt="yesterday"), Reason.BAD_TIME),
    "31 February": (good(sentAt="2026-02-31T10:00:00.000+0000"), Reason.BAD_TIME),
    "far future": (good(sentAt="2030-01-01T00:00:00.000+0000"), Reason.FUTURE),
    "older than the archive": (good(sentAt="2001-01-01T00:00:00.000+0000"), Reason.TOO_OLD),
    "unknown currency": (good(price={"pricePerMessage": 1, "currency": "XTS"}), Reason.UNKNOWN_VALUE),
    "unknown status": (good(status={"groupName": "MAYBE"}), Reason.UNKNOWN_VALUE),
    "permanent is a word": (good(error={"permanent": "sometimes"}), Reason.UNKNOWN_VALUE),
    "too large": (good(callbackData="x" * 1_000_000), Reason.TOO_LARGE),
    "invalid UTF-8": (good().replace(b"ACME", b"AC\xff\xfe"), Reason.NOT_UTF8),
    "half a surrogate pair": (good().replace(b"ACME", b"AC\\ud800"), Reason.BAD_UNICODE),
    "the other half": (good().replace(b"ACME", b"AC\\udc00x"), Reason.BAD_UNICODE),
    "NUL": (good().replace(b"ACME", b"AC\\u0000"), Reason.BAD_UNICODE),
    "tombstone": (None, Reason.TOMBSTONE),
    "empty envelope": (b'{"results":[]}', Reason.EMPTY_ENVELOPE),
    "envelope of another type": (b'{"results":{"to":"1"}}', Reason.WRONG_TYPE),
    "byte order mark inside": (b"{\xef\xbb\xbf" + good()[1:], Reason.NOT_JSON),
    "trailing comma": (good()[:-1] + b",}", Reason.NOT_JSON),
    "no canonical form": (good()[:-1] + b',"x":1,"x":2,"results":null}', None),
}


def test_every_bad_input_has_its_reason_and_its_neighbours_land() -> None:
    values: list[bytes | None] = []
    for value, _ in BAD.values():
        values += [good(), value]
    found = KIT.process([*values, good()], "infobip/sms-report")
    refused = {offset: (reason, detail) for offset, _, reason, detail, _ in quarantine(found, KIT.ring)}
    for at, (label, (_, reason)) in enumerate(BAD.items()):
        assert refused.get(2 * at + 1, (None, None))[0] == reason, label
    landed = {r["offset"] for r in rows(found.metadata)}
    assert set(range(0, 2 * len(BAD) + 1, 2)) <= landed
    assert landed | set(refused) == set(range(2 * len(BAD) + 1))
    assert found.counts.tombstones == 1


@pytest.mark.parametrize("label", BAD)
def test_a_reason_does_not_depend_on_the_neighbours(label: str) -> None:
    value, reason = BAD[label]
    found = quarantine(KIT.process([value], "infobip/sms-report"), KIT.ring)
    assert [r[2] for r in found] == ([] if reason is None else [reason])


def test_of_an_envelope_only_the_elements_at_fault_are_lost() -> None:
    inner = [good(), b'{"to":1,"price":"x"}', b"null", good(messageId="m-2"), b"7"]
    found = KIT.process([b'{"results":[' + b",".join(inner) + b"]}", good()], "infobip/sms-report")
    assert [place(r) for r in rows(found.metadata)] == [(0, 0), (0, 3), (1, None)]
    refused = [(r[1], r[2]) for r in quarantine(found, KIT.ring)]
    assert refused == [(1, Reason.WRONG_TYPE), (2, Reason.NOT_AN_OBJECT), (4, Reason.NOT_AN_OBJECT)]


def test_a_record_whose_month_has_ended_keeps_its_metadata_and_loses_its_identifiers() -> None:
    found = KIT.process([good(sentAt="2024-03-31T23:59:59.999+0000"), good()], "infobip/sms-report")
    assert [r["month"] for r in rows(found.metadata)] == ["2024-03", "2026-10"]
    assert {r["offset"] for r in rows(found.identifiers)} == {r["offset"] for r in rows(found.entries)} == {1}
    assert (found.counts.late, found.counts.split) == (1, 1)
    assert rows(found.metadata)[0]["integrity_hash"] is None


def test_the_last_open_month_is_open_to_its_last_instant() -> None:
    value = good(sentAt="2025-09-30T23:59:59.000+0000")
    before = Kit(now=datetime(2026, 9, 30, 23, 59, 59, tzinfo=UTC)).process([value], "infobip/sms-report")
    after = Kit(now=datetime(2026, 10, 1, tzinfo=UTC)).process([value], "infobip/sms-report")
    assert (before.counts.late, after.counts.late) == (0, 1)


def test_a_refused_record_of_an_ended_month_leaves_no_value_behind() -> None:
    found = KIT.process([good(sentAt="2024-03-31T23:59:59.999+0000", messageCount="x")], "infobip/sms-report")
    assert [r[4] for r in quarantine(found, KIT.ring)] == [None]


@pytest.mark.parametrize("year", [2031, 9998, 9999])
def test_a_time_in_the_future_is_no_month_to_keep_a_refused_record_under(year: int) -> None:
    """Whatever it is refused for first: keys of a month to come would outlive the window, and 9999 has no end."""
    record = {
        "messageId": "m",
        "sentAt": f"{year}-12-31T00:00:00.000+0000",
        "status": {"groupName": "DELIVERED"},
    }
    (row,) = rows(KIT.process([orjson.dumps(record)], "infobip/sms-report").quarantine)
    assert (row["reason"], row["month"]) == (Reason.MISSING, str(NOW)[:7])
    assert row["sealed"] is not None


SECRET = "the eagle lands at 0425"


@pytest.mark.parametrize("name", ["infobip/sms-inbound", "infobip/voice-report", "infobip/email-report"])
def test_content_is_in_no_output_whatever_becomes_of_the_record(name: str) -> None:
    fmt = formats.get_format(name)
    kit = Kit(scope="all")
    values: list[bytes | None] = []
    for value in generate(name, 60, 5, until=NOW, envelope=0.2):
        document = orjson.loads(value)
        for record in document.get("results", [document]):
            for spec in fmt.content:
                *parents, leaf = spec.path.split(".")
                node = record
                for parent in parents:
                    node = node.setdefault(parent, {})
                node[leaf] = {"deep": [SECRET]} if len(values) % 3 == 0 else SECRET
        whole = orjson.dumps(document)
        doubled = whole.replace(
            b'"messageId"', b'"text":null,"te\\u0078t":"%s","messageId"' % SECRET.encode()
        )
        wrong = whole.replace(b'"sentAt":"', b'"sentAt":"x').replace(b'"receivedAt":"', b'"receivedAt":"x')
        values += [
            whole,
            whole[:-5],
            whole[: len(whole) // 2],
            wrong,
            doubled,
            b"[" + whole + b"]",
            whole.decode().encode("utf-16"),
            whole + b"\n",
            orjson.dumps(SECRET),
            b"\0\0\0\0\1" + whole,
            whole.replace(b'"price":{', b'"price":"x","q":{'),
        ]
    found = kit.process(values, name)
    assert Counter(r[2] for r in quarantine(found, kit.ring)).total() > 300
    pages = b"".join(orjson.dumps(v) for v in kept(found).values())
    refused = b"".join(r[4] or b"" for r in quarantine(found, kit.ring))
    for output in (pages, refused, *(str(rows(t)).encode() for t in (found.metadata, found.identifiers))):
        assert b"eagle" not in output
        assert "eagle".encode("utf-16-le") not in output
