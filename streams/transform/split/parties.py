"""The parties of each record: end users become subjects, businesses fill a column of the archive."""

from __future__ import annotations

import re
from typing import Final

import orjson
import polars as pl

from lethe.schemas.declaration.fields import Condition, FieldSpec
from lethe.schemas.declaration.format import Format
from lethe.schemas.declaration.vocabulary import DESTINATIONS, OTHER_END, SOURCES
from lethe.schemas.line import Line
from lethe.schemas.subjects.address_columns import normalise_column
from lethe.schemas.subjects.addresses import HOST_WITH_PORT, Reading, Subject, several
from lethe.schemas.subjects.business import business_address
from lethe.streams.transform.batch import Reason
from lethe.streams.transform.frames import first_bytes
from lethe.streams.transform.split._collected import (
    ArchiveColumns,
    KeptTexts,
    Rejections,
    constant,
    no_subjects,
)
from lethe.streams.transform.split.carriers import without_carriers
from lethe.streams.transform.split.conditions import holds
from lethe.streams.transform.split.rules import ID

_STEPS: Final = re.compile(r"\.?([^.\[\]]*)(\[0\])?")
Swapped = tuple[str, pl.Series] | None
"""The other role of a field and where it has it; None for a field that has its own everywhere."""
_LONG: Final = 20  # bytes: no two addresses in brackets are shorter


def read_parties(
    frame: pl.DataFrame,
    fmt: Format,
    line: Line,
    columns: ArchiveColumns,
    kept: KeptTexts,
    rejections: Rejections,
) -> pl.DataFrame:
    """Return the subjects of the decoded `frame` (`ID`, `role`, `kind`, `value`), and fill columns with businesses.

    The columns `channel` and `event_time` must be filled: one scopes chat ids, the other says which numbers were the
    site's own that day.
    """
    found: list[pl.DataFrame] = []
    told: dict[str, pl.Series] = {}  # where a field, or one that stands in for it, names somebody
    for spec in fmt.subjects:
        swap = _swapped(spec, fmt, frame)
        around = fmt.within(spec) if spec.instead_of else None
        values = frame.get_column(around or spec.path)
        how = _reading(spec, line)
        channel = columns.values["channel"].cast(pl.String) if spec.kind == "chat" else None
        if isinstance(values.dtype, pl.List):
            values = values.list.drop_nulls()
            if isinstance(spec.end_user, Condition):
                # A business is alone in its list: of several, some are people whatever the condition says.
                several = (values.list.len() > 1).fill_null(False)
                people = holds(frame, spec.end_user, doubt=True) | several
                _business(spec, values.list.first().set(people, None), columns, kept, swap)
                values = values.set(~people, None)
            found.append(_listed(frame, spec, values, how, channel, kept, swap))
            continue
        if around is None:
            _reject_containers(spec, values, how, rejections)
        if spec.nobody:
            words = list(map(str.lower, spec.nobody))
            nobody = values.str.strip_chars().str.to_lowercase().is_in(words).fill_null(False)
            kept.keep(spec.path, values.set(~nobody, None))
            values = values.set(nobody, None)
        if spec.instead_of is not None:
            values = _standing_in(spec, spec.instead_of, values, frame, told, kept, around)
        domains = None if spec.domain is None else frame.get_column(spec.domain)
        person = _is_end_user(frame, spec)
        theirs = values if person is None else values.set(~person, None)
        own = None
        if (
            person is None or person.any()
        ):  # only what may be somebody is read as an address: it costs the most
            kinds, addresses = _read(theirs, how, channel, domains)
            if spec.end_user == "unless_own" and line.own is not None:
                person = ~_own(line, kinds, addresses, columns.values["event_time"])
                own = addresses.set(person, None)
                theirs, kinds, addresses = (one.set(~person, None) for one in (values, kinds, addresses))
            found.append(_end_users(frame, spec, how, theirs, (kinds, addresses), columns, kept, swap))
        if person is not None and not person.all():
            _business(spec, values.set(person, None), columns, kept, swap, own)
    subjects = pl.concat(found) if found else no_subjects()
    if len(found) > 1 or any("[]" in spec.path for spec in fmt.subjects):
        subjects = subjects.unique(maintain_order=True)  # the same address in two fields is one
        subjects = without_carriers(subjects, frame, fmt, kept)
    return subjects


def _swapped(spec: FieldSpec, fmt: Format, frame: pl.DataFrame) -> Swapped:
    """Return what a field's role is elsewhere, and where; in doubt the role is the declared one."""
    swap = fmt.swap_of(spec) if fmt.swaps else None
    return None if swap is None else (swap[0], holds(frame, swap[1], doubt=False))


def _roles(spec: FieldSpec, height: int, swap: Swapped) -> pl.Series:
    """Return the role of a field in each record."""
    roles = constant("role", spec.role, height)
    return roles if swap is None else roles.set(swap[1], swap[0])


