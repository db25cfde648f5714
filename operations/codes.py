"""Name what stand-ins of codes stand for: once the site approves it, or so many people share it that it names none.

What a stand-in stands for is known while the month's key lives: the text is in the window, and made into a stand-in
again it must give the same. So this runs on the leader daily, and in the last days of a key hourly. Archive rows never
change; the views of `lethe sql` put the names in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lethe.keys.tokens import subject_token
from lethe.operations.asker import Asker, record
from lethe.operations.runtime import Runtime
from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Format
from lethe.schemas.declaration.vocabulary import CODE_MAX_LENGTH, CODES
from lethe.schemas.errors import ConfigurationError, InputError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month, window_end
from lethe.schemas.subjects.addresses import normalise
from lethe.schemas.subjects.equivalents import typed
from lethe.streams.transform.decode.reshape import Shapeless, records
from lethe.streams.transform.seal.codes import stand_in
from lethe.streams.transform.seal.originals import RECEIVED
from lethe.streams.transform.split.leak_guard import digits, misshapen
from lethe.tiers.codes import shared, table
from lethe.tiers.codes.table import Named
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.monthly import Looks, digest, forget_with_archive
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.mentioned import texts_in
from lethe.tiers.window.records import Part, entries_of, open_parts

FEWEST: Final = 50
"""So many different people must share a code before it is taken to name none of them."""
_LARGEST_SHARE: Final = 10
"""None of them may be in more than one in so many of its records: a person's own code is in all records of theirs."""
_FEWEST_DIGITS: Final = 7  # of what could be dialled
_EXAMPLES: Final = 5
_AT_A_TIME: Final = 200
_LAST_DAYS: Final = timedelta(days=2)
_NOTES: Final = "_codes"


@dataclass(frozen=True, slots=True)
class Listed:
    """A stand-in of a month. `text`: what it stands for, where that is named, or was asked for with a reason."""

    month: str
    column: str
    stand_in: str
    rows: int
    subjects: str
    why: str | None
    text: str | None = field(default=None, repr=False)


def sweep(
    runtime: Runtime,
    only: Month | None = None,
    on_month: Callable[[int, int], None] = lambda _done, _of: None,
) -> dict[str, int]:
    """Look through every month whose keys open (or one); returns how many stand-ins were named in each."""
    warehouse = runtime.new_warehouse()
    months = {m: parts for m, parts in _parts(runtime).items() if only is None or m == only}
    allowed, found = approved(runtime), {}
    for number, (month, parts) in enumerate(months.items()):
        on_month(number, len(months))
        found[str(month)] = _name(warehouse, month, parts, allowed, runtime.clock())
    on_month(len(months), len(months))
    forget_with_archive(warehouse, table.NAME, runtime.clock())
    return found


def sweep_due(runtime: Runtime) -> dict[str, int]:
    """Look through the months that have changed since they were looked through, if that is most of a day ago.

    In the last days of a month's key at every change: afterwards nobody can tell any more.

    1. See which files the month has and what is approved. A crash here leaves nothing.
    2. Write what is new. A crash here leaves the month to be looked through again, which finds nothing new.
    3. Note the files: the month is left alone until it has others.
    """
    warehouse, now = runtime.new_warehouse(), runtime.clock()
    allowed, looks, found = approved(runtime), Looks(runtime.objects, _NOTES), {}
    paths: dict[str, list[str]] = {}
    for file in files_of(warehouse.metadata):
        paths.setdefault(file.partition["month"], []).append(file.path)
    for month, parts in _parts(runtime).items():
        # Step 1
        last = any(window_end(month, part.window_months) - now < _LAST_DAYS for part in parts)
        seen = digest([*sorted(paths.get(str(month), ())), *map(repr, sorted(allowed))])
        if not looks.is_due(month, seen, now, at_once=last):
            continue
        # Step 2
        found[str(month)] = _name(warehouse, month, parts, allowed, runtime.clock())
        # Step 3
        looks.note(month, seen, now)
    if found:
        forget_with_archive(warehouse, table.NAME, now)
    return found


