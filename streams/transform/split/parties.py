"""The parties of each record: end users become subjects, businesses fill a column of the archive."""

from __future__ import annotations

from typing import Final

import polars as pl

from lethe.schemas.declaration.fields import Condition, FieldSpec
from lethe.schemas.declaration.format import Format
from lethe.schemas.subjects.addresses import business_address, normalise_column
from lethe.streams.transform.batch import Reason
from lethe.streams.transform.frames import first_bytes
from lethe.streams.transform.split._collected import (
    ArchiveColumns,
    KeptTexts,
    Rejections,
    constant,
    no_subjects,
)
from lethe.streams.transform.split.conditions import holds
from lethe.streams.transform.split.rules import ID

_SOURCES: Final = frozenset({"sender", "caller", "source"})
_DESTINATIONS: Final = frozenset({"recipient", "callee", "destination"})


def read_parties(
    frame: pl.DataFrame, fmt: Format, columns: ArchiveColumns, kept: KeptTexts, rejections: Rejections
) -> pl.DataFrame:
    """Return the subjects of the decoded `frame` (`ID`, `role`, `kind`, `value`), and fill columns with businesses.

    The column `channel` must be filled: it scopes chat ids.
    """
    found: list[pl.DataFrame] = []
    for spec in fmt.subjects:
        values = frame.get_column(spec.path)
        channel = columns.values["channel"].cast(pl.String) if spec.kind == "chat" else None
        if isinstance(values.dtype, pl.List):
            found.append(_listed(frame, spec, channel, kept))
        else:
            _reject_containers(spec, values, rejections)
            found += _single(frame, spec, channel, columns, kept)
    subjects = pl.concat(found) if found else no_subjects()
    if len(found) > 1 or any("[]" in spec.path for spec in fmt.subjects):
        subjects = subjects.unique(maintain_order=True)  # the same address in two fields is one
    return subjects


def _reject_containers(spec: FieldSpec, values: pl.Series, rejections: Rejections) -> None:
    """Reject rows with an object or a list where an address should be."""
    begun = first_bytes(values)
    if ((begun == ord("{")) | (begun == ord("["))).any():
        wrong = values.str.starts_with("{") | values.str.contains(r'^\[\s*["{\]]')
        rejections.add(wrong, Reason.WRONG_TYPE, spec.path)


def _single(
    frame: pl.DataFrame, spec: FieldSpec, channel: pl.Series | None, columns: ArchiveColumns, kept: KeptTexts
) -> list[pl.DataFrame]:
    values = frame.get_column(spec.path)
    person = _is_end_user(frame, spec)
    found: list[pl.DataFrame] = []
    if person is None or person.any():
        theirs = values if person is None else values.set(~person, None)
        read = normalise_column(theirs, spec.kind, channel)
        kinds, addresses = read.get_column("kind"), read.get_column("value")
        role = constant("role", spec.role, frame.height)
        rows = pl.DataFrame([frame.get_column(ID), role, kinds, addresses])
        found.append(rows.drop_nulls("value") if addresses.null_count() else rows)
        _keep_spelling(spec, theirs, addresses, kept)
        _put_kinds(spec, kinds, columns)
    if person is not None and not person.all():
        _business(spec, values.set(person, None), columns, kept)
    return found


def _listed(frame: pl.DataFrame, spec: FieldSpec, channel: pl.Series | None, kept: KeptTexts) -> pl.DataFrame:
    """Read subjects in a list (`group[].to`): all of them end users, any number a record."""
    values = frame.get_column(spec.path)
    opened = pl.DataFrame([frame.get_column(ID), values.alias("text")])
    if channel is not None:
        opened = opened.with_columns(channel.alias("channel"))
    opened = opened.explode("text").drop_nulls("text")
    scope = None if channel is None else opened.get_column("channel")
    found = normalise_column(opened.get_column("text"), spec.kind, scope)
    rows = found.with_columns(opened.get_column(ID), pl.lit(spec.role).alias("role"))
    kept.keep(spec.path, values.list.drop_nulls().list.join("\n").replace("", None))
    return rows.drop_nulls("value").select(ID, "role", "kind", "value")


def _is_end_user(frame: pl.DataFrame, spec: FieldSpec) -> pl.Series | None:
    """Return where the party is an end user, as a Boolean column; None for everywhere."""
    if spec.end_user == "always":
        return None
    if isinstance(spec.end_user, Condition):
        return holds(frame, spec.end_user, doubt=True)  # in doubt a person
    return constant(spec.path, False, frame.height)


def _business(spec: FieldSpec, values: pl.Series, columns: ArchiveColumns, kept: KeptTexts) -> None:
    """Put the addresses of businesses into their column; keep in the window what the archive may not hold."""
    # By Arrow's dictionary: queries would cost a small batch more than all of its values.
    coded = values.to_arrow().dictionary_encode()
    distinct = [text if text.strip() else None for text in coded.dictionary.to_pylist()]
    codes = pl.Series(coded.indices).cast(pl.UInt32)
    known = [None if text is None else business_address(text, spec.longest) for text in distinct]
    _put_kinds(spec, pl.Series([k and k.kind for k in known], dtype=pl.String)[codes], columns)
    if None in distinct:
        values = pl.Series(distinct, dtype=pl.String)[codes].alias(values.name)
    if spec.business not in ("sender", "recipient"):
        kept.keep(spec.path, values)
        return
    addresses = [k and k.address for k in known]
    address = pl.Series(addresses, dtype=pl.String)[codes]
    columns.put(spec.business, address, pl.Series(addresses, dtype=pl.String))
    if addresses == distinct:
        return
    bad = values.is_not_null() & address.is_null()
    if bad.any():
        kept.withheld[spec.path] = ((spec.business,), bad)
    _keep_spelling(spec, values.set(bad, None), address, kept)


def _keep_spelling(spec: FieldSpec, text: pl.Series, value: pl.Series, kept: KeptTexts) -> None:
    """Keep in the window what was written where the value has lost its spelling."""
    changed = text != value
    if changed.any():
        kept.keep(spec.path, text.set(~changed.fill_null(False), None))


def _put_kinds(spec: FieldSpec, kinds: pl.Series, columns: ArchiveColumns) -> None:
    """Say what kind of address each party has."""
    if spec.role in _SOURCES:
        columns.put("source_kind", kinds)
    elif spec.role in _DESTINATIONS:
        columns.put("destination_kind", kinds)