def _reading(spec: FieldSpec, line: Line) -> Reading:
    if spec.digits == "dialled":
        longest_first = sorted(filter(None, line.dial_prefixes), key=len, reverse=True)
        return Reading(spec.kind, True, line.country, tuple(longest_first))
    return Reading(spec.kind, country=line.country, little_endian=spec.byte_order == "little")


def _reject_containers(spec: FieldSpec, values: pl.Series, how: Reading, rejections: Rejections) -> None:
    """Reject rows with an object or a list where an address should be, unless a text holds the address as JSON."""
    begun = first_bytes(values)
    if not ((begun == ord("{")) | (begun == ord("["))).any():
        return
    wrong = values.str.starts_with("{") | values.str.contains(r'^\[\s*["{\]]')
    wrong = wrong.fill_null(False)
    for at in wrong.arg_true():
        if several(values[at], how):
            wrong[at] = False
    rejections.add(wrong, Reason.WRONG_TYPE, spec.path)


def _standing_in(
    spec: FieldSpec,
    base: str,
    values: pl.Series,
    frame: pl.DataFrame,
    told: dict[str, pl.Series],
    kept: KeptTexts,
    around: str | None,
) -> pl.Series:
    """Return the values of a field where the one it stands in for names nobody; keep the others in the window."""
    if base not in told:
        text = frame.get_column(base)
        told[base] = (text.str.strip_chars() != "").fill_null(False)
    if around is None:
        kept.keep(spec.path, values.set(~told[base], None))
    values = values.set(told[base], None)
    if around is not None and values.null_count() < len(values):
        steps = spec.path.removeprefix(around)
        values = pl.Series([None if t is None else _inside(t, steps) for t in values], dtype=pl.String)
    told[base] = told[base] | (values.str.strip_chars() != "").fill_null(False)
    return values


def _inside(text: str, path: str) -> str | None:
    """Return the text at a path (`[0].profile.number`) inside of JSON; None where there is none."""
    try:
        node = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    for name, first in _STEPS.findall(path):
        if name:
            node = node.get(name) if isinstance(node, dict) else None
        if first and isinstance(node, list):
            node = node[0] if node else None
    return str(node) if isinstance(node, str | int) and not isinstance(node, bool) else None


def _read(
    values: pl.Series, how: Reading, channel: pl.Series | None, domains: pl.Series | None
) -> tuple[pl.Series, pl.Series]:
    """Return kinds and values of addresses; a user with the host of another field is one address."""
    read = normalise_column(values, how, channel)
    kinds, addresses = read.get_column("kind"), read.get_column("value")
    if domains is not None and (alone := (kinds == "opaque").fill_null(False)).any():
        hosts = (
            domains.str.strip_chars()
            .str.to_lowercase()
            .str.replace(HOST_WITH_PORT, "$1")
            .str.strip_chars_end(".")
        )
        both = (
            alone
            & (hosts != "").fill_null(False)
            & ~addresses.str.contains("@", literal=True).fill_null(False)
        )
        kinds = kinds.set(both, "sip")
        addresses = (addresses.str.to_lowercase() + "@" + hosts).zip_with(both, addresses)
    return kinds, addresses


def _is_end_user(frame: pl.DataFrame, spec: FieldSpec) -> pl.Series | None:
    """Return where the party is an end user by its declaration, as a Boolean column; None for everywhere."""
    if spec.end_user in ("always", "unless_own"):
        return None
    if isinstance(spec.end_user, Condition):
        return holds(frame, spec.end_user, doubt=True)  # in doubt a person
    return constant(spec.path, False, frame.height)


def _own(line: Line, kinds: pl.Series, addresses: pl.Series, when: pl.Series) -> pl.Series:
    """Return where an address was one of the site's own numbers on the day of the event, by the line's clock or UTC."""
    own = line.own
    assert own is not None  # noqa: S101  (asked of lines that have some)
    if line.zone is not None:
        when = when.dt.convert_time_zone(line.zone).dt.replace_time_zone(None)
    digits = addresses.set(~kinds.is_in(["msisdn", "opaque"]).fill_null(False), None)
    pairs = pl.DataFrame({"digits": digits, "day": when.dt.epoch("d")})
    known = {
        (number, day): own.has(number, day)
        for number, day in pairs.unique().rows()
        if number is not None and day is not None
    }
    return pl.Series([known.get(pair, False) for pair in pairs.rows()], dtype=pl.Boolean)


def _end_users(
    frame: pl.DataFrame,
    spec: FieldSpec,
    how: Reading,
    values: pl.Series,
    read: tuple[pl.Series, pl.Series],
    columns: ArchiveColumns,
    kept: KeptTexts,
    swap: Swapped,
) -> pl.DataFrame:
    """Return the subjects of one field: those of its `values` that are not null, and were `read` so."""
    kinds, addresses = read
    role = _roles(spec, frame.height, swap)
    rows = pl.DataFrame([frame.get_column(ID), role, kinds.alias("kind"), addresses.alias("value")])
    _keep_spelling(spec, values, addresses, kept)
    _put_kinds(spec, kinds, columns, swap)
    if how.kind in ("auto", "email", "ip"):
        lists = kinds == "opaque"
        if (values.str.len_bytes() > _LONG).any():
            # `Ann <ann@example.org>, Bob <bob@example.org>`: the last would be taken for the whole.
            lists |= values.str.contains(r"[,;|\n][^<]*<")
        if lists.any():
            rows = _lists_opened(rows, values, how, lists)
    return rows.drop_nulls("value") if rows.get_column("value").null_count() else rows


