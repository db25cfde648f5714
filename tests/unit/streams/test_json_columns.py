"""JSON texts become columns: every declared path, whatever its shape, and nothing else."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lethe.streams.transform.decode import json_columns as module
from lethe.streams.transform.decode.json_columns import NotJsonError, joined, opened, read_columns, valid

SHAPE = {
    "to": None,
    "n": None,
    "status": {"name": None, "deep": {"er": None}},
    "Status": {"name": None},
    "name": {"to": None},
    "tags[]": None,
    "group[]": {"to": None, "who": {"is": None}},
}
RECORDS: list[dict[str, Any]] = [
    {"to": "a", "n": 1.50, "status": {"name": "x", "deep": {"er": 7}}, "other": {"to": "no"}},
    {"status": {"name": "x", "deep": {"er": 7}}, "Status": {"name": "y"}, "tags": ["p", None, 3]},
    {"to": None, "status": None, "tags": [], "group": [{"to": "g"}, {"who": {"is": True}}, None]},
    {"name": {"to": "inner"}, "n": 123456789012345678901234567890, "group": []},
    {"to": 'é\n"\\ \U0001f600', "status": {}, "tags": None, "group": None},
]


def column(records: list[dict[str, Any]]) -> Any:
    return joined([json.dumps(record).encode() for record in records])[0]


def test_every_path_is_read() -> None:
    found = read_columns(column(RECORDS), SHAPE)
    assert not found.wrong.any()
    assert {path: values.to_list() for path, values in found.columns.items()} == {
        "to": ["a", None, None, None, 'é\n"\\ \U0001f600'],
        "n": ["1.5", None, None, "123456789012345678901234567890", None],
        "status.name": ["x", "x", None, None, None],
        "status.deep.er": ["7", "7", None, None, None],
        "Status.name": [None, "y", None, None, None],
        "name.to": [None, None, None, "inner", None],
        "tags[]": [None, ["p", None, "3"], [], None, None],
        "group[].to": [None, None, ["g", None], [], None],
        "group[].who.is": [None, None, [None, "true"], [], None],
    }


def test_text_that_is_no_json_is_told_wherever_its_characters_end() -> None:
    """The library's error quotes the text and ends at some byte: in the middle of a character, it is another error."""
    for length in range(200):
        text = f'{{,"to":"{"x" * length}€\U0001f600é€"}}'.encode()
        with pytest.raises(NotJsonError) as raised:
            read_columns(joined([text])[0], SHAPE)
        assert raised.value.__context__ is None
    assert read_columns(column(RECORDS), SHAPE).columns["to"][0] == "a"


def test_coded_columns_are_the_same_columns() -> None:
    records = RECORDS * 50
    found = read_columns(column(records), SHAPE)
    assert set(found.coded) == {p for p in found.columns if "." in p or "[]" in p}
    for path, coded in found.coded.items():
        assert coded.values[coded.codes].to_list() == found.columns[path].to_list(), path
        assert len(coded.values) <= len(RECORDS), path


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "x"}, {"status": [1]}, {"status": 1}, {"status": {"deep": "x"}}, {"status": {"deep": []}},
        {"tags": "x"}, {"tags": {}}, {"group": {}}, {"group": ["x"]}, {"group": [{"who": 1}]}, {"name": True},
    ],
)  # fmt: skip
def test_another_shape_is_told_and_its_neighbours_are_read(wrong: dict[str, Any]) -> None:
    found = read_columns(column([RECORDS[0], wrong, RECORDS[1], wrong, {}]), SHAPE)
    assert found.wrong.tolist() == [False, True, False, True, False]
    right = read_columns(column([RECORDS[0], RECORDS[1], {}]), SHAPE)
    for path, values in right.columns.items():
        assert found.columns[path][[0, 2, 4]].to_list() == values.to_list(), path


def test_of_equal_names_the_first_counts() -> None:
    texts, _ = joined([b'{"to":"1","to":"2","status":{"name":"a","name":"b"},"status":{"name":"c"}}'])
    found = read_columns(texts, SHAPE)
    assert found.columns["to"].to_list() == ["1"]
    assert found.columns["status.name"].to_list() == ["a"]


def test_envelopes_are_opened_into_texts() -> None:
    texts, _ = joined([b'{"r":[{"a":1},null,2,"x"]}', b'{"r":{}}', b'{"r":null}', b"{}", b'{"r":[]}'])
    lists, other = opened(texts, "r")
    assert lists.to_list() == [['{"a":1}', None, "2", '"x"'], [], None, None, []]
    assert other.tolist() == [False, True, False, False, False]


def test_what_cannot_be_read_is_told_without_a_word_of_it() -> None:
    texts, _ = joined([b'{"to":"a"}', b'{"to":"923001234567"', b'{"to":"b"}'])
    with pytest.raises(NotJsonError) as raised:
        read_columns(texts, SHAPE)
    assert "923001234567" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert valid(texts).tolist() == [True, False, True]


def test_nothing_is_written_to_disk_when_memory_is_short() -> None:
    settings = "current_setting('temp_directory'), current_setting('enable_external_access')"
    assert module._connection().execute(f"SELECT {settings}").fetchall() == [("", False)]


def test_nothing_at_all() -> None:
    texts, data = joined([])
    assert data == b""
    assert read_columns(texts, SHAPE).columns["to"].to_list() == []
    assert np.array_equal(valid(texts), [])


def ways() -> list[Any]:
    return [None] if module._code is None else [None, module._code]


@pytest.mark.parametrize("code", ways(), ids=lambda code: "general" if code is None else "compiled")
def test_values_are_put_together_if_all_are_of_a_usable_size(
    code: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_code", code)
    rng = np.random.default_rng(4)
    for sizes in ([], [1], [0, 0], [*range(40)], [3000, 1, 64, 63, 65, 1024, 1025, 0, 7], [1] * 500):
        values = [rng.bytes(size) for size in sizes]
        texts, data = joined(values)
        assert data == b"".join(values)
        assert texts.cast(pa.large_binary()).to_pylist() == values
        found = module.joined_if(values, 1, 1024)
        assert (found is not None) == all(1 <= size <= 1024 for size in sizes)
        assert found is None or found[1] == data
        assert module.joined_if([*values, None], 0, 10_000) is None
        assert module.joined_if([None, *values], 0, 10_000) is None


@pytest.mark.usefixtures("reader")
def test_what_cannot_be_put_together_is_refused() -> None:
    ends = np.zeros(3, np.int64)
    for values, room in (([b""], ends), ([b""] * 3, ends), ([], ends), ([b"", b""], ends.view(np.uint8)[1:])):
        with pytest.raises(ValueError, match="not as many"):
            module._code.joined(values, room, 0, 1)
    for values in ((b"", b""), None, b"ab"):
        with pytest.raises(TypeError):
            module._code.joined(values, ends, 0, 1)
    for one in ("text", bytearray(b"a"), 1, object()):
        assert module._code.joined([b"a", one], ends, 0, 1) is None
    references = [b"a" * 40, b"b" * 40]
    before = [sys.getrefcount(one) for one in references]
    for _ in range(5):
        assert module._code.joined(references, ends, 0, 40) == b"a" * 40 + b"b" * 40
        assert module._code.joined([*references, None], np.zeros(4, np.int64), 0, 40) is None
    assert [sys.getrefcount(one) for one in references] == before
