"""The parties of each record: end users become subjects, businesses fill a column of the archive."""

from __future__ import annotations

from typing import Final

import polars as pl

from lethe.schemas.declaration.fields import Condition, FieldSpec
from lethe.schemas.declaration.format import Format
from lethe.schemas.subjects.addresses import business_address, normalise_column
from lethe.streams.transform.batch import Reason
from lethe.streams.transform.frames import first_bytes
from lethe.streams.transform.split.conditions import holds
from lethe.streams.transform.split.work import ID, Work

_SOURCES: Final = frozenset({"sender", "caller", "source"})
_DESTINATIONS: Final = frozenset({"recipient", "callee", "destination"})


def read_parties(work: Work, fmt: Format) -> None:
    """Read every subject of the declaration. The column `channel` must be filled: it scopes chat ids."""
    for spec in fmt.subjects:
        values = work.frame.get_column(spec.path)
        if isinstance(values.dtype, pl.List):
            _listed(work, spec, values)
        else:
            _single(work, spec, values)


def _single(work: Work, spec: FieldSpec, values: pl.Series) -> None:
    begun = first_bytes(values)
    if ((begun == ord("{")) | (begun == ord("["))).any():
        wrong = values.str.starts_with("{") | values.str.contains(r'^\[\s*["{\]]')
        work.refuse(wrong, Reason.WRONG_TYPE, spec.path)
    person = _is_end_user(work, spec)
    if person is None or person.any():
        batch_index = values if person is None else values.set(~person, None)
        found = normalise_column(batch_index, spec.kind, _channel(work, spec))
        role = work.everywhere("role", spec.role)
        rows = pl.DataFrame(
            [work.frame.get_column(ID), role, found.get_column("kind"), found.get_column("value")]
        )
        work.subjects.append(rows.drop_nulls("value") if found.get_column("value").null_count() else rows)
        _respelled(work, spec, batch_index, found.get_column("value"))
        _kind_column(work, spec, found.get_column("kind"))
    if person is not None and not person.all():
        _business(work, spec, values.set(person, None))


def _listed(work: Work, spec: FieldSpec, values: pl.Series) -> None:
    """Subjects in a list (`group[].to`): all of them end users, any number a record."""
    opened = pl.DataFrame([work.frame.get_column(ID), values.alias("text")])
    channel = _channel(work, spec)
    if isinstance(channel, pl.Series):
        opened = opened.with_columns(channel.alias("channel"))
        opened = opened.explode("text").drop_nulls("text")
        channel = opened.get_column("channel")
    else:
        opened = opened.explode("text").drop_nulls("text")
    found = normalise_column(opened.get_column("text"), spec.kind, channel)
    rows = found.with_columns(opened.get_column(ID), pl.lit(spec.role).alias("role"))
    work.subjects.append(rows.drop_nulls("value").select(ID, "role", "kind", "value"))
    work.keep(spec.path, values.list.drop_nulls().list.join("\n").replace("", None))


def _channel(work: Work, spec: FieldSpec) -> str | pl.Series | None:
    """What a chat id is scoped by; nothing for other kinds of address."""
    if spec.kind != "chat":
        return None
    return work.columns["channel"].cast(pl.String)


def _is_end_user(work: Work, spec: FieldSpec) -> pl.Series | None:
    """None: always; otherwise a Boolean column."""
    if spec.end_user == "always":
        return None
    if isinstance(spec.end_user, Condition):
        return holds(work.frame, spec.end_user, doubt=True)  # in doubt a person
    return work.everywhere(spec.path, False)


def _business(work: Work, spec: FieldSpec, values: pl.Series) -> None:
    # By Arrow's dictionary: queries would cost a small batch more than all of its values.
    coded = values.to_arrow().dictionary_encode()
    distinct = [text if text.strip() else None for text in coded.dictionary.to_pylist()]
    codes = pl.Series(coded.indices).cast(pl.UInt32)
    known = [None if text is None else business_address(text, spec.longest) for text in distinct]
    _kind_column(work, spec, pl.Series([k and k.kind for k in known], dtype=pl.String)[codes])
    if None in distinct:
        values = pl.Series(distinct, dtype=pl.String)[codes].alias(values.name)
    if spec.business not in ("sender", "recipient"):
        work.keep(spec.path, values)
        return
    addresses = [k and k.address for k in known]
    address = pl.Series(addresses, dtype=pl.String)[codes]
    work.put(spec.business, address, pl.Series(addresses, dtype=pl.String))
    if addresses == distinct:
        return
    bad = values.is_not_null() & address.is_null()
    if bad.any():
        work.withheld[spec.path] = ((spec.business,), bad)
    _respelled(work, spec, values.set(bad, None), address)


def _respelled(work: Work, spec: FieldSpec, text: pl.Series, value: pl.Series) -> None:
    """Keep in the window what was written where the value has lost its spelling."""
    changed = text != value
    if changed.any():
        work.keep(spec.path, text.set(~changed.fill_null(False), None))


def _kind_column(work: Work, spec: FieldSpec, kinds: pl.Series) -> None:
    if spec.role in _SOURCES:
        work.put("source_kind", kinds)
    elif spec.role in _DESTINATIONS:
        work.put("destination_kind", kinds)
