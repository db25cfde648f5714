"""Which reader has read a record cannot be told: with the compiled one and without it, a batch is decoded the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Format
from lethe.streams.transform.decode import compiled_reader as plain
from lethe.streams.transform.decode.decode import Decoded, decode
from lethe.streams.transform.decode.diagnose import tree
from lethe.streams.transform.decode.json_columns import joined
from lethe.testing.traffic import FORMATS, generate

pytestmark = pytest.mark.usefixtures("reader")

NOW = datetime(2026, 10, 15, 12, tzinfo=UTC)
FIXTURES = Path(__file__).parents[2] / "fixtures" / "formats"
LARGEST = 1 << 18
ALL = {f.name: f for f in formats.builtin().values() if isinstance(f, Format)}
SOME = [  # plain ones, objects in objects, lists of texts and of objects, envelopes
    ALL[name]
    for name in (
        "infobip/sms-report",
        "infobip/mms-inbound",
        "infobip/mms-report",
        "infobip/voice-report",
        "aws/pinpoint-sms",
        "freeswitch/json-cdr",
        "twilio/message",
    )
]
FIRSTS = formats.parse(
    """
name = "test/firsts"
version = 1
title = "First elements of lists, of texts and of objects, in a list and on their own"
channel = "sms"
direction = "outbound"
[[field]]
path = "at"
class = "archive"
type = "timestamp"
column = "event_time"
required = true
[[field]]
path = "to[0]"
class = "subject"
role = "recipient"
end_user = "always"
[[field]]
path = "errors[0].code"
class = "window"
[[field]]
path = "errors[0].source[0].name"
class = "window"
[[field]]
path = "more.names[0]"
class = "window"
[[field]]
path = "more.groups[].to"
class = "window"
[[field]]
path = "more.groups[].members[].to"
class = "window"
""",
    "firsts.toml",
)
SOME.append(FIRSTS)


def same(values: list[bytes | None], fmt: Format) -> int:
    """Decode a batch with the compiled reader and without; how many values the compiled one took."""
    found = decode(values, fmt, LARGEST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "_reader", None)
        expected = decode(values, fmt, LARGEST)
    if not found.frame.equals(expected.frame):
        assert found.frame.to_dicts() == expected.frame.to_dicts()
    assert found.frame.schema == expected.frame.schema
    assert found.rejects == expected.rejects
    for one in (found, expected):
        _codes_are_right(one)
    whole = [value for value in values if value]
    read = plain.read_plain(*joined(whole), tree(fmt), fmt.envelope)
    return 0 if read is None else int(read.taken.sum())


def _codes_are_right(decoded: Decoded) -> None:
    for path, coded in decoded.coded.items():
        column = decoded.frame.get_column(path)
        assert coded.values[coded.codes].equals(column, null_equal=True), path


def mostly(usual: st.SearchStrategy[str], odd: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A record of many members is to be right nearly always: only then it says anything about the compiled reader."""
    return st.integers(0, 29).flatmap(lambda drawn: odd if drawn == 29 else usual)


DIGITS = st.text("0123456789", min_size=1, max_size=19)
NUMBERS = st.one_of(
    st.integers(-(10**19), 10**19).map(str),
    st.builds(
        "{}{}.{}{}".format,
        st.sampled_from(["", "", "-"]),
        st.one_of(st.just("0"), st.integers(0, 10**15).map(str), DIGITS),
        st.one_of(DIGITS, st.builds("{}{}".format, st.integers(0, 5).map("0".__mul__), DIGITS)),
        st.sampled_from(["", "", "", "0", "000", "e5", "E-7", "e+0"]),
    ),
    # about as many digits as a double holds
    st.builds(lambda n, at: f"{n}"[:at] + "." + f"{n}"[at:], st.integers(10**12, 10**18), st.integers(1, 12)),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(0, 100, places=5).map(str),
)
USUAL_NUMBERS = st.one_of(
    st.integers(-(10**18) + 1, 10**18 - 1).map(str),
    st.decimals(-1000, 1000, places=3).map(str),
    st.builds("{}.{}".format, st.integers(1, 10**6), st.text("0012", min_size=1, max_size=8)),
)
ESCAPED = st.one_of(
    st.sampled_from(
        ['\\"', "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u0041", "\\u00e9", "\\u20AC"]
    ),
    st.integers(1, 0xD7FF).map("\\u{:04x}".format),
    st.integers(0xE000, 0xFFFF).map("\\u{:04X}".format),
    st.characters(min_codepoint=0x10000).map(lambda one: json.dumps(one)[1:-1]),
)
NO_ESCAPES = st.sampled_from(
    ["\\ud83d", "\\ude00", "\\ude00\\ud83d", "\\u0000", "\\x", "\\u00", "\\", "\n", "\0", "\x1f", "\ud83d"]
)
RAW = st.text(st.characters(exclude_characters='"\\', exclude_categories=["Cs", "Cc"]), max_size=20)
PIECE = st.one_of(RAW, st.text("abc 0123+-:{},[]", max_size=16), ESCAPED)
TEXTS = st.lists(mostly(PIECE, NO_ESCAPES), max_size=4).map(lambda pieces: f'"{"".join(pieces)}"')
WORDS = st.sampled_from(["null", "true", "false"])
NO_WORDS = st.sampled_from(["nul", "NaN", "-Infinity", "[]", "{}", '["a"]', '{"name":"x"}', "", "'a'"])
LEAVES = mostly(st.one_of(TEXTS, TEXTS, USUAL_NUMBERS, WORDS), st.one_of(NUMBERS, NO_WORDS))
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.lists(st.builds("{}:{}".format, TEXTS, inner), max_size=3).map(
            lambda items: f"{{{','.join(items)}}}"
        ),
    ),
    max_leaves=4,
)
SPACES = st.sampled_from([*[""] * 12, " ", "\t", "\r", " \t "])
UNDECLARED = mostly(
    st.sampled_from(['"x"', '"TO"', '""', '"é"', '"name"', '"Results"']),
    st.sampled_from(['"results"', '"to\\u0000"', '"\\u0074o"', '"t\\u006f"']),
)
SELDOM = st.integers(0, 59).map(lambda drawn: drawn == 59)
OFTEN = st.integers(0, 4).map(lambda drawn: drawn < 4)
DAMAGE = st.one_of(
    st.binary(min_size=1, max_size=2),
    st.sampled_from(
        [b"", b",", b"}", b"{", b"]", b'"', b"\\", b"\xc3", b"\xed\xa0\x80", b"0", b".", b'"to":1,', b"\n"]
    ),
)


