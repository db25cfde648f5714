"""Every way to write JSON right, wrong, or so that readers disagree: no crash, no shifted row, always a reason."""

from __future__ import annotations

import orjson
import pytest
from transform_kit import Kit, place, quarantine, rows

from lethe.schemas.declaration import format as formats
from lethe.streams.transform.batch import EXPLAINED
from lethe.streams.transform.decode.decode import decode

REQUIRED = b'"to":"923005550142","sentAt":"2026-10-01T10:00:00Z","status":{"groupName":"DELIVERED"}'
FORMAT = formats.get_format("infobip/sms-report")


def with_value(raw: bytes) -> bytes:
    return b'{"x":' + raw + b"," + REQUIRED + b"}"


RIGHT = [
    *map(
        with_value,
        (
            b"0",
            b"-0",
            b"1",
            b"-1",
            b"1.5",
            b"1e5",
            b"1E+2",
            b"1e-2",
            b"0.1e1",
            b"123456789012345678901234567890",
            b"true",
            b"false",
            b"null",
            b'""',
            b'"a"',
            b'"\\u0041"',
            b'"\\ud83d\\ude00"',
            b'"\\"\\\\\\/\\b\\f\\n\\r\\t"',
            b'"\x7f"',
            '"é\u2028\U0001f600"'.encode(),
            b"[]",
            b"[[]]",
            b"[1,2]",
            b'[null, 1, "2", {}]',
            b"{}",
            b'{"":0}',
            b'{"a":{"b":[{}]}}',
            b" [ 1 ] ",
            b"[" * 100 + b"]" * 100,
            b'{"a":1,"a":2}',
            b'"' + b"x" * 9000 + b'"',
            b'"\\u0022"',
            b'"\\u005C"',
            b'"\xef\xbf\xbf"',
            b'"\\uffff"',
            b"1e-400",
            b"-9223372036854775809",
        ),
    ),
    b" {" + REQUIRED + b"} ",
    b"\t{" + REQUIRED + b"}\r",
    b'{"":1,' + REQUIRED + b"}",
    b'{"x\\u0000y":1,' + REQUIRED + b"}",
    b'{"results":null,' + REQUIRED + b"}",
    b'{"t\\u006f":"923005550142",' + REQUIRED[20:] + b"}",
]
WRONG = [
    *map(
        with_value,
        (
            b"01",
            b"-01",
            b"+1",
            b"1.",
            b".5",
            b"-.5",
            b"1e",
            b"1e+",
            b"1.e1",
            b"0x1",
            b"1_000",
            b"1,",
            b"--1",
            b"-",
            b"NaN",
            b"-NaN",
            b"Infinity",
            b"-Infinity",
            b"nan",
            b"Inf",
            "１".encode(),
            b"1a",
            b"1 000",
            b"tru",
            b"True",
            b"TRUE",
            b"nul",
            b"None",
            b"undefined",
            b"'a'",
            b'"a',
            b'a"',
            b'"\\x41"',
            b'"\\u12"',
            b'"\\u{1F600}"',
            b'"\\',
            b'"\t"',
            b'"\x00"',
            b'"\x1f"',
            b'"\\udc00"',
            b'"\\ud800\\ud800"',
            b'"\xff"',
            b'"\xc0\xaf"',
            b'"\xed\xa0\x80"',
            b'"\xf4\x90\x80\x80"',
            b'"\xe2\x82"',
            b"[1",
            b"1]",
            b"[1,]",
            b"[,1]",
            b"[1 2]",
            b"[1,,2]",
            b"[",
            b"]",
            b"{",
            b"}",
            b"{1:2}",
            b"{a:1}",
            b"{'a':1}",
            b'{"a"}',
            b'{"a":}',
            b'{"a":1,}',
            b'{"a":1,,"b":2}',
            b'{"a" 1}',
            b'{"a"::1}',
            b'{"a":1 "b":2}',
            b"/**/1",
            b"1//x",
            b"#1",
            b"\xa01",
            b"\x0b1",
            b"\x0c1",
            b"\\u0031",
            b"*",
            b":",
            b"[}",
            b'{"a":[}',
            b"[" * 5000,
            b"[" * 100_000 + b"]" * 100_000,
            b'{"a":' * 5000 + b"1" + b"}" * 5000,
        ),
    ),
    b"",
    b" ",
    b"\n",
    b"\xef\xbb\xbf\xef\xbb\xbf{" + REQUIRED + b"}",
    ("{" + REQUIRED.decode() + "}").encode("utf-16"),
    b"\x00",
    b"{",
    b"}",
    b"[",
    b"{}{}",
    b"{}[]",
    b"{},{}",
    b"{}x",
    b"{}\x00",
    b"{}}",
    b"{{}}",
    b"null",
    b"true",
    b"1",
    b'"a"',
    b"[]",
    b"[{}]",
    b"NaN",
    b"x",
    b"\xff",
    b"{" + REQUIRED + b"}{" + REQUIRED + b"}",
    b"{" + REQUIRED + b"}\n{" + REQUIRED + b"}",
    b"{" + REQUIRED + b"}\r{" + REQUIRED + b"}",
    b"{" + REQUIRED,
    REQUIRED + b"}",
    b"{" + REQUIRED + b",}",
    b"{," + REQUIRED + b"}",
    b'{"results":[]}',
    b'{"results":{}}',
    b'{"results":[[]]}',
    b'{"results":[1]}',
    b'{"results":[null]}',
    b'{"results":"x"}',
    *(
        b"{" + REQUIRED.replace(b'{"groupName":"DELIVERED"}', wrong) + b"}"
        for wrong in (b"1", b"[]", b'"DELIVERED"', b"true", b"[{}]")
    ),
]
# The grammar allows these, and leaves it to readers what to make of them.
EITHER = [
    *map(
        with_value,
        (
            b"1e999",
            b"-1e999",
            b'"\\ud800"',
            b'"\\ud800x"',
            b'"\\ud83d"',
            b'"\\u0000"',
            b'"\\ud800\\n"',
            b"18446744073709551616",
            b"[" * 900 + b"]" * 900,
            b"[" * 1023 + b"]" * 1023,
            b"[" * 1030 + b"]" * 1030,
            b"1" * 400,
            b"0." + b"1" * 400,
        ),
    ),
    b'{"to":"a","to":"923005550142",' + REQUIRED[20:] + b"}",
    b'{"\\ud800":1,' + REQUIRED + b"}",
]


