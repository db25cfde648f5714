"""Values whose records lie in lists, texts, wrappers and lines, read by declarations of a site's own."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from transform_kit import Kit, batch_of, kept, quarantine, rows, subjects

from lethe.schemas.declaration.format import Format, parse
from lethe.schemas.errors import ConfigurationError
from lethe.streams.transform.decode import reshape
from lethe.streams.transform.decode.reshape import inner

FOLDER = Path(__file__).parents[2] / "fixtures" / "cases"
NOW = datetime(2026, 12, 15, tzinfo=UTC)
HEAD = 'name = "test/shape"\nversion = 1\ntitle = "t"\n'
WHEN = """
[[field]]
path = "{}"
class = "archive"
type = "timestamp"
column = "event_time"
format = "{}"
required = true
"""
WHO = '[[field]]\npath = "{}"\nclass = "subject"\nrole = "{}"\nend_user = "always"\n'
CONTENT = '[[field]]\npath = "{}"\nclass = "content"\n'
WINDOW = '[[field]]\npath = "{}"\nclass = "window"\n'


def declared(head: str, *fields: str) -> Format:
    return parse(f"{HEAD}{head}\n" + "\n".join(fields), "shape.toml")


def lines(name: str) -> list[bytes | None]:
    return list((FOLDER / name).read_bytes().splitlines())


SIMPLE = 'channel = "sms"\ndirection = "outbound"'
FIELDS = (
    WHO.format("to", "recipient"),
    WHEN.format("at", "epoch_s"),
    WINDOW.format("note"),
    CONTENT.format("text"),
)


def simple(more: str = "", at: str = "") -> Format:
    return declared(f"{SIMPLE}\n{more}", *(f.replace('path = "', f'path = "{at}') for f in FIELDS))


def record(to: str = "+923005550142", **more: Any) -> dict[str, Any]:
    return {"to": to, "at": 1777337600, "note": "n-1", "text": "Your code is 4471"} | more


def named(kit: Kit, values: list[bytes | None], fmt: Format) -> dict[tuple[int, int | None], set[str]]:
    done = kit.process(values, fmt)
    return {at: {value for _, _, value in who} for at, who in subjects(done, kit.ring).items()}


TELNYX = declared(
    'channel = "sms"',
    WHO.format("data.payload.from.phone_number", "sender"),
    """
[[field]]
path = "data.payload.to[].phone_number"
class = "subject"
role = "recipient"
business = "recipient"
end_user = { field = "data.payload.direction", is_not = ["inbound"] }