@st.composite
def objects(draw: st.DrawFn, shape: dict[str, Any]) -> str:
    """Some of the declared members in any order, seldom one of them twice or of another shape; others between."""
    pieces = []
    for name, below in draw(st.permutations(list(shape.items())))[: draw(st.integers(0, 12))]:
        for _ in range(2 if draw(SELDOM) else 1):
            if draw(SELDOM):
                value = draw(ANYTHING)
            elif name.endswith("[0]"):
                first = draw(LEAVES) if below is None else draw(objects(below))
                more = draw(st.lists(ANYTHING, max_size=2))
                value = first if draw(SELDOM) else f"[{','.join([first, *more] if draw(OFTEN) else [])}]"
            elif name.endswith("[]"):
                value = "null" if draw(OFTEN) else f"[{draw(LEAVES)}]"
            else:
                value = draw(LEAVES) if below is None else draw(objects(below))
            space = draw(SPACES)
            pieces.append(f"{json.dumps(formats.bare(name))}{space}:{value}{space}")
        if not draw(OFTEN):
            pieces.append(f"{draw(UNDECLARED)}:{draw(ANYTHING)}")
    return "{" + draw(SPACES) + f",{draw(SPACES)}".join(pieces) + "}" + draw(SPACES)


@st.composite
def records(draw: st.DrawFn, fmt: Format) -> bytes:
    """A record of a format, every tenth of them damaged somewhere."""
    value = draw(objects(tree(fmt))).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 9)) == 9:
        at = draw(st.integers(0, len(value)))
        value = value[:at] + draw(DAMAGE) + value[at + draw(st.integers(0, 2)) :]
    return value


@pytest.mark.parametrize("fmt", SOME, ids=lambda fmt: fmt.name)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_batch_is_decoded_the_same(fmt: Format, data: st.DataObject) -> None:
    values = data.draw(st.lists(records(fmt), min_size=3, max_size=3))
    event(f"taken: {same([*values, None], fmt)} of {len(values)}")


@given(numbers=st.lists(NUMBERS, min_size=1, max_size=60))
@settings(max_examples=150, deadline=None)
def test_numbers_are_written_the_same(numbers: list[str]) -> None:
    values = [f'{{"to":{number},"price":{{"pricePerMessage":{number}}}}}'.encode() for number in numbers]
    same([*values], SOME[0])


def fixture(fmt: Format) -> list[bytes]:
    ending = {"csv": "csv", "combined": "log", "lines": "log"}.get(fmt.encoding, "ndjson")
    values = (FIXTURES / f"{fmt.name}.{ending}").read_bytes().split(b"\n")
    made = generate(fmt.name, 60, 4, until=NOW, envelope=0.05) if fmt.name in FORMATS else ()
    return [value for value in values if value] + list(made)


PIECES = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\t", b"\r", b"\n", b"0", b"9", b"-", b".", b"e", b"null",
    b"true",
    b"1.50", b"0.00", b"-0", b"0.00001", b"123456789012345678", b"1234567890123456.7", b"\\u0041", b"\\ud83d\\ude00",
    b"\\ud83d", b"\\u0000", b"\\n", b"\\/", b"\\\"", b"\x00", b"\x7f", b"\x80", b"\xc3\xa9", b"\xe2\x82\xac",
    b"\xed\xa0\x80", b"xxxxxxxxxxxxx",
]  # fmt: skip
MEMBERS = [
    b'"to":null', b'"to":"a"', b'"t\\u006f":"a"', b'"TO":"a"', b'"x":{"a":[1]}', b'"x":"\\ud83d"', b'"results":null',
    b'"results":[{"to":"a"}]', b'"r\\u0065sults":[{"to":"a"}]', b'"status":{}',
    b'"price":{"currency":"a","currency":"b"}',
]  # fmt: skip


def damaged(value: bytes, draw: Random) -> bytes:
    for _ in range(draw.choice([0, 1, 1, 2, 3])):
        if draw.random() < 0.2:
            value = b"{" + draw.choice(MEMBERS) + b"," + value[1:]
        else:
            at = draw.randrange(len(value) + 1)
            value = value[:at] + draw.choice(PIECES) + value[at + draw.choice([0, 0, 0, 1, 5]) :]
    return value


def test_damaged_records_of_every_format_are_decoded_the_same() -> None:
    """A good share of them is still read by the compiled reader: otherwise nothing would be compared."""
    draw = Random(5)
    taken = {}
    for fmt in ALL.values():
        seeds = [*fixture(fmt), *(b'{"x":1,' + seed[1:] for seed in fixture(fmt))]
        taken[fmt.name] = same([damaged(draw.choice(seeds), draw) for _ in range(300)], fmt)
    assert sum(taken.values()) > 300 * len(ALL) / 5
    assert sum(count > 60 for count in taken.values()) > len(ALL) / 2
    assert min(taken[name] for name in FORMATS) > 60