@pytest.mark.parametrize("value", RIGHT, ids=lambda v: repr(v[:40]))
def test_what_is_json_lands(value: bytes) -> None:
    orjson.loads(value)
    found = decode([value], FORMAT, 1 << 18)
    assert found.frame.height == 1
    assert found.frame.get_column("to")[0] == "923005550142"


@pytest.mark.parametrize("value", WRONG, ids=lambda v: repr(v[:40]))
def test_what_is_not_json_or_no_record_is_refused_with_a_reason(value: bytes) -> None:
    found = decode([value], FORMAT, 1 << 18)
    assert found.frame.height == 0
    assert [reject.reason in EXPLAINED for reject in found.rejects] == [True]


@pytest.mark.parametrize("scope", ["all", "none"])
def test_all_of_them_together_become_what_each_becomes_alone(scope: str) -> None:
    cases = [*RIGHT, *WRONG, *EITHER]
    values: list[bytes | None] = [
        case for at in range(len(cases)) for case in (with_value(str(at).encode()), cases[at])
    ]
    kit = Kit(scope=scope)
    together = kit.process(values, FORMAT)
    landed = [place(r)[0] for r in rows(together.metadata)]
    refused = {offset: (reason, detail) for offset, _, reason, detail, _ in quarantine(together, kit.ring)}
    assert set(range(0, len(values), 2)) <= set(landed)
    assert sorted([*landed, *refused]) == list(range(len(values)))
    for at, case in enumerate(cases):
        alone = kit.process([case], FORMAT)
        expected = [(r[2], r[3]) for r in quarantine(alone, kit.ring)]
        assert ([refused[2 * at + 1]] if 2 * at + 1 in refused else []) == expected, case[:60]