[[field]]
path = "data.payload.direction"
class = "archive"
type = "enum"
column = "direction"
required = true
""",
    WHEN.format("data.occurred_at", "iso"),
    CONTENT.format("data.payload.text"),
)


def test_lists_at_any_depth() -> None:
    kit = Kit(now=NOW)
    value = lines("31-telnyx.ndjson")[0]
    done = kit.process([value], TELNYX)
    assert subjects(done, kit.ring)[0, None] == {("sender", "msisdn", "14165551212")}
    assert rows(done.metadata)[0]["recipient"] == "12505551212"
    group = json.loads(value or b"")
    group["data"]["payload"]["to"].append({"phone_number": "+14155550123"})
    assert {v for *_, v in subjects(kit.process([orjson.dumps(group)], TELNYX), kit.ring)[0, None]} == {
        "14165551212", "12505551212", "14155550123",
    }  # fmt: skip
    nested = declared(
        SIMPLE, WHO.format("a.groups[].members[].to", "recipient"), WHEN.format("at", "epoch_s")
    )
    deep = {"at": 1777337600, "a": {"groups": [{"members": [{"to": "+923005550142"}, {"to": None}]}, {},
            {"members": [{"to": "+14155550123"}]}, None]}}  # fmt: skip
    found = named(kit, [orjson.dumps(deep), orjson.dumps(deep | {"a": {"groups": 7}})], nested)
    assert found == {(0, None): {"923005550142", "14155550123"}}


def test_a_list_is_the_whole_value() -> None:
    fmt = declared(
        'channel = "email"\ndirection = "outbound"\neach = "[]"',
        WHO.format("email", "recipient"), WHEN.format("timestamp", "epoch_s"), WINDOW.format("url"),
    )  # fmt: skip
    kit = Kit(now=NOW)
    found = named(kit, lines("33-sendgrid-array.ndjson")[:3], fmt)
    assert found == {at: {"john.doe@example.org"} for at in [(0, 0), (0, 1), (1, None), (2, None)]}
    done = kit.process([b"[]", b'[1,{"email":"a@example.com","timestamp":1777337600},null]', b"7"], fmt)
    assert [(r["offset"], r["index"]) for r in rows(done.metadata)] == [(1, 1)]
    assert [(at, index, reason) for at, index, reason, *_ in quarantine(done, kit.ring)] == [
        (0, None, "empty_envelope"), (1, 0, "not_an_object"), (1, 2, "not_an_object"), (2, None, "not_an_object"),
    ]  # fmt: skip


def test_records_in_lists_of_lists_keep_what_is_around_them() -> None:
    fmt = declared(
        'channel = "whatsapp"\neach = ["entry[].messages[]", "entry[].statuses[]"]\n'
        '[[rule]]\ncolumn = "direction"\nvalue = "inbound"\n'
        'when = { field = "entry.messages.from", present = true }\n'
        '[[rule]]\ncolumn = "direction"\nvalue = "outbound"\n'
        'when = { field = "entry.statuses.to", present = true }\n',
        WHO.format("entry.messages.from", "sender"), WHO.format("entry.statuses.to", "recipient"),
        WHEN.format("entry.at", "epoch_s"), CONTENT.format("entry.messages.text"),
        '[[field]]\npath = "direction"\nclass = "archive"\ntype = "enum"\ncolumn = "direction"\n',
    )  # fmt: skip
    value = orjson.dumps({"entry": [
        {"at": 1777337600, "messages": [{"from": "+923005550142", "text": "secret one"}, {"from": "+14155550123"}]},
        {"at": 1777337601, "statuses": [{"to": "+447700900123"}]},
    ]})  # fmt: skip
    kit = Kit(now=NOW, scope="all")
    done = kit.process([value], fmt)
    found = {at: {v for *_, v in who} for at, who in subjects(done, kit.ring).items()}
    assert found == {(0, 0): {"923005550142"}, (0, 1): {"14155550123"}, (0, 2): {"447700900123"}}
    assert [r["direction"] for r in rows(done.metadata)] == ["inbound", "inbound", "outbound"]
    assert kept(done)[0, 0] == (
        "canonical",
        {"entry": {"at": 1777337600, "messages": {"from": "+923005550142"}}},
    )
    alone = {
        "entry": {"at": 1777337600, "messages": {"from": "+14155550123"}, "statuses": {"to": "+447700900123"}}
    }
    places = [(r["offset"], r["index"]) for r in rows(kit.process([orjson.dumps(alone)], fmt).metadata)]
    assert places == [(0, 0), (0, 1)], "no two records have one place"
    assert "secret" not in json.dumps([row for _, row in kept(done).values()])


@pytest.mark.parametrize(
    ("head", "wrap"),
    [
        ('unwrap = "payload"', lambda r: {"schema": {"type": "struct"}, "payload": r}),
        ('unwrap = "payload.after"', lambda r: {"payload": {"before": None, "after": r}}),
        ('unwrap = ["Records[0]", "Sns.Message"]', lambda r: {"Records": [{"Sns": {"Message": json.dumps(r)}}]}),
        ('unwrap = ["detail", "body"]', lambda r: {"detail": json.dumps({"body": json.dumps(r)})}),
    ],
)  # fmt: skip
def test_a_record_is_taken_out_of_its_wrapper(head: str, wrap: Any) -> None:
    fmt, kit = simple(head), Kit(now=NOW, scope="all")
    values = [
        orjson.dumps(wrap(record())),
        orjson.dumps({"other": record()}),
        orjson.dumps(wrap(None)),
        b"{",
        b'"x"',
    ]
    done = kit.process(values, fmt)
    assert {v for *_, v in subjects(done, kit.ring)[0, None]} == {"923005550142"}
    form, original = kept(done)[0, None]
    assert (form, original) == ("canonical", {k: v for k, v in record().items() if k != "text"})
    refused = quarantine(done, kit.ring)
    assert [at for at, *_ in refused] == [1, 2, 3, 4]
    assert not any(b"4471" in (value or b"") for *_, value in refused)


def test_a_text_inside_a_record_is_read_as_the_json_it_holds() -> None:
    fmt, kit = simple('json_texts = ["data.body"]', "data.body."), Kit(now=NOW)
    values = [
        orjson.dumps({"data": {"body": body}}) for body in (json.dumps(record()), record(), "{no", "text")
    ]
    done = kit.process(values, fmt)
    assert [r["offset"] for r in rows(done.metadata)] == [0, 1]
    assert [(at, reason) for at, _, reason, *_ in quarantine(done, kit.ring)] == [
        (2, "wrong_type"),
        (3, "wrong_type"),
    ]


CELLS = 'encoding = "csv"\ncolumns = ["to","at","note","text"]\nseparator = "'


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ('encoding = "pairs"', 'ts=x to=+923005550142 at=1777337600 note="n-1 \\"a\\" b" text="Your code is 4471"'),
        ('encoding = "pairs"\nseparator = ";"', "to=+923005550142;at=1777337600; note=n-1 ;text=Your code is 4471"),
        ('encoding = "pairs"\nseparator = "\\n"', "to = +923005550142\nat=1777337600\nnote=n-1\ntext=Your code 4471"),
        (f'{CELLS};"', '+923005550142;1777337600;"n-1;b";Your code is 4471'),
        (f'{CELLS}\\t"', "+923005550142\t1777337600\tn-1,b\tYour code is 4471"),
        ('encoding = "form"', "to=%2B923005550142&at=1777337600&note=n-1&text=Your+code+is+4471&to=x"),
    ],
)  # fmt: skip
def test_pairs_of_names_and_values_are_a_record(head: str, line: str) -> None:
    fmt, kit = simple(head), Kit(now=NOW, scope="all")
    done = kit.process([line.encode(), b"nothing here", b"\xff=1"], fmt)
    assert {v for *_, v in subjects(done, kit.ring)[0, None]} == {"923005550142"}
    assert kept(done)[0, None][1]["note"].startswith("n-1")
    assert "4471" not in json.dumps(kept(done)[0, None][1])
    assert [(at, reason) for at, _, reason, *_ in quarantine(done, kit.ring)] == [
        (1, "wrong_columns"),
        (2, "not_utf8"),
    ]


def test_names_are_found_in_any_case_where_a_declaration_says_so() -> None:
    fmt, kit = simple("ignore_case = true", "Msg."), Kit(now=NOW, scope="all")
    values = [
        orjson.dumps({name: {k.upper(): v for k, v in record().items()}}) for name in ("MSG", "msg", "Msg")
    ]
    done = kit.process([*values], fmt)
    assert done.counts.split == 3
    assert all("4471" not in json.dumps(row) for _, row in kept(done).values())
    assert Kit(now=NOW).process([*values], simple("", "Msg.")).counts.split == 0


CUCM = declared(
    'channel = "voice"\ndirection = "unknown"\nencoding = "csv"\nheadings = true\ncolumns = ["cdrRecordType",'
    '"globalCallID_callId","dateTimeOrigination","origIpAddr","callingPartyNumber","callingPartyUnicodeLoginUserID",'
    '"originalCalledPartyNumber","finalCalledPartyNumber","origCause_value","dateTimeDisconnect","duration"]',
    WHO.format("callingPartyNumber", "caller") + 'digits = "dialled"\n',
    WHO.format("finalCalledPartyNumber", "callee") + 'digits = "dialled"\n',
    WHO.format("origIpAddr", "network_address") + 'kind = "ip"\nbyte_order = "little"\n',
    WINDOW.format("callingPartyUnicodeLoginUserID"),
    WHEN.format("dateTimeOrigination", "epoch_s"),
)


def test_lines_of_headings_are_skipped_and_whole_numbers_are_addresses() -> None:
    kit = Kit(now=NOW)
    done = kit.process(lines("36-cucm.csv"), CUCM)
    assert [r["offset"] for r in rows(done.metadata)] == [2, 3]
    assert [(at, reason, value) for at, _, reason, _, value in quarantine(done, kit.ring)] == [
        (0, "no_communication", None), (1, "no_communication", None),
    ]  # fmt: skip
    people = subjects(done, kit.ring)
    assert people[2, None] == {
        ("caller", "opaque", "2001"), ("callee", "msisdn", "923335550107"), ("network_address", "ip", "192.168.18.188"),
    }  # fmt: skip
    assert {v for role, _, v in people[3, None] if role == "network_address"} == {"10.2.1.10"}


def test_the_callee_is_looked_for_in_the_call_flow_last_of_all() -> None:
    value = json.loads(lines("04-fs-vanilla-no-destination.ndjson")[0] or b"")
    for name in ("sip_to_user", "sip_req_user", "dialed_user"):
        del value["variables"][name]
    value["callflow"][0]["caller_profile"]["destination_number"] = "+923335550107"
    flow = value["callflow"][0]
    kit = Kit(now=NOW)
    shapes: list[Any] = [[flow], [flow, {"caller_profile": 7}], flow, [], None, [None]]
    done = kit.process([orjson.dumps(value | {"callflow": shape}) for shape in shapes], "freeswitch/json-cdr")
    people = subjects(done, kit.ring)
    assert done.counts.split == len(shapes)
    for at in range(len(shapes)):
        assert (("callee", "msisdn", "923335550107") in people[at, None]) == (at < 3)


def test_an_element_that_was_refused_lands_where_it_was_when_it_is_replayed() -> None:
    fmt = simple('unwrap = "payload"\neach = "items[]"', "items.")
    good, bad = record(), {k: v for k, v in record().items() if k != "at"}
    value = orjson.dumps({"payload": {"batch": "b-7", "items": [good, bad, good]}})
    kit = Kit(now=NOW)
    done = kit.process([value], fmt)
    ((_, index, reason, _, left),) = quarantine(done, kit.ring)
    assert (index, reason) == (1, "missing_field")
    assert json.loads(left or b"") == {"batch": "b-7", "items": {k: v for k, v in bad.items() if k != "text"}}
    mended = orjson.dumps([None, {"batch": "b-7", "items": good}])
    again = kit.transform.process(batch_of([mended], now=NOW), inner(fmt), frozenset([0]))
    assert [(r["offset"], r["index"]) for r in rows(again.metadata)] == [(0, 1)]


def test_a_value_that_would_grow_beyond_measure_is_refused_alone() -> None:
    fmt = simple('each = "items[]"', "items.")
    small = [{"to": "+923005550142", "at": 1777337600}] * 2_000
    huge = orjson.dumps({"around": "x" * 100_000, "items": small})
    names = orjson.dumps({**{f"k{n}": 0 for n in range(9_000)}, "items": [1] * 9_000})
    deep = orjson.dumps({"items": [[]] * 60_000})
    done = Kit(now=NOW).process([huge, names, deep, orjson.dumps({"items": small[:2]})], fmt)
    assert done.counts.split == 2
    assert {reason for _, _, reason, *_ in quarantine(done, Kit(now=NOW).ring)} == {"too_large"}


def test_many_records_of_one_value_are_sealed_in_a_time_that_grows_with_them() -> None:
    fmt = simple('each = "items[]"', "items.")
    kit, taken = Kit(now=NOW, scope="all"), []
    for count in (100, 800):
        value = orjson.dumps({"items": [record(f"+92300{n:07d}") for n in range(count)]})
        begun = time.process_time()
        assert kit.process([value], fmt).counts.in_scope == count
        taken.append(time.process_time() - begun)
    assert taken[1] < 30 * taken[0], "eight times as many take no sixty times as long"


@pytest.mark.parametrize(
    ("head", "wrong"),
    [
        ('each = "items"', "end with"), ('each = "other[]"', "below other"), ('unwrap = "a[].b"', "one value"),
        ('each = "[]"\nenvelope = "results"', "either"), ("headings = true", "headings"),
        ('encoding = "pairs"\nunwrap = "a"', "json"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_go_together_are_refused(head: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=wrong):
        simple(head)


def test_names_by_case_alone_and_lists_in_one_field_only_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="case alone"):
        declared(
            f"{SIMPLE}\nignore_case = true", WHO.format("To", "recipient"), WINDOW.format("TO"), *FIELDS[1:]
        )
    for one, other in (("a.b[].to", "a.b.note"), ("a[].to", "a.note"), ("a[].to", "a")):
        with pytest.raises(ConfigurationError, match=r"list in one|inside another"):
            declared(SIMPLE, WHO.format(one, "recipient"), WINDOW.format(other), FIELDS[1])


def test_a_format_of_plain_records_is_read_without_any_of_this(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("taken apart")

    monkeypatch.setattr(reshape, "records", never)
    assert Kit(now=NOW).process([orjson.dumps(record())], simple()).counts.split == 1