def approve(runtime: Runtime, asker: Asker, column: str, text: str) -> None:
    """Say that a code names nobody, so that views may show it; told to the audit log first.

    Raises `InputError` for what looks like somebody's address: that stays in the window, whoever approves it.
    """
    text = text.strip()
    if column not in CODES:
        raise InputError(f"a code is in one of the columns {', '.join(sorted(CODES))}")
    if not text or len(text) > CODE_MAX_LENGTH or "\n" in text:
        raise InputError(f"a code is one line of at most {CODE_MAX_LENGTH} characters")
    if _is_address(column, text):
        raise InputError(
            "that looks like an address, which is never shown; mend the declaration of its field"
        )
    record(runtime, asker, "code.approve", column=column, code=text)
    name = sha256(f"{column}\0{text}".encode()).hexdigest()[:32]
    body = {
        "column": column,
        "text": text,
        "at": runtime.clock().astimezone(UTC).isoformat(),
        "who": asker.who,
    }
    runtime.objects.put(f"{_NOTES}/approved/{name}.json", orjson.dumps(body))


def approved(runtime: Runtime) -> set[tuple[str, str]]:
    """Return what the site has approved or lists in its file of codes: (column, text)."""
    found: set[tuple[str, str]] = set()
    for key in runtime.objects.list(f"{_NOTES}/approved"):
        try:
            body = orjson.loads(runtime.objects.get(key) or b"")
            found.add((str(body["column"]), str(body["text"])))
        except (ValueError, KeyError, TypeError):
            raise ConfigurationError(f"{key} cannot be read; approve the code again") from None
    listed = runtime.listed_codes
    if listed is not None:
        found |= {(column, text) for column, texts in listed().items() for text in texts}
    return {(column, text) for column, text in found if not _is_address(column, text)}


def _is_address(column: str, text: str) -> bool:
    read = normalise(text)
    return misshapen(text, column) or (read is not None and read.kind in ("msisdn", "email", "ip", "sip"))


def listing(runtime: Runtime, asker: Asker, month: Month, show: bool = False) -> list[Listed]:
    """List the stand-ins of a month. `show`: also what those stand for that are not named, with a case and a purpose.

    The audit entry is durable before anything is read.
    """
    warehouse = runtime.new_warehouse()
    if show:
        asker.needs_reason()
        record(runtime, asker, "codes.show", month=str(month))
    named = {(c, s): (text, why) for c, s, text, why in table.known(warehouse, month).rows()}
    rows = shared.carried(warehouse, month)
    counts = shared.subjects_of(warehouse, month, rows)
    texts: dict[tuple[str, str], str] = {}
    if show:
        for part in _parts(runtime).get(month, []):
            open_ones = counts.select("column_name", "stand_in").rows()
            texts |= _texts(warehouse, part, rows, [one for one in open_ones if one not in named])
    return [
        Listed(
            str(month), column, word, count, f"{people}" if people >= FEWEST else f"fewer than {FEWEST}",
            named[column, word][1] if (column, word) in named else None,
            named[column, word][0] if (column, word) in named else texts.get((column, word)),
        )
        for column, word, count, people in counts.select("column_name", "stand_in", "rows", "subjects").rows()
    ]  # fmt: skip


def _parts(runtime: Runtime) -> dict[Month, list[Part]]:
    found: dict[Month, list[Part]] = {}
    for part in open_parts(runtime.ring, runtime.clock()):
        found.setdefault(part.month, []).append(part)
    return found


def _name(
    warehouse: Warehouse, month: Month, parts: list[Part], allowed: set[tuple[str, str]], now: datetime
) -> int:
    find = partial(_found, warehouse, month, parts, allowed)
    return len(table.name(warehouse, month, now, find))


