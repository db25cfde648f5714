"""Whatever texts are cut at, they are read as if they were whole: the same columns, the same refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import format as formats
from schemas.format import Format
from streams import tails
from streams.decode import Decoded, decode
from streams.shred import joined
from streams.sift import noticed
from streams.tails import cut

REPORT = formats.get("infobip/sms-report")
assert isinstance(REPORT, Format)
OBJECTS = ["platform", "price", "status", "error"]

LEAVES = st.sampled_from(["to", "sender", "messageId", "messageCount", "price", "status", "else", ""])
TEXTS = st.sampled_from(
    [
        "",
        "4479",
        "null",
        'a":{',
        '"price":{',
        '","price":{"currency":"',
        "\\",
        '\\"price":{',
        "é\U0001f600",
        "NaN",
    ]
)
PLAIN = st.one_of(
    TEXTS, st.sampled_from([None, True, 7, 1.5, [], ["a", None], [{"price": {"currency": "x"}}]])
)
INNER = st.dictionaries(
    st.sampled_from(["currency", "pricePerMessage", "name", "price", "to"]), PLAIN, max_size=3
)
MEMBERS = st.one_of(
    st.tuples(LEAVES, PLAIN),
    st.tuples(
        st.sampled_from([*OBJECTS, "wrap", "results"]),
        st.one_of(INNER, st.fixed_dictionaries({"price": INNER})),
    ),
)
SPACES = st.sampled_from(["", "", "", " ", "\t"])
BROKEN = st.sampled_from(["", "", "", "", "", ",", "}", "]", "{", '"', "nan", "null", '"":null}', "\\"])


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """Objects whose members come in any order and more than once, some of them broken somewhere."""
    pieces = []
    for name, value in draw(st.lists(MEMBERS, max_size=6)):
        space = draw(SPACES)
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=draw(st.booleans()))
        pieces.append(f"{json.dumps(name)}{space}:{space}{text}")
    text = "{" + ("," + draw(SPACES)).join(pieces) + "}"
    at = draw(st.integers(0, len(text)))
    text = text[:at] + draw(BROKEN) + text[at + draw(st.sampled_from([0, 0, 0, 1])) :]
    return text.encode()


def read(values: list[bytes], few: int, monkeypatch: pytest.MonkeyPatch) -> Decoded:
    monkeypatch.setattr(tails, "_FEW", few)
    return decode(values, REPORT, 1 << 18)


def same(found: Decoded, whole: Decoded) -> None:
    assert found.frame.to_dicts() == whole.frame.to_dicts()
    assert sorted(map(str, found.rejects)) == sorted(map(str, whole.rejects))
    for path, coded in found.coded.items():
        assert coded.values[coded.codes].to_list() == found.frame.get_column(path).to_list(), path


@given(values=st.lists(records(), min_size=1, max_size=8))
@settings(max_examples=400, deadline=None)
def test_texts_that_are_cut_are_read_as_if_they_were_whole(values: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tails, "_worth", lambda sample, objects: sorted(objects))
        same(read(values, 1, patch), read(values, 1 << 30, patch))


def test_reports_are_cut_and_one_odd_record_among_them_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    end = '"price":{"pricePerMessage":0.1,"currency":"EUR"},"status":{"name":"DELIVERED"}}'
    values = [f'{{"to":"4479{n:08}","messageCount":1,{end}'.encode() for n in range(500)]
    odd: list[Any] = [
        b'{"to":null,"to":"2",' + end.encode(),
        b'{"to":"x\\"price\\":{",' + end.encode(),
        b'{"wrap":{"price":{"currency":"USD"}}}',
        b'{"price":3,' + end.encode(),
        end.encode(),
    ]
    monkeypatch.setattr(tails, "_FEW", 100)
    parts = cut_of(values + odd)
    assert len(parts.tails) == 1
    assert parts.heads[0].as_py() == '{"to":"447900000000","messageCount":1,"":null}'
    assert parts.codes.to_list() == [0] * 500 + [None, None, None, 0, None]
    same(read(values + odd, 100, monkeypatch), read(values + odd, 1 << 30, monkeypatch))
    assert read(values, 100, monkeypatch).coded["price.currency"].values.to_list() == ["EUR"]


def test_a_text_cut_in_the_middle_of_something_is_put_together_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "_FEW", 100)
    values = [f'{{"to":"{n}","price":{{"currency":"EUR"}}}}'.encode() for n in range(500)]
    values[7] = b'{"to":"7","else":[{"price":{"currency":"USD"}}]}'
    values[9] = b'{"to":"9","price":{"currency":"EUR"}'
    texts = joined(values)[0]
    parts = cut(texts, OBJECTS)
    assert parts is not None
    assert parts.codes[7] is not None
    sound, parts = noticed(texts, parts)
    assert [at for at, one in enumerate(sound.tolist()) if not one] == [9]
    assert parts is not None
    assert parts.codes[7] is None
    assert parts.heads[7].as_py() == values[7].decode()
    found = read(values, 100, monkeypatch)
    assert [reject.row for reject in found.rejects] == [9]
    assert found.coded["price.currency"].values.to_list() == ["EUR"]


@pytest.mark.parametrize(
    "text",
    [
        '{{"to":"{n}","status":{{"name":"{n}"}}}}',  # tails all differ
        '{{"results":[{{"to":"{n}","price":{{"currency":"EUR"}}}}]}}',  # not the outermost object's
        '{{"to":"{n}"}}',
        '{{"to":"{n}","wrap":{{"price":{{"currency":"EUR"}}}}}}',
    ],
)
def test_where_nothing_is_saved_nothing_is_cut(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "_FEW", 100)
    assert cut_of([text.format(n=n).encode() for n in range(500)]) is None


def cut_of(values: list[bytes]) -> Any:
    return cut(joined(values)[0], OBJECTS)
