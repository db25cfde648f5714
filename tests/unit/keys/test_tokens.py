"""Tokens of columns as they come: nulls, slices, chunks, kinds by name or by code, and what is refused."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from lethe.keys import tokens as module
from lethe.keys.monthkeys import MonthKeys, new_secret
from lethe.keys.secret import Secret
from lethe.keys.tokens import (
    KIND_CODES,
    message_token,
    message_tokens,
    needs_sealing,
    reverse_message_tokens,
    reverse_tokens,
    subject_token,
    subject_tokens,
    uuids,
)
from lethe.schemas.errors import IntegrityError

KEYS = MonthKeys("2025-01.w12", Secret(bytes(32)))
UUID = "171ae5ec-413d-4f83-af8f-bd8cc101a072"
SECRET_NUMBER = "923001234567"


def test_a_column_of_mixed_subjects_is_the_single_tokens() -> None:
    rows = [
        ("msisdn", SECRET_NUMBER),
        ("email", "jane@example.com"),
        ("chat", None),
        (None, None),
        ("ip", "2001:db8::1"),
        ("opaque", ""),
        ("opaque", "a\0"),
        ("msisdn", "9" * 15),
        ("msisdn", "9" * 16),
    ]
    kinds, values = (pl.Series(column, dtype=pl.String) for column in zip(*rows, strict=True))
    tokens = subject_tokens(KEYS, kinds, values)
    assert tokens.type == pa.binary(16)
    assert tokens.to_pylist() == [
        None if kind is None or value is None else subject_token(KEYS, kind, value) for kind, value in rows
    ]
    hashed = [False, True, False, False, False, True, True, False, True]
    assert needs_sealing(values).to_list() == hashed
    assert reverse_tokens(KEYS, tokens) == [
        None if value is None or seal else (kind, value)
        for (kind, value), seal in zip(rows, hashed, strict=True)
    ]


@pytest.mark.parametrize(
    "shape",
    [
        lambda kinds: kinds,
        lambda kinds: kinds.cast(pl.Categorical),
        lambda kinds: kinds.cast(pl.Enum(["sip", "email", "msisdn"])),
        lambda kinds: kinds.replace_strict(KIND_CODES, return_dtype=pl.UInt8),
        lambda kinds: kinds.replace_strict(KIND_CODES, return_dtype=pl.Int64),
        lambda kinds: pl.concat([kinds[:1], kinds[1:]], rechunk=False),
        lambda kinds: pl.concat([kinds, kinds])[3:],
    ],
)
def test_kinds_may_come_in_any_shape(shape: Callable[[pl.Series], pl.Series]) -> None:
    kinds, values = pl.Series(["msisdn", "email", "sip"]), pl.Series(["1", "2", "3"])
    assert subject_tokens(KEYS, shape(kinds), values) == subject_tokens(KEYS, kinds, values)


def test_values_may_be_slices_and_chunks() -> None:
    values = pl.Series([str(n) if n % 3 else "long value number %020d" % n for n in range(100)])  # noqa: UP031
    ids = pl.Series([None if n % 7 == 0 else UUID if n % 2 else f"id {n}" for n in range(100)])
    kinds = pl.Series(["opaque"] * 100)
    whole, messages = subject_tokens(KEYS, kinds, values), message_tokens(KEYS, ids)
    for start, stop in [(0, 100), (1, 99), (33, 34), (50, 50)]:
        part = subject_tokens(KEYS, kinds[start:stop], values[start:stop])
        assert part.to_pylist() == whole.to_pylist()[start:stop]
        assert message_tokens(KEYS, ids[start:stop]).to_pylist() == messages.to_pylist()[start:stop]
    chunked = pl.concat([values[:30], values[30:31], values[31:]], rechunk=False)
    assert subject_tokens(KEYS, kinds, chunked) == whole
    assert message_tokens(KEYS, pl.concat([ids[:30], ids[30:]], rechunk=False)) == messages


@pytest.mark.parametrize("dtype", [pl.String, pl.Null])
@pytest.mark.parametrize("length", [0, 3])
def test_empty_columns_and_columns_of_nulls(dtype: type[pl.DataType], length: int) -> None:
    nothing = pl.Series([None] * length, dtype=dtype)
    for tokens in (subject_tokens(KEYS, nothing, nothing), message_tokens(KEYS, nothing)):
        assert tokens.type == pa.binary(16)
        assert tokens.to_pylist() == [None] * length
    assert needs_sealing(nothing).to_list() == [False] * length
    assert reverse_tokens(KEYS, pa.nulls(length, pa.binary(16))) == [None] * length


def test_message_ids_of_every_shape() -> None:
    odd = [
        UUID.upper(),
        UUID.replace("-", ""),
        UUID + "\n",
        UUID[:-1],
        UUID + "0",
        "{" + UUID + "}",
        UUID[:14] + "0" + UUID[15:],
        UUID[:14] + "9" + UUID[15:],
        UUID[:14] + "f" + UUID[15:],
        UUID[:-1] + "g",
        "١" * 36,
        "",
    ]
    ids = [UUID, None, *odd]
    tokens = message_tokens(KEYS, pl.Series(ids))
    assert tokens.to_pylist() == [None if i is None else message_token(KEYS, i) for i in ids]
    assert len(set(tokens.to_pylist())) == len(ids)
    assert reverse_message_tokens(KEYS, tokens) == [UUID] + [None] * (len(ids) - 1)
    for version in "12345678":
        one = UUID[:14] + version + UUID[15:]
        assert reverse_message_tokens(KEYS, [message_token(KEYS, one)]) == [one]


def test_tokens_go_back_from_arrow_arrays_chunks_and_lists() -> None:
    token = subject_token(KEYS, "msisdn", SECRET_NUMBER)
    for tokens in (
        [token, None],
        pa.array([token, None], pa.binary(16)),
        pa.array([token, None], pa.binary()),
        pa.chunked_array([[token], [None]], pa.binary(16)),
    ):
        assert reverse_tokens(KEYS, tokens) == [("msisdn", SECRET_NUMBER), None]


def test_another_month_gives_other_tokens_and_takes_none_of_ours() -> None:
    other = MonthKeys("2025-02.w12", new_secret())
    ours = [subject_token(KEYS, "msisdn", str(n)) for n in range(200)]
    assert not set(ours) & {subject_token(other, "msisdn", str(n)) for n in range(200)}
    refused = 0
    for token in ours:
        try:
            assert reverse_tokens(other, [token]) == [None]
        except IntegrityError:
            refused += 1
    assert refused > 150  # 6 of 256 pass for hashed values


def test_subject_and_message_keys_are_apart() -> None:
    assert subject_token(KEYS, "opaque", UUID) != message_token(KEYS, UUID)


# What is refused, and that it is not quoted

REFUSED: list[tuple[str, Callable[[], object], type[Exception]]] = [
    ("unknown kind", lambda: subject_token(KEYS, SECRET_NUMBER, "msisdn"), ValueError),
    ("unknown kind", lambda: subject_tokens(KEYS, pl.Series([SECRET_NUMBER]), pl.Series(["x"])), ValueError),
    ("kind of null", lambda: subject_tokens(KEYS, pl.Series([None]), pl.Series([SECRET_NUMBER])), ValueError),
    ("unknown code", lambda: subject_tokens(KEYS, pl.Series([7]), pl.Series([SECRET_NUMBER])), ValueError),
    ("length", lambda: subject_tokens(KEYS, pl.Series(["ip"] * 2), pl.Series([SECRET_NUMBER])), ValueError),
    ("surrogate", lambda: subject_token(KEYS, "opaque", SECRET_NUMBER + "\ud800"), ValueError),
    ("surrogate", lambda: message_token(KEYS, SECRET_NUMBER + "\udfff"), ValueError),
    ("numbers", lambda: subject_tokens(KEYS, pl.Series(["msisdn"]), pl.Series([923001234567])), TypeError),
    ("bytes", lambda: message_tokens(KEYS, pl.Series([b"923001234567"])), TypeError),
    ("bytes", lambda: needs_sealing(pl.Series([b"923001234567"])), TypeError),
    ("short token", lambda: reverse_tokens(KEYS, [b"923001234567"]), IntegrityError),
    ("no token", lambda: reverse_tokens(KEYS, [b"923001234567\0\0\0\0"]), IntegrityError),
    ("no token", lambda: reverse_message_tokens(KEYS, [b"\0\x03" * 8]), IntegrityError),
]


@pytest.mark.parametrize(("why", "call", "kind"), REFUSED)
def test_what_is_refused_is_not_quoted(why: str, call: Callable[[], object], kind: type[Exception]) -> None:
    with pytest.raises(kind) as error:
        call()
    chain: BaseException | None = error.value
    while chain is not None:
        assert SECRET_NUMBER not in str(chain) + repr(chain.args)
        chain = chain.__context__
    shown = traceback.TracebackException.from_exception(error.value).format()
    assert SECRET_NUMBER not in "".join(line for line in shown if "lambda" not in line)


def test_ids_that_are_all_uuids_but_for_one_character() -> None:
    right = "9c2f1f9e-5c0a-4e1b-8a37-3c1d2e4f5a6b"
    assert uuids(pl.Series([right] * 3)).all()
    for at in range(len(right)):
        for other in "-0fg/:`A\0":
            text = right[:at] + other + right[at + 1 :]
            is_one = re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", text)
            assert uuids(pl.Series([right, text, right])).to_list() == [True, bool(is_one), True]
    for other, is_one in ((None, True), ("", False), (right[:-1], False), (right + "0", False)):
        assert uuids(pl.Series([right, other])).to_list() == [True, is_one]


def mixed(count: int) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Kinds, values and message ids of every make, drawn at random."""
    rng = np.random.default_rng(count)
    some = [
        "923001234567",
        "a",
        "",
        "exactly 15 byte",
        "sixteen bytes...",
        "fünfzehn Byt.",
        "fünfzehn Byte..",
        "a\0b",
        None,
    ]
    ids = [
        UUID,
        UUID.upper(),
        UUID[:-1],
        UUID + "0",
        UUID.replace("-", "_"),
        UUID[:14] + "9" + UUID[15:],
        "",
        None,
        "\0" * 36,
    ]
    kinds = pl.Series([list(KIND_CODES)[at] for at in rng.integers(0, 6, count)], dtype=pl.String)
    values = pl.Series([some[at] for at in rng.integers(0, len(some), count)], dtype=pl.String)
    return kinds, values, pl.Series([ids[at] for at in rng.integers(0, len(ids), count)], dtype=pl.String)


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("count", [0, 1, 2, 9, 500])
def test_without_compiled_code_tokens_are_the_same(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds, values, ids = mixed(count)

    def made() -> list[Any]:
        return [
            (
                subject_tokens(KEYS, kinds[at:], values[at:]),
                message_tokens(KEYS, ids[at:]),
                uuids(ids[at:]).to_list(),
            )
            for at in range(min(count, 4))
        ]

    compiled = made()
    monkeypatch.setattr(module, "_code", None)
    assert made() == compiled


@pytest.mark.usefixtures("reader")
def test_columns_that_do_not_fit_make_no_blocks() -> None:
    ends = np.array([3, 4, 6], np.int64)
    assert module._code.blocks(b"abc", ends, b"\1\2") == (
        b"\1a".ljust(16, b"\0") + b"\2bc".ljust(16, b"\0"),
        b"\1\1",
    )
    assert module._code.blocks(b"abc", ends) == (bytes(32), bytes(2))
    assert module._code.blocks(b"", np.array([9], np.int64), b"") == (b"", b"")
    for wrong in (
        (b"ab", ends),
        (b"abcd", ends),
        (b"abc", ends, b"\1"),
        (b"abc", ends, b"\1\2\3"),
        (b"abc", ends.view(np.uint8)[:-1]),
        (b"", b""),
        (b"abc", np.array([3, 7, 6], np.int64)),
        (b"abc", np.array([-3, -2, 0], np.int64)),
        (b"abc", np.array([0, -1, 3], np.int64)),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            module._code.blocks(*wrong)
    with pytest.raises(TypeError):
        module._code.blocks("abc", ends)
