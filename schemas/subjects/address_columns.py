"""Columns of addresses, normalised to (kind, value): the common spellings all at once, the others one by one."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import phonenumbers
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.flat import bytes_of, ends_of, large
from lethe.schemas.subjects.addresses import CHAT_CHANNELS, EMAIL, NUMBERED, NUMBERS_WITH_HOST, Reading, read
from lethe.schemas.subjects.nobody import NUMBERS
from lethe.schemas.subjects.numbers import E164, FEWEST, MOST, RESPELT, TRUNK, canonical_number


def normalise_column(
    values: pl.Series, how: Reading | str = "auto", channel: str | pl.Series | None = None
) -> pl.DataFrame:
    """Normalise a String column; returns columns `kind` and `value`, null where there is nothing.

    `channel` is one for all rows, or a String column. The common spellings (E.164 digits with or without `+`, plain
    e-mail addresses) stay columnar; only the distinct others go through `normalise` one by one.
    """
    how = Reading(how) if isinstance(how, str) else how
    kind = how.kind
    if kind not in ("opaque", "chat", "ip", "email"):
        numbers = values if not how.dialled or values.str.starts_with("+").all() else None
        if numbers is not None and (found := _all_numbers(numbers)) is not None:
            return found
    if how.dialled or kind == "ip":
        return _one_by_one(values, how)
    text, scope = pl.col("text"), pl.col("channel")
    frame = (
        values.rename("text")
        .to_frame()
        .with_columns(
            channel.alias("channel")
            if isinstance(channel, pl.Series)
            else pl.lit(channel, pl.String).alias("channel")
        )
    )
    fast = pl.DataFrame(schema={"kind": pl.String, "value": pl.String}).clear(len(values))
    if kind not in ("opaque", "email", "msisdn"):
        by_number = (
            scope.is_in(list(CHAT_CHANNELS - NUMBERED)).fill_null(False).not_()
            if kind == "chat"
            else pl.lit(True)
        )
        lowered = text.str.to_lowercase()
        plain = lowered.str.contains(EMAIL) & ~text.str.contains_any(
            ["%", "'", *NUMBERS_WITH_HOST], ascii_case_insensitive=True
        )
        if kind == "chat":
            plain = plain & ~scope.is_in(list(CHAT_CHANNELS)).fill_null(False)
        number = pl.when(by_number | text.str.starts_with("+")).then(text.str.extract(E164))
        number = pl.when(~text.str.contains(TRUNK)).then(number)
        number = pl.when(~number.str.contains(_TO_LOOK_AT)).then(number)
        fast = frame.with_columns(number=number).with_columns(
            email=pl.when(pl.col("number").is_null() & plain).then(lowered)
        ).select(
            kind=pl.when(pl.col("number").is_not_null()).then(pl.lit("msisdn"))
            .when(pl.col("email").is_not_null()).then(pl.lit("email")),
            value=pl.coalesce("number", "email"),
        )  # fmt: skip
    rest = frame.filter(fast.get_column("value").is_null() & values.is_not_null()).unique()
    if rest.is_empty():
        return fast
    known = [read(one, how, where) for one, where in rest.select("text", "channel").rows()]
    table = rest.with_columns(
        pl.Series("other_kind", [s.kind if s else None for s in known], dtype=pl.String),
        pl.Series("other_value", [s.value if s else None for s in known], dtype=pl.String),
    )
    joined = pl.concat([frame, fast], how="horizontal").join(
        table, on=["text", "channel"], how="left", nulls_equal=True, maintain_order="left"
    )
    return joined.select(kind=pl.coalesce("kind", "other_kind"), value=pl.coalesce("value", "other_value"))


def _one_by_one(values: pl.Series, how: Reading) -> pl.DataFrame:
    """Read each distinct text once."""
    coded = values.to_arrow().dictionary_encode()
    known = [read(text, how) for text in coded.dictionary.to_pylist()]
    codes = pl.Series(coded.indices).cast(pl.UInt32)
    columns = {
        "kind": pl.Series("kind", [s and s.kind for s in known], dtype=pl.String),
        "value": pl.Series("value", [s and s.value for s in known], dtype=pl.String),
    }
    return pl.DataFrame({name: column[codes] for name, column in columns.items()})


def _all_numbers(values: pl.Series) -> pl.DataFrame | None:
    """Return the columns of a column that holds nothing but numbers in E.164, as most do; None of any other."""
    numbers, shapes = values, _shapes_of(values)
    if shapes is None:
        if not values.str.starts_with("+").any():
            return None
        numbers = values.str.strip_prefix("+")
        shapes = _shapes_of(numbers)
    if shapes is None or not _MAY_BEGIN[shapes[0]].all():
        return None
    beginnings, lengths = shapes
    look = _LOOK_AT[beginnings] >> lengths & 1 != 0
    if look.any():
        numbers = _respelt(numbers, look)
    kinds = pl.Series(["msisdn"]).new_from_index(0, len(values))
    if numbers.null_count():
        kinds = kinds.set(numbers.is_null(), None)
    return pl.DataFrame({"kind": kinds, "value": numbers})


def _respelt(numbers: pl.Series, look: npt.NDArray[np.bool_]) -> pl.Series:
    """Replace those of the numbers that are `look` for (one mark for each that is not null) by the spelling stored.

    They are few in most traffic, so the others are left as they are.
    """
    texts = numbers.to_arrow().cast(pa.large_string())
    marks = np.zeros(len(texts), np.bool_)
    marks[pc.is_valid(texts).to_numpy(zero_copy_only=False)] = look
    mask = pa.array(marks)
    coded = texts.filter(mask).dictionary_encode()
    known = [None if n in NUMBERS else canonical_number(n) for n in coded.dictionary.to_pylist()]
    spelt = pa.array(known, pa.large_string()).take(coded.indices)
    return pl.Series(numbers.name, pc.replace_with_mask(texts, mask, spelt))


def _begun_by(beginning: str) -> slice:
    """Return which of 10,000 four digits begin with some digits; the longest country code has three."""
    size: int = 10 ** (4 - len(beginning))
    return slice(int(beginning) * size, (int(beginning) + 1) * size)


def _may_begin() -> npt.NDArray[np.bool_]:
    marked = np.ones(10_000, np.bool_)
    for beginning in ("0", *(f"{code}0" for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE)):
        marked[_begun_by(beginning)] = False
    return marked


def _look_at() -> npt.NDArray[np.int64]:
    """Return by the first four digits of which lengths (one bit each) there are numbers with another spelling."""
    lengths = np.zeros(10_000, np.int64)
    for beginning, length in (*RESPELT, *((number[:4], len(number)) for number in NUMBERS)):
        lengths[_begun_by(beginning)] |= 1 << length
    return lengths


_MAY_BEGIN: Final = _may_begin()
_LOOK_AT: Final = _look_at()
_TO_LOOK_AT: Final = "|".join(
    [rf"^{begun}[0-9]{{{length - len(begun)}}}$" for begun, length in RESPELT] + [rf"^{n}$" for n in NUMBERS]
)


def _shapes_of(texts: pl.Series) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """Return the first four digits of each text that is not null, and its length; None unless all are 7 to 15 digits.

    Told from all bytes at once: patterns cost eight times as much.
    """
    array = large(texts.drop_nulls() if texts.null_count() else texts)
    if not len(array):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    ends = ends_of(array)
    lengths = np.diff(ends)
    if lengths.min() < FEWEST or lengths.max() > MOST:
        return None
    # What is below "0" wraps round, beyond 9.
    digits = bytes_of(array) - np.uint8(ord("0"))
    if (digits > 9).any():
        return None
    first = ends[:-1] - ends[0]
    found: npt.NDArray[np.int64] = np.zeros(len(first), np.int64)
    for place in range(4):
        found += digits[first + place].astype(np.int64) * 10 ** (3 - place)
    return found, lengths
