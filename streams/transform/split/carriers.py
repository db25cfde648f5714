"""Envelope senders that carry a recipient's address (VERP, SRS, relays) are nobody beside the recipient they carry."""

from __future__ import annotations

import re
from typing import Final

import polars as pl

from lethe.schemas.declaration.format import Format
from lethe.streams.transform.split._collected import KeptTexts
from lethe.streams.transform.split.rules import ID

_MARKED: Final = r"[=#%!]|_at_"


def without_carriers(
    subjects: pl.DataFrame, frame: pl.DataFrame, fmt: Format, kept: KeptTexts
) -> pl.DataFrame:
    """Leave out e-mail addresses with another subject of their own record in their local part.

    `bounce+jane.doe=example.org@news.example.com` is no address of anybody's, and an erasure of Jane would leave her
    address in it. What was written is kept with the record, which goes with her.
    """
    values = subjects.get_column("value")
    marked = (subjects.get_column("kind") == "email").fill_null(False)
    if not marked.any() or not (marked := marked & values.str.contains(_MARKED).fill_null(False)).any():
        return subjects
    ids = subjects.get_column(ID)
    emails = subjects.filter(
        (subjects.get_column("kind") == "email") & ids.is_in(ids.filter(marked).implode())
    )
    beside: dict[int, set[str]] = {}
    for one, value in emails.select(ID, "value").rows():
        beside.setdefault(one, set()).add(value)
    carrying = marked.arg_true().to_list()
    gone = [at for at in carrying if any(carries(values[at], other) for other in beside[ids[at]])]
    if not gone:
        return subjects
    without = pl.Series([False]).new_from_index(0, subjects.height).scatter(gone, True)
    for spec in fmt.subjects:
        where = ids.filter(without & (subjects.get_column("role") == spec.role).fill_null(False))
        text = frame.get_column(spec.path) if spec.path in frame.columns else None
        if len(where) and text is not None and text.dtype == pl.String:
            kept.keep(spec.path, text.set(~frame.get_column(ID).is_in(where.implode()), None))
    return subjects.filter(~without)


def carries(address: str, other: str) -> bool:
    """Tell whether an e-mail address has another one in its local part, as VERP, SRS and relays write it."""
    local, _, domain = other.rpartition("@")
    before, _, _ = address.rpartition("@")
    if not local or address == other:
        return False
    mine, host = re.escape(local), re.escape(domain)
    written = (
        rf"(?<![a-z0-9.]){mine}(?:[=#%]|_at_){host}(?![a-z0-9-])|(?<![a-z0-9.]){host}[=!]{mine}(?![a-z0-9.])"
    )
    return re.search(written, before.lower()) is not None
