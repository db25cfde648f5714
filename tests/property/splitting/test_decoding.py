"""Whatever stands beside a value, broken or not, it is read as if it were alone: the same columns, the same refusal."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Format
from lethe.streams.transform.decode.decode import ROW, decode

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
        "x" * 70 + "€\U0001f600" * 20,
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


@given(values=st.lists(records(), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_a_value_is_read_as_if_it_were_alone(values: list[bytes]) -> None:
    together = decode(values, REPORT, 1 << 18)
    alone = [decode([value], REPORT, 1 << 18) for value in values]
    frames = [one.frame.with_columns(pl.col(ROW) + row) for row, one in enumerate(alone)]
    assert together.frame.to_dicts() == [row for frame in frames for row in frame.to_dicts()]
    refused = [replace(reject, row=row) for row, one in enumerate(alone) for reject in one.rejects]
    assert sorted(map(str, together.rejects)) == sorted(map(str, refused))
    for path, coded in together.coded.items():
        assert coded.values[coded.codes].to_list() == together.frame.get_column(path).to_list(), path
