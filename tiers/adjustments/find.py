"""Find the reports of one communication, and all but the one that counts.

Reports are of one communication when they carry the same message id (known by its token, so only while the month's
window lasts), name the same persons, and are of the same format and account. Of these the one that counts is the first
in a fixed order: final before not final, priced before not, then the latest `done_time`, then the earliest position.
The order depends on the rows alone, so a report that comes later can only add to what is set apart, never take
anything back.

A month is looked through share by share of its message ids, whose tokens are evenly spread. What is held in memory is
bounded, however many rows the month has and however many of them are reported several times: 16 bytes for each row of
a share, then the records of at most so many message ids that several rows carry. Only one message id with a huge
number of records exceeds that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.retention.calendar import Month
from lethe.tiers.delta.files import prefixes
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.delta.table import Table

POSITION: Final = ("stream", "partition", "offset", "index")
SUPERSEDED: Final = "superseded"
REPEATED: Final = "repeated"
_NOT_FINAL: Final = ("ACCEPTED", "PENDING")
_ROWS_OF_A_SHARE: Final = 2_000_000
_ROWS_AT_A_TIME: Final = 500_000
_SAID: Final = ("format", "account", "status_group", "status", "done_time", "price", "charge", "currency")
_RECORDS: Final[dict[str, Any]] = {
    "stream": pl.String, "partition": pl.Int32, "offset": pl.Int64, "index": pl.Int32, "message": pl.Binary,
    "persons": pl.String,
}  # fmt: skip
_APART: Final[dict[str, Any]] = {**dict(list(_RECORDS.items())[:4]), "reason": pl.String}
Prefixes = npt.NDArray[np.uint64]


def shares(identifiers: Table, month: Month) -> int:
    """Say in how many shares a month is looked through, by the rows of identifiers it has."""
    rows = sum(file.rows for file in files_of(identifiers, {"month": str(month)}))
    return max(1, -(-rows // _ROWS_OF_A_SHARE))


def set_apart(identifiers: Table, metadata: Table, month: Month, share: int = 0, of: int = 1) -> pl.DataFrame:
    """Find the rows of a month that do not count, of the message ids of one share: `POSITION` and `reason`, in order.

    A report is `repeated` when the one that counts says the same of status, time and price, `superseded` otherwise.

    1. Read the message ids of the share, as numbers, and keep those that several records carry.
    2. Read the records of these, some at a time, and judge them by their archive rows.
    """
    # Step 1
    several, rows = _carried_by_several(identifiers, month, share, of)
    # Step 2
    found = [pl.DataFrame(schema=_APART)]
    for part in np.array_split(several, max(1, -(-rows // _ROWS_AT_A_TIME))):
        if len(part):
            found.append(_apart(metadata, month, _records(identifiers, month, part)))
    return pl.concat(found).sort(POSITION, nulls_last=False)


def _carried_by_several(identifiers: Table, month: Month, share: int, of: int) -> tuple[Prefixes, int]:
    """Return the prefixes of the tokens of message ids that several records of a month carry, ascending, and how many
    rows these have.
    """
    ids: list[Prefixes] = []
    records: list[Prefixes] = []
    for batch in _batches(
        identifiers, month, [*POSITION, "message_token"], pc.field("message_token").is_valid()
    ):
        tokens = _prefixes(batch, "message_token")
        mine = (tokens >> np.uint64(32)) * np.uint64(of) >> np.uint64(32) == share
        if not mine.any():
            continue
        where = _frame(batch.select(list(POSITION)).filter(pa.array(mine)))
        ids.append(tokens[mine])
        records.append(where.hash_rows(0).to_numpy())
    if not ids:
        return np.empty(0, np.uint64), 0
    all_ids, all_records = np.concatenate(ids), np.concatenate(records)
    del ids, records
    order = np.lexsort((all_records, all_ids))
    all_ids, all_records = all_ids[order], all_records[order]
    del order
    another = (all_ids[1:] == all_ids[:-1]) & (all_records[1:] != all_records[:-1])
    found = np.unique(all_ids[1:][another])
    first, last = (np.searchsorted(all_ids, found, side) for side in ("left", "right"))
    return found, int((last - first).sum())


def _records(identifiers: Table, month: Month, ids: Prefixes) -> pl.DataFrame:
    """Read the records of some message ids of which each names the same persons as another: `POSITION`, `message`,
    `persons`.
    """
    frames = [pl.DataFrame(schema={**_RECORDS, "token": pl.Binary}).drop("persons")]
    columns = [*POSITION, "message_token", "token"]
    for batch in _batches(identifiers, month, columns, pc.field("message_token").is_valid()):
        tokens = _prefixes(batch, "message_token")
        at = np.minimum(np.searchsorted(ids, tokens), len(ids) - 1)
        some = batch.filter(pa.array(ids[at] == tokens))
        if some.num_rows:
            for name in ("token", "message_token"):
                at_name = some.schema.get_field_index(name)
                some = some.set_column(at_name, name, some.column(name).cast(pa.binary()))
            frames.append(_frame(some).rename({"message_token": "message"}))
    records = (
        pl.concat(frames)
        .group_by(*POSITION)
        .agg(
            pl.col("message").first(),
            pl.col("token").drop_nulls().bin.encode("hex").unique().sort().str.join(",").alias("persons"),
        )
    )
    return records.filter(pl.len().over("message", "persons") > 1)


def _apart(metadata: Table, month: Month, several: pl.DataFrame) -> pl.DataFrame:
    """Find those that do not count of records that share a message id."""
    if not several.height:
        return pl.DataFrame(schema=_APART)
    rows = _archive(metadata, month, several)
    kin = ["message", "persons", "format", "account"]
    ordered = rows.join(several, on=POSITION, nulls_equal=True).sort(
        [
            pl.col("status_group").is_in(_NOT_FINAL) | pl.col("status_group").is_null(),
            pl.coalesce("charge", "price").is_null(),
            pl.col("done_time").fill_null(pl.datetime(1, 1, 1, time_zone="UTC")).dt.timestamp("us") * -1,
            *POSITION,
        ],
        nulls_last=False,
    )
    same = [pl.col(name).eq_missing(pl.col(name).first().over(kin)) for name in _SAID[2:]]
    judged = ordered.with_columns(
        pl.int_range(pl.len()).over(kin).alias("place"),
        pl.when(pl.all_horizontal(same)).then(pl.lit(REPEATED)).otherwise(pl.lit(SUPERSEDED)).alias("reason"),
    )
    return judged.filter(pl.col("place") > 0).select(*POSITION, "reason")


def _archive(metadata: Table, month: Month, wanted: pl.DataFrame) -> pl.DataFrame:
    """Read the archive rows at some positions of a month."""
    empty = _frame(metadata.dataset().schema.empty_table().select([*POSITION, *_SAID]))
    found = [empty]
    for batch in _batches(metadata, month, [*POSITION, *_SAID]):
        found.append(_frame(batch).join(wanted, on=POSITION, how="semi", nulls_equal=True))
    return pl.concat(found, how="vertical_relaxed")


def without(there: Table, month: Month, rows: pl.DataFrame) -> pl.DataFrame:
    """Leave out the rows whose positions a table has already."""
    for batch in _batches(there, month, list(POSITION)):
        rows = rows.join(_frame(batch), on=POSITION, how="anti", nulls_equal=True)
    return rows


def _batches(table: Table, month: Month, columns: list[str], also: Any = None) -> Iterator[pa.Table]:
    """Yield the rows of a month, few at a time and few ahead: what is read ahead counts as memory too."""
    here = pc.field("month") == str(month)
    here = here if also is None else here & also
    ahead = {"batch_readahead": 2, "fragment_readahead": 1}
    for batch in table.dataset().to_batches(columns=columns, filter=here, **ahead):
        if batch.num_rows:
            yield pa.Table.from_batches([batch])


def _prefixes(batch: pa.Table, column: str) -> Prefixes:
    return prefixes(batch.column(column).cast(pa.binary(16)).combine_chunks())


def _frame(table: pa.Table) -> pl.DataFrame:
    """Return rows as a frame, texts as String."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  (of a table it is one)
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))
