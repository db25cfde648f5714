"""Records in the usual spelling: which they are, and that nothing tells whether it was the compiled reader."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from lethe.schemas.compiled import native
from lethe.schemas.declaration import format as formats
from lethe.streams.transform.decode import compiled_reader as module
from lethe.streams.transform.decode.compiled_reader import Plain, read_plain
from lethe.streams.transform.decode.decode import INDEX, ROW, decode
from lethe.streams.transform.decode.diagnose import tree
from lethe.streams.transform.decode.json_columns import Shape, joined, read_columns
from lethe.streams.transform.decode.json_validation import readable
from lethe.testing.traffic import FORMATS, generate

NOW = datetime(2026, 10, 15, 12, tzinfo=UTC)
LARGEST = 1 << 18
SHAPE: Shape = {
    "to": None,
    "n": None,
    "é": None,
    'a"b': None,
    "o": {"to": None, "n": None, "deep": {"x": None}},
    "tags[]": None,
    "group[]": {"to": None, "who": {"is": None}},
}
GOOD = (
    b'{"to":"a\\n\xc3\xa9","x":[1,{"y":"\\u0041"}],"n":-12.50,'
    b'"o":{"n":true,"deep":{"x":"longer than it is \\"inlined\\""}},"tags":null}'
)
needs_reader = pytest.mark.usefixtures("reader")


def read(values: list[bytes], shape: Shape = SHAPE, envelope: str | None = "results") -> Plain:
    """What is read of the values; all that was taken is JSON, and what the general reader gives."""
    texts, data = joined(values)
    found = read_plain(texts, data, shape, envelope)
    assert found is not None
    some = [value for value, taken in zip(values, found.taken.tolist(), strict=True) if taken]
    if some:
        theirs = joined(some)[0]
        assert readable(some, theirs, thorough=True).all()
        expected = read_columns(theirs, shape)
        assert not expected.wrong.any()
        for path, column in expected.columns.items():
            assert found.columns[path].filter(pl.Series(found.taken)).to_list() == column.to_list(), path
    for path, coded in found.coded.items():
        assert coded.values[coded.codes].to_list() == found.columns[path].to_list(), path
        assert coded.values.is_unique().all(), path
    for column in found.columns.values():  # also where a value was not taken: views of texts, or null
        column.to_arrow(compat_level=pl.CompatLevel.newest()).validate(full=True)
    return found


def taken(values: list[bytes]) -> list[bool]:
    """Which are taken, whatever stands around them; what does stand around them is."""
    alone = read(values).taken.tolist()
    for around in (GOOD, b'{"to":"}"}'):
        between = read([one for value in values for one in (around, value)] + [around]).taken.tolist()
        assert all(between[::2])
        assert between[1::2] == alone
    return [bool(one) for one in alone]


def is_taken(value: bytes) -> bool:
    return taken([value])[0]


@cache
def usual(table: tuple[bytes, ...]) -> dict[bytes, bool]:
    """Which values of a table are taken, read all at once."""
    return dict(zip(table, taken(list(table)), strict=True))


def test_the_reader_is_there() -> None:
    """It is optional at installation: what keeps it from being built must not go unnoticed."""
    assert native() is not None


def test_without_the_reader_nothing_is_taken_and_all_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    fmt = formats.get_format("infobip/sms-report")
    values = [*generate(fmt.name, 300, 5, until=NOW, malformed=0.2, late=0.1, envelope=0.1), None, b""]
    found = decode(values, fmt, LARGEST)
    monkeypatch.setattr(module, "_reader", None)
    assert read_plain(*joined([GOOD]), SHAPE, None) is None
    other = decode(values, fmt, LARGEST)
    assert found.frame.equals(other.frame)
    assert sorted(map(repr, found.rejects)) == sorted(map(repr, other.rejects))
    assert len(other.rejects) > 20
    assert other.frame.height > 200


@needs_reader
@pytest.mark.parametrize("name", FORMATS)
def test_nearly_all_records_are_in_the_usual_spelling(name: str) -> None:
    fmt = formats.get_format(name)
    usual = (
        0.8 if name == "infobip/voice-report" else 0.99
    )  # what was said to a menu is an object, kept as one text
    assert read(list(generate(name, 1000, 3, until=NOW)), tree(fmt), fmt.envelope).taken.mean() > usual


TAKEN: list[tuple[bytes, dict[str, Any]]] = [
    (b"{}", {}),
    (b'{"to":"a"}', {"to": "a"}),
    (b'{"to":""}', {"to": ""}),
    (b'{"to":true,"n":false}', {"to": "true", "n": "false"}),
    (b'{"to":null,"n":"null"}', {"n": "null"}),
    (b'{"o":null,"tags":null,"group":null}', {}),
    (b'{"o":{}}', {}),
    (b'{"o":{"deep":null,"n":1}}', {"o.n": "1"}),
    (b'{"o":{"deep":{"x":"y"},"to":"b"},"to":"a"}', {"to": "a", "o.to": "b", "o.deep.x": "y"}),
    ('{"é":"ü"}'.encode(), {"é": "ü"}),
    (b'{"to":"{\\"n\\":1}"}', {"to": '{"n":1}'}),
    (b'{"to":"\x7f"}', {"to": "\x7f"}),
    # names that are none of those declared
    (b'{"To":"a","TO":"b","t":"c","too":"d","":"e","x":"f"}', {}),
    (b'{"TO":"b","to":"a"}', {"to": "a"}),
    (b'{"O":{"n":1},"deep":{"x":1}}', {}),
    (b'{"a":"x","ab":1}', {}),
    (b'{"x":1,"x":2,"to":"a"}', {"to": "a"}),
    (b'{"x":{"results":[]},"o":{"results":[]},"Results":1}', {}),
    (b'{"tags[]":["a"],"o.n":1}', {}),
    # what is left out, whatever it is
    (b'{"x":{},"y":[],"z":[[],{},[{"a":[null,true,false,-0.5,"\\ud83d\\ude00"]}]],"to":"a"}', {"to": "a"}),
    (b'{"x":{"\\u0074o":1,"to":2,"to":3},"to":"a"}', {"to": "a"}),
    # white space
    (b'{ \t\r"to" \t\r: \t\r"a" \t\r, \t\r"x" : [ ] , "y" : { } , "n":1 } \t\r', {"to": "a", "n": "1"}),
    (b'{"x":[ 1 , 2 ],"y":{ "a" : 1 , "b" : 2 },"o":{ }}\r', {}),
    (b"{ }\t", {}),
]  # fmt: skip


@needs_reader
@pytest.mark.parametrize(("value", "expected"), TAKEN, ids=lambda it: it if isinstance(it, bytes) else "")
def test_records_in_the_usual_spelling_are_read(value: bytes, expected: dict[str, Any]) -> None:
    assert usual(tuple(value for value, _ in TAKEN))[value]
    row = {path: column[0] for path, column in read([value]).columns.items()}
    assert row == {path: expected.get(path) for path in row}


NOT_TAKEN = [
    # no object, or none alone
    b"", b" ", b"{", b"}", b"[]", b'"a"', b"1", b"null", b"true", b"x", b"[{}]", b" {}", b"\xef\xbb\xbf{}",
    b"{}{}",
    b"{} {}", b"{}x", b"{},", b"{}}", b"{}]", b"{}\x00", b'{}"', b"{}\n", b"\n{}", b'{"to":\n1}',
    b'{"to":1,\n"n":2}',
    b'{"x":[\n]}', b"{\x0b}", b"{\x0c}", b"{\xc2\xa0}", b"{\xe2\x80\xa8}",
    # commas, colons and brackets
    b'{"to":1,}', b'{,"to":1}', b"{,}", b'{"to":1,,"n":2}', b'{"to":1 "n":2}', b'{"to"}', b'{"to":}',
    b'{"to",1}',
    b'{"to"::1}', b'{"to":1:2}', b'{:1}', b'{"to":1]', b'{to:1}', b"{'to':1}", b'{"to":1', b'{"to":"a}',
    b'{"to:1}',
    b'{"x":[1,]}', b'{"x":[,1]}', b'{"x":[1 2]}', b'{"x":[1}', b'{"x":{"a":1]}', b'{"x":{"a":1,}}',
    b'{"x":{"a"}}',
    b'{"x":{1:2}}', b'{"x":{"a":}}', b'{"x":[}', b'{"x":{]}', b'{"x":[1,2}', b'{"x":{a:1}}', b'{"o":{"n":1]}',
    b'{"o":{"n":1,}}', b'{"to":1}/**/', b'{"to":1/**/}', b'{"to":1,//\r"n":2}',
    # words
    *(b'{"%b":%b}' % (name, word) for name in (b"to", b"x") for word in (
        b"nul", b"nulll", b"NULL", b"Null", b"none", b"tru", b"truee", b"True", b"fals", b"falsee", b"FALSE",
        b"n", b"t",
        b"f", b"undefined", b"NaN", b"nan", b"-nan", b"inf", b"Infinity", b"-Infinity", b"a", b"'a'", b"null1",
        b"true1",
    )),
    # escapes
    *(b'{"%b":"%b"}' % (name, wrong) for name in (b"to", b"x") for wrong in (
        b"\\", b"\\x41", b"\\a", b"\\'", b"\\0", b"\\U0041", b"\\N", b"\\ ", b"\\\xc3\xa9", b"\\u", b"\\u0",
        b"\\u00",
        b"\\u004", b"\\u004g", b"\\u 041", b"\\u+041", b"\\u-001", b"\\u0x41", b"\\u00\xc3\xa9", b"\\u004@",
        b"\\u004`",
        b"\\u004G", b"\\u004/", b"\\u004:", b"\\u0000", b"a\\u0000b", b"\\ud83d", b"\\ude00",
        b"\\ud83d\\ud83d\\ude00",
        b"\\ude00\\ud83d", b"\\ud83dx", b"\\ud83d\\n", b"\\ud83d\\u0041", b"\\ud83d\\ue000", b"\\ud83d\\udbff",
        b"\\udbff",
        b"\\udc00", b"\\udfff", b"\\ud83d\\ude0", b"\\ud83d \\ude00", b"\\ud83d\\\\ude00", b"\\\\\\",
    )),
    # names that are declared, written with escapes or more than once
    b'{"\\u0074o":1}', b'{"t\\u006f":1}', b'{"a\\"b":1}', b'{"a\\u0022b":1}', b'{"\\u00e9":1}', b'{"x\\n":1}',
    b'{"o":{"\\u006e":1}}', b'{"resul\\u0074s":[]}', b'{"to":1,"t\\u006f":2}', b'{"\\ud800":1}', b'{"\xff":1}',
    b'{"to":1,"to":1}', b'{"to":null,"to":1}', b'{"to":1,"to":null}', b'{"to":1,"x":1,"to":[]}',
    b'{"o":{},"o":{}}',
    b'{"o":null,"o":{"n":1}}', b'{"o":{"n":1,"n":1}}', b'{"o":{"deep":{"x":1,"x":2}}}',
    b'{"tags":null,"tags":null}',
    # another shape than declared, or one that only the general reader reads
    b'{"to":{}}', b'{"to":[]}', b'{"to":{"a":1}}', b'{"to":["a"]}', b'{"o":1}', b'{"o":"a"}', b'{"o":[]}',
    b'{"o":true}',
    b'{"o":{"n":{}}}', b'{"o":{"n":[1]}}', b'{"o":{"deep":1}}', b'{"o":{"deep":[]}}', b'{"tags":[]}',
    b'{"tags":["a"]}',
    b'{"tags":{}}', b'{"tags":1}', b'{"tags":"a"}', b'{"group":[]}', b'{"group":[{"to":"a"}]}', b'{"group":{}}',
    # envelopes
    b'{"results":[]}', b'{"results":[{"to":"a"}]}', b'{"results":null}', b'{"results":null,"to":"a"}',
    b'{"to":"a","results":null}', b'{"results":{}}', b'{"results":1}', b'{"to":"a","results":"b"}',
]  # fmt: skip


@needs_reader
@pytest.mark.parametrize("value", NOT_TAKEN)
def test_all_else_is_left_to_the_general_reader(value: bytes) -> None:
    assert not usual(tuple(NOT_TAKEN))[value]


NUMBERS = {
    "0": "0", "1": "1", "-1": "-1", "10": "10", "1000000": "1000000", "0.0": "0.0", "0.00": "0.0",
    "0.000000": "0.0",
    "1.0": "1.0", "1.50": "1.5", "-1.50": "-1.5", "10.00": "10.0", "1.05": "1.05", "1.050": "1.05",
    "100.0": "100.0",
    "0.5": "0.5", "-0.5": "-0.5", "0.1000": "0.1", "0.001": "0.001", "0.0001": "0.0001", "0.00012": "0.00012",
    "-0.00012": "-0.00012", "0.000100": "0.0001", "5.00001": "5.00001", "1.0000001": "1.0000001",
    "12345678901234.5": "12345678901234.5", "1.23456789012345": "1.23456789012345",
    "99999999999999.9": "99999999999999.9",
    "0.12345678901234": "0.12345678901234", "-9.99999999999999": "-9.99999999999999",
    "9007199254740993": "9007199254740993",
    "123456789012345": "123456789012345", "1234567890123456": "1234567890123456",
    "12345678901234567": "12345678901234567",
    "123456789012345678": "123456789012345678", "-999999999999999999": "-999999999999999999",
}  # fmt: skip
NO_NUMBERS = [
    # with another spelling, or so long that it may have one
    "-0", "-0.0", "-0.000", "0.00001", "0.00009", "0.00001000", "-0.00001", "0.0000000000001",
    "123456789012345.6",
    "1234567890123456.5", "0.123456789012345", "1.234567890123456", "1.0000000000000000", "1234567890123456789",
    "9223372036854775807", "9223372036854775808", "-9223372036854775809", "123456789012345678901234567890",
    "9" * 400,
    "0." + "0" * 400, "0." + "1" * 400, "1e5", "1E5", "1e+5", "1e-5", "1.5e3", "1.50E-3", "0e0", "0.0e0", "-0e0",
    "1e999",
    # not JSON
    "-", "+", "+1", "00", "01", "-01", "-00", "00.5", ".5", "-.5", "1.", "1.e5", "-1.", "1..5", "1.5.5", "--1",
    "1-", "1-1",
    "1e", "1e+", "1.5e", "0x10", "1x", "1_000", "1,000.5,", "1 000", "1'000", "1f", "1L", "\u0661", "\u00bd",
    "1\x00", "1.\x00",
]  # fmt: skip


AROUND = ['{"to":%s}', '{"x":%s}', '{"x":[%s]}', '{"o":{"n":%s }}', '{"to":%s ,"n":1}']


@needs_reader
def test_numbers_keep_their_shortest_spelling() -> None:
    values = [f'{{"to":{written},"x":[{written}],"o":{{"n":{written}}}}}'.encode() for written in NUMBERS]
    assert all(taken(values))
    columns = read(values).columns
    assert dict(zip(NUMBERS, columns["to"].to_list(), strict=True)) == NUMBERS
    assert dict(zip(NUMBERS, columns["o.n"].to_list(), strict=True)) == NUMBERS


@needs_reader
@pytest.mark.parametrize("written", NO_NUMBERS)
def test_numbers_with_another_spelling_are_not_taken(written: str) -> None:
    table = {number: [(one % number).encode() for one in AROUND] for number in NO_NUMBERS}
    found = usual(tuple(value for values in table.values() for value in values))
    assert not any(found[value] for value in table[written])


ESCAPES = {
    '\\"': '"', "\\\\": "\\", "\\/": "/", "\\b": "\b", "\\f": "\f", "\\n": "\n", "\\r": "\r", "\\t": "\t",
    "\\u0001": "\x01", "\\u001f": "\x1f", "\\u0041": "A", "\\u007f": "\x7f", "\\u0080": "\x80",
    "\\u07ff": "\u07ff",
    "\\u0800": "\u0800", "\\u00E9": "é", "\\u00e9": "é", "\\uABCD": "\uabcd", "\\uabcd": "\uabcd",
    "\\uaBcD": "\uabcd",
    "\\uD7FF": "\ud7ff", "\\uE000": "\ue000", "\\uFFFE": "\ufffe", "\\uffff": "\uffff",
    "\\ud800\\udc00": "\U00010000",
    "\\uD83D\\uDE00": "\U0001f600", "\\ud83d\\uDe00": "\U0001f600", "\\uDBFF\\uDFFF": "\U0010ffff",
    "\\u2028": "\u2028",
    "\\\\u0000": "\\u0000", "\\u005cu0000": "\\u0000", "\\\\ud800": "\\ud800", "\\u0022,": '",',
    "\\u00410": "A0",
}  # fmt: skip


@needs_reader
@pytest.mark.parametrize(("written", "text"), ESCAPES.items())
def test_escapes_are_resolved(written: str, text: str) -> None:
    pads = ["x" * length for length in range(18)]
    values = [f'{{"to":"{pad}{written}","n":"{written}{pad}é"}}'.encode() for pad in pads]
    found = read(values)
    assert found.taken.all()
    assert found.columns["to"].to_list() == [pad + text for pad in pads]
    assert found.columns["n"].to_list() == [f"{text}{pad}é" for pad in pads]


FIRST_AND_LAST = [
    "\x20",
    "\x7f",
    "\x80",
    "\u07ff",
    "\u0800",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\U00010000",
    "\U0010ffff",
]
NOT_UTF8 = [
    b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe",
    b"\xff",
    b"\xc3", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x98", b"\xc3\xc3\xa9", b"\xe2\x28\xa1",
    b"\xe2\x82\x28",
    b"\xf0\x28\x8c\xbc", b"\xf0\x90\x28\xbc", b"\xf0\x90\x8c\x28", b"\xc3\xa9\xa9", b"\xf0\x9f\x98\x80\x80",
    b"\xe9",
]  # fmt: skip


@needs_reader
def test_characters_of_every_length_are_read() -> None:
    texts = [f"{'x' * pad}{one}{'y' * pad}" for one in FIRST_AND_LAST for pad in range(18)]
    found = read([f'{{"to":"{text}","x":"{text}"}}'.encode() for text in texts])
    assert found.taken.all()
    assert found.columns["to"].to_list() == texts


@needs_reader
@pytest.mark.parametrize("wrong", NOT_UTF8)
def test_what_is_not_utf8_is_not_taken(wrong: bytes) -> None:
    texts = [b"x" * pad + wrong for pad in range(10)]
    values = [b'{"%b":1}' % text for text in texts]
    for name, text in itertools.product((b"to", b"x"), texts):
        values += [one % (name, text) for one in (b'{"%b":"%b"}', b'{"%b":"%bxxxxxxxx"}', b'{"%b":"%b')]
    assert not any(taken(values))


@needs_reader
def test_every_byte_is_looked_at_wherever_it_stands() -> None:
    """Eight at once: what one byte is must not hide what another is."""
    values, usual = [], []
    for around, byte, place in itertools.product(b" !#[]a\x7f", range(256), range(17)):
        text = bytearray([around] * 17)
        text[place] = byte
        values.append(b'{"to":"%b"}' % bytes(text))
        usual.append(0x20 <= byte < 0x80 and byte not in b'"\\')
    texts, data = joined(values)
    found = read_plain(texts, data, SHAPE, None)
    assert found is not None
    assert found.taken.tolist() == usual


@needs_reader
def test_a_record_that_ends_early_is_not_taken() -> None:
    """Also where what it needs follows right behind: that is another value."""
    assert is_taken(GOOD)
    for end in range(len(GOOD)):
        assert not read([GOOD[:end], GOOD[end:]] if end else [b"", GOOD[1:]]).taken.any()
    for white in (b" ", b"\t", b"\r"):
        assert is_taken(GOOD + white * 9)


@needs_reader
def test_a_record_with_anything_behind_it_is_not_taken() -> None:
    usual = taken([GOOD + bytes([byte]) for byte in range(256)])
    assert [byte for byte in range(256) if usual[byte]] == sorted(b" \t\r")
    assert not any(taken([bytes([byte]) + GOOD for byte in range(256)]))


@needs_reader
def test_nesting_has_a_measure() -> None:
    for opening, closing in (("[", "]"), ('{"x":', "}")):
        taken = [
            bool(read([f'{{"x":{opening * depth}1{closing * depth}}}'.encode()]).taken[0])
            for depth in (1, 8, 40, 500, 1000)
        ]
        assert taken == [True, True, False, False, False]
        for deep in (opening * 200_000, opening * 100_000 + "1" + closing * 100_000):
            assert not read([f'{{"x":{deep}}}'.encode(), f'{{"x":{deep}'.encode()]).taken.any()
    shape: Shape = {"x": None}
    for depth in range(1, 40):
        shape = {"x": shape, "y": None}
        value = b'{"y":"a","x":' * depth + b'{"x":"b"}' + b"}" * depth
        assert read([value], shape).taken.all() == (depth <= 16)


@needs_reader
def test_members_come_in_any_order_and_change_it() -> None:
    members = ['"to":"a"', '"n":1', '"o":{"n":2,"to":"b"}', '"x":3', '"tox":4', '"t":5', '"é":6']
    orders = list(itertools.permutations(members))
    values = ["{" + ",".join(order[: 3 + at % 5]) + "}" for at, order in enumerate(orders)]
    found = read([value.encode() for value in values])
    assert found.taken.all()
    expected = [json.loads(value) for value in values]
    assert found.columns["to"].to_list() == [one.get("to") for one in expected]
    assert found.columns["o.to"].to_list() == [one.get("o", {}).get("to") for one in expected]


@needs_reader
def test_more_members_than_declared_ones_have_room() -> None:
    many = [f'"x{at}":{at}' for at in range(300)]
    for place in (0, 1, 47, 48, 49, 63, 64, 65, 128, 300):
        value = "{" + ",".join([*many[:place], '"to":"a"', *many[place:], '"o":{"n":1}']) + "}"
        found = read([value.encode()] * 3)
        assert found.taken.all()
        assert found.columns["to"].to_list() == ["a"] * 3
        assert not read([value.replace('"o":', '"to":1,"o":').encode()]).taken.any()


@needs_reader
def test_a_shape_has_as_many_names_as_the_reader_has_room_for() -> None:
    def fits(shape: Shape, envelope: str | None = None) -> bool:
        return read_plain(*joined([b"{}"]), shape, envelope) is not None

    names = [f"n{at}" for at in range(65)]
    shape = dict.fromkeys(names[:64])
    assert fits(shape)
    assert not fits(shape, "results")
    assert fits(shape, "n5")
    assert not fits(dict.fromkeys(names))
    value = json.dumps({name: name for name in reversed(names)}).encode()
    assert [read([value], shape, None).columns[name][0] for name in names[:64]] == names[:64]
    twice = value[:-1] + b',"n63":1}'
    assert not read([twice], shape, None).taken.any()
    assert fits({a: dict.fromkeys(names[:64]) for a in names[:16]})  # 1024 leaves
    assert not fits({a: dict.fromkeys(names[:64]) for a in names[:16]} | {"more": None})
    objects: Shape = {a: {b: {"x": None} for b in names[:3]} for a in names[:63]}  # 253 objects
    assert fits(objects | {"a": {"b": {"c": {}}}})
    assert not fits(objects | {"a": {"b": {"c": {}, "d": {}}}})


@needs_reader
def test_a_name_that_stands_for_two_things_is_for_the_general_reader() -> None:
    texts, data = joined([b'{"a":1}'])
    assert read_plain(texts, data, {"a": None, "a[]": None}, None) is None
    assert read_plain(texts, data, {"o": {"a": {"x": None}, "a[]": None}}, None) is None
    assert read_plain(texts, data, {"a": None}, None) is not None
    assert read_plain(*joined([]), {"a": None}, None) is None


@needs_reader
def test_an_envelope_is_no_record_though_its_name_is_declared_too() -> None:
    assert read([b'{"to":"a"}', b'{"x":1}'], SHAPE, "to").taken.tolist() == [False, True]
    assert read([b'{"results":[1]}', b'{"x":1}'], SHAPE, None).taken.all()


@needs_reader
def test_texts_of_every_length_are_read() -> None:
    """Up to 12 bytes lie in the column itself, longer ones where they were; with escapes, in a buffer of their own."""
    texts = [piece * length for piece in ("x", "é", "€", "\U0001f600", "\n", "a\\") for length in range(41)]
    for ascii_only in (True, False):
        values = [json.dumps({"to": text, "o": {"n": text}}, ensure_ascii=ascii_only) for text in texts]
        found = read([value.encode() for value in values])
        assert found.taken.all()
        assert found.columns["to"].to_list() == texts
        assert found.columns["o.n"].to_list() == texts


@needs_reader
def test_a_part_of_a_column_is_read() -> None:
    values = [
        b'{"to":"first but longer than 12"}',
        b'{"to":"\\n"}',
        b"{",
        b'{"to":"fourth, and longer, too"}',
        b"{}",
    ]
    texts, data = joined(values)
    for start, count in itertools.product(range(5), range(1, 6)):
        part = texts.slice(start, count)
        found = read_plain(part, data, SHAPE, None)
        assert found is not None
        assert found.taken.tolist() == [value != b"{" for value in values[start : start + count]]
        whole = read(values, SHAPE, None).columns["to"]
        assert found.columns["to"].to_list() == whole[start : start + count].to_list()


@needs_reader
def test_few_distinct_values_are_coded_and_many_are_not() -> None:
    most = module._reader.MOST_DISTINCT
    few = [
        f'{{"to":"{at % 3} and longer than 12","n":{at},"o":{{"n":{at % 2}}}}}'.encode() for at in range(5000)
    ]
    found = read(few)
    assert set(found.coded) == {"to", "é", 'a"b', "o.to", "o.n", "o.deep.x"}
    assert found.coded["to"].values.to_list() == [f"{at} and longer than 12" for at in range(3)]
    assert found.coded["é"].values.to_list() == []
    # Values come again before there are many of them: otherwise a table is given up before it is full.
    for distinct, coded in ((most, True), (most + 1, False)):
        found = read([f'{{"to":{at}}}'.encode() for at in range(distinct) for _ in range(6)])
        assert found.taken.all()
        assert ("to" in found.coded) == coded
    assert "to" not in read([f'{{"to":{at}}}'.encode() for at in range(most)]).coded


@needs_reader
def test_texts_that_look_alike_are_told_apart() -> None:
    """Same length, same beginning, same end: the same place in the table."""
    for middle, rounds in itertools.product((1, 4, 9), (1, 3)):
        texts = [f"beginning{'x' * middle}{at:02}{'y' * middle}the ending" for at in range(60)] * rounds
        found = read([f'{{"to":"{text}","n":"{text[:9]}"}}'.encode() for text in texts])
        assert found.columns["to"].to_list() == texts
        assert len(found.coded["n"].values) == 1


@needs_reader
def test_the_same_text_has_one_code_however_it_is_written() -> None:
    spellings = [
        b"twelve bytes and more/",
        b"twelve bytes and more\\/",
        b"twelv\\u0065 bytes and more\\u002f",
        b"short",
    ]
    found = read([b'{"to":"%b"}' % spellings[at % 4] for at in range(40)] + [b"{}"])
    assert found.coded["to"].values.to_list() == ["twelve bytes and more/", "short"]
    assert found.coded["to"].codes.to_list() == [0, 0, 0, 1] * 10 + [None]


@needs_reader
def test_values_that_are_half_read_leave_nothing_behind() -> None:
    """What was found before something turned up stays in its own row, which is not taken."""
    values = [
        b'{"to":"a","n":1}',
        b'{"to":"half \\u0041 of a record","n":2,"o":',
        b'{"n":3}',
        b'{"to":"a\\n"}',
    ]
    found = read(values)
    assert found.taken.tolist() == [True, False, True, True]
    assert found.columns["to"].filter(pl.Series(found.taken)).to_list() == ["a", None, "a\n"]
    assert found.columns["n"].filter(pl.Series(found.taken)).to_list() == ["1", "3", None]


@needs_reader
def test_values_of_both_kinds_are_in_the_order_of_the_batch() -> None:
    fmt = formats.get_format("infobip/sms-report")
    values = [
        b'{"to":"a"}', b'{"to":1e2}', b'{"results":[{"to":"b"},{"to":"c"}]}', b"{",
        None, b'{"to":"d","price":{}}',
        b'{"to":"e","to":"f"}', b'{"to":"g","price":1}', b'{"to":"h\\u0000"}', b'{"to":"i"}',
    ]  # fmt: skip
    found = decode(values, fmt, LARGEST)
    rows = found.frame.select(ROW, INDEX, "to").rows()
    assert rows == [
        (0, None, "a"), (1, None, "100.0"), (2, 0, "b"), (2, 1, "c"), (5, None, "d"), (6, None, "e"), (9,
        None, "i"),
    ]  # fmt: skip
    assert sorted(reject.row for reject in found.rejects) == [3, 4, 7, 8]
    coded = found.coded["to"]
    assert coded.values[coded.codes].to_list() == found.frame.get_column("to").to_list()


def arguments(**changed: Any) -> list[Any]:
    """What the compiled reader is called with for two values and two leaves, some of it changed."""
    data = b'{"a":"b","n":1}{"n":"\\n"}'
    fitting: dict[str, Any] = {
        "plan": [[(b"a", 0, 0), (b"n", 0, 1)]],
        "leaves": 2,
        "data": data,
        "ends": np.array([0, 15, len(data)], np.int64),
        "taken": np.zeros(2, np.bool_),
        "arena": np.zeros(len(data), np.uint8),
        "views": np.zeros(2 * 2 * 16, np.uint8),
        "valid": np.zeros(2, np.uint8),
        "codes": np.zeros(2 * 2, np.uint32),
        "firsts": np.zeros(2 * module._reader.MOST_DISTINCT, np.uint32),
    }
    assert set(changed) <= set(fitting)
    return list((fitting | changed).values())


def shifted(array: np.ndarray[Any, Any]) -> Any:
    """The same bytes where no number of its size begins."""
    room = np.zeros(array.nbytes + 16, np.uint8)
    start = (-room.ctypes.data) % 16 + 1
    found = room[start : start + array.nbytes]
    found[:] = array.view(np.uint8)
    return found


@needs_reader
def test_sizes_that_do_not_fit_are_refused() -> None:
    fitting = arguments()
    assert module._reader.read(*fitting) == (1, [1, 2])
    assert fitting[4].all()
    assert module._reader.read(*arguments(arena=np.zeros(0, np.uint8))) == (0, [1, 1])  # nothing is resolved
    wrong: list[dict[str, Any]] = []
    for at, name in enumerate(["ends", "taken", "arena", "views", "valid", "codes", "firsts"], 3):
        whole = fitting[at]
        wrong += [{name: whole[:-1]}, {name: np.concatenate([whole, whole[:1]])}, {name: whole[:0]}]
    wrong = [one for one in wrong if "arena" not in one or 0 < len(one["arena"]) < len(fitting[2])]
    wrong += [{"leaves": leaves} for leaves in (-1, 0, 1, 3, 1025, -(2**63), 2**63 - 1)]
    wrong += [{"data": fitting[2][:-1]}, {"data": b""}, {"plan": []}, {"plan": [[]] * 257}]
    size = len(fitting[2])
    for ends in (
        [0, 15, size + 1],
        [-1, 15, size],
        [16, 15, size],
        [0, size + 1, size],
        [0, -1, size],
        [0, 2**62, size],
        [-(2**63), 0, 0],
    ):
        wrong.append({"ends": np.array(ends, np.int64)})
    wrong += [
        {name: shifted(fitting[at])} for at, name in ((3, "ends"), (6, "views"), (8, "codes"), (9, "firsts"))
    ]
    for change in wrong:
        with pytest.raises(ValueError, match="do not fit together"):
            module._reader.read(*arguments(**change))


@needs_reader
def test_plans_that_cannot_be_followed_are_refused() -> None:
    for member in (
        (b"a", 0, 2),
        (b"a", 0, -1),
        (b"a", 1, 1),
        (b"a", 1, -1),
        (b"a", -1, 0),
        (b"a", 4, 2),  # the first of a list: a leaf that is not there, an object that is not there, neither
        (b"a", 5, 1),
        (b"a", 6, 0),
        (b"a", 7, 0),
        (b"a", 8, 0),
        (b"a", 9, 0),
    ):
        with pytest.raises(ValueError, match="not a plan"):
            module._reader.read(*arguments(plan=[[member]]))
    with pytest.raises(ValueError, match="not a plan"):
        module._reader.read(*arguments(plan=[[(b"%d" % at, 0, 0) for at in range(65)]]))
    for plan in (
        [None],
        [[None]],
        [["a"]],
        [[("a",)]],
        [[(b"a", 0)]],
        [[(None, 0, 0)]],
        [[(b"a", 0, 2**40)]],
        None,
        [5],
    ):
        with pytest.raises((TypeError, ValueError, OverflowError, SystemError)):
            module._reader.read(*arguments(plan=plan))


@needs_reader
def test_a_plan_in_a_circle_comes_to_an_end() -> None:
    value = b'{"o":' * 5000 + b"1" + b"}" * 5000
    change = {"plan": [[(b"o", 1, 0)]], "data": value, "arena": np.zeros(0, np.uint8)}
    given = arguments(ends=np.array([0, len(value), len(value)], np.int64), **change)
    assert module._reader.read(*given) == (0, [0, 0])
    assert not given[4].any()