def _found(
    warehouse: Warehouse, month: Month, parts: list[Part], allowed: set[tuple[str, str]], there: pl.DataFrame
) -> list[Named]:
    """Find out what stand-ins of a month that are not named yet may be named."""
    rows = shared.carried(warehouse, month).join(there, on=["column_name", "stand_in"], how="anti")
    if not rows.height:
        return []
    waiting = set(rows.select("column_name", "stand_in").unique().rows())
    found: dict[tuple[str, str], Named] = {}
    for part in parts:
        for column, text in allowed:
            key = column, stand_in(part.keys, column, text)
            if key in waiting and not _is_somebody(warehouse, part, text):
                found[key] = Named(*key, text, "approved")
    # What stands in fewer records than there must be people is not counted any further.
    often = rows.filter(pl.len().over("column_name", "stand_in") >= FEWEST)
    counts = shared.subjects_of(warehouse, month, often)
    many = counts.filter((pl.col("subjects") >= FEWEST) & (pl.col("most") * _LARGEST_SHARE <= pl.col("rows")))
    common = [key for key in many.select("column_name", "stand_in").rows() if key not in found]
    common = [key for key in common if not _of_a_switch(rows, *key)]
    for part in parts:
        for key, text in _texts(warehouse, part, rows, common).items():
            dialable = len(digits(text)) >= _FEWEST_DIGITS or len(text) > CODE_MAX_LENGTH
            if not dialable and not _is_address(key[0], text) and not _is_somebody(warehouse, part, text):
                found[key] = Named(*key, text, "shared")
    return list(found.values())


def _of_a_switch(rows: pl.DataFrame, column: str, word: str) -> bool:
    """Tell whether a code is an account of a telephone exchange, where people have accounts of their own."""
    if column != "account":
        return False
    mine = (pl.col("column_name") == column) & (pl.col("stand_in") == word)
    for name in rows.filter(mine).get_column("format").unique():
        try:
            declared = formats.get_format(name)
        except ConfigurationError:
            return True  # of a declaration that is gone nobody can say
        if any(spec.end_user == "unless_own" for spec in declared.subjects):
            return True
    return False


def _is_somebody(warehouse: Warehouse, part: Part, text: str) -> bool:
    """Tell whether a text is the address of somebody in the month, whatever it looks like."""
    tokens = {subject_token(part.keys, one.kind, one.value) for one in typed(text)}
    if not tokens:
        return False
    identifiers = warehouse.window["identifiers"].dataset()
    which = pc.field("token").isin(pa.array(sorted(tokens), pa.binary(16)))
    return bool(identifiers.count_rows(filter=part.rows & which) > 0)


def _texts(
    warehouse: Warehouse, part: Part, rows: pl.DataFrame, keys: list[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """Read back what stand-ins stand for: the text in some of their records that gives the same stand-in again."""
    found: dict[tuple[str, str], str] = {}
    for start in range(0, len(keys), _AT_A_TIME):
        wanted = pl.DataFrame(
            keys[start : start + _AT_A_TIME], schema=["column_name", "stand_in"], orient="row"
        )
        examples = (
            rows.join(wanted, on=["column_name", "stand_in"], how="semi")
            .sort(shared.POSITION)
            .group_by("column_name", "stand_in", maintain_order=True)
            .head(_EXAMPLES)
        )
        places: dict[Position, list[tuple[str, str, str]]] = {}
        for *place, fmt, column, word in examples.select(
            *shared.POSITION, "format", "column_name", "stand_in"
        ).rows():
            places.setdefault(Position(*place), []).append((fmt, column, word))
        for position, entries in entries_of(warehouse, part, set(places)).items():
            for fmt, column, word in places[position]:
                if (column, word) in found:
                    continue
                for text in _candidates(entries, fmt, position.index):
                    if stand_in(part.keys, column, text) == word:
                        found[column, word] = text.strip()
                        break
    return found


def _candidates(entries: list[dict[str, Any]], name: str, index: int | None) -> Iterator[str]:
    """Yield every text of a record as the window keeps it."""
    for entry in entries:
        for text in texts_in(_opened(entry, name, index)):
            yield text
            if "%" in text:
                yield unquote(text)


def _opened(entry: dict[str, Any], name: str, index: int | None) -> Any:
    """Parse an entry of the window; None where today's declaration does not fit a value that is no JSON."""
    try:
        declared = formats.get(name)
        if entry["form"] == RECEIVED and isinstance(declared, Format) and declared.reshaped:
            return dict(records(entry["value"], declared)).get(index)
        return orjson.loads(entry["value"])
    except (ConfigurationError, Shapeless, orjson.JSONDecodeError):
        return None