def _lists_opened(rows: pl.DataFrame, values: pl.Series, how: Reading, lists: pl.Series) -> pl.DataFrame:
    """Return the rows with those of `lists` that hold several addresses replaced by one row each."""
    opened: dict[int, list[Subject]] = {}
    for at in lists.fill_null(False).arg_true():
        if found := several(values[at], how):
            opened[at] = found
    if not opened:
        return rows
    more = [
        (*rows.row(at)[:2], subject.kind, subject.value) for at, found in opened.items() for subject in found
    ]
    whole = pl.Series(range(rows.height)).is_in(list(opened))
    return pl.concat([rows.filter(~whole), pl.DataFrame(more, schema=rows.schema, orient="row")]).sort(
        ID, maintain_order=True
    )


def _listed(
    frame: pl.DataFrame,
    spec: FieldSpec,
    values: pl.Series,
    how: Reading,
    channel: pl.Series | None,
    kept: KeptTexts,
    swap: Swapped,
) -> pl.DataFrame:
    """Read subjects in lists (`group[].to`): all of them end users, any number a record."""
    role = _roles(spec, frame.height, swap)
    opened = pl.DataFrame([frame.get_column(ID), role, values.alias("text")])
    if channel is not None:
        opened = opened.with_columns(channel.alias("channel"))
    opened = opened.explode("text").drop_nulls("text")
    scope = None if channel is None else opened.get_column("channel")
    found = normalise_column(opened.get_column("text"), how, scope)
    rows = found.with_columns(opened.get_column(ID), opened.get_column("role"))
    kept.keep(spec.path, values.list.join("\n").replace("", None))
    return rows.drop_nulls("value").select(ID, "role", "kind", "value")


def _business(
    spec: FieldSpec,
    values: pl.Series,
    columns: ArchiveColumns,
    kept: KeptTexts,
    swap: Swapped,
    own: pl.Series | None = None,
) -> None:
    """Put the addresses of businesses into their column; keep in the window what the archive may not hold.

    `own`: the site's own numbers among `values` in the one spelling that each has, however it was written.
    """
    written, values = values, values if own is None else own
    # By Arrow's dictionary: queries would cost a small batch more than all of its values.
    coded = values.to_arrow().dictionary_encode()
    distinct = [text if text.strip() else None for text in coded.dictionary.to_pylist()]
    codes = pl.Series(coded.indices).cast(pl.UInt32)
    known = [None if text is None else business_address(text, spec.longest) for text in distinct]
    _put_kinds(spec, pl.Series([k and k.kind for k in known], dtype=pl.String)[codes], columns, swap)
    if None in distinct:
        values = pl.Series(distinct, dtype=pl.String)[codes].alias(values.name)
    if spec.business not in ("sender", "recipient"):
        kept.keep(spec.path, written)
        return
    addresses = [k and k.address for k in known]
    address = pl.Series(addresses, dtype=pl.String)[codes]
    bad = None if addresses == distinct else values.is_not_null() & address.is_null()
    for column, there in _either(spec.business, OTHER_END[spec.business], swap):
        mine = address if there is None else address.set(~there, None)
        columns.put(column, mine, pl.Series(addresses, dtype=pl.String))
        if bad is not None and (withheld := bad if there is None else bad & there).any():
            kept.withheld[spec.path, column] = withheld
    if bad is None and own is None:
        return
    _keep_spelling(spec, written if bad is None else written.set(bad, None), address, kept)


def _keep_spelling(spec: FieldSpec, text: pl.Series, value: pl.Series, kept: KeptTexts) -> None:
    """Keep in the window what was written where the value has lost its spelling."""
    changed = text != value
    if value.null_count() > text.null_count():  # nobody is named, but something was written
        changed = changed.set(value.is_null() & (text != "").fill_null(False), True)
    if changed.any():
        kept.keep(spec.path, text.set(~changed.fill_null(False), None))


def _put_kinds(spec: FieldSpec, kinds: pl.Series, columns: ArchiveColumns, swap: Swapped) -> None:
    """Say what kind of address each party has."""
    for role, there in _either(spec.role or "", swap[0] if swap else "", swap):
        mine = kinds if there is None else kinds.set(~there, None)
        if role in SOURCES:
            columns.put("source_kind", mine)
        elif role in DESTINATIONS:
            columns.put("destination_kind", mine)


def _either(own: str, other: str, swap: Swapped) -> list[tuple[str, pl.Series | None]]:
    """Return where a field is what it was declared to be and where it is the other thing; None for everywhere."""
    return [(own, None)] if swap is None else [(own, ~swap[1]), (other, swap[1])]
