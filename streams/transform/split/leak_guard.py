"""The leak guard: no column of an archive row may hold one of the row's own subjects, in any usual spelling, and none
may hold anything shaped like an address where its declaration has none.

Declarations and code patterns keep free text out; the guard is the second lock. It is cheap because it turns the
question round: columns have few distinct values, so the runs of digits and the pieces of text that could be somebody's
are worked out once for each distinct value, and the subjects of the whole batch are looked up among them in one go.
Only the few that are found are compared with their own rows.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

import polars as pl
import pyarrow.compute as pc

from lethe.schemas.declaration.vocabulary import MADE_KEY, PLATFORM_ID
from lethe.streams.transform.split.rules import ID

GUARDED: Final = ("account", "application", "sender", "recipient", "network", "route", "status", "error")
ADDRESSES: Final = frozenset({"sender", "recipient"})  # a business's own number or e-mail address may be here

# A subject is recognised by the end of its number: what every spelling of it, national or not, has in common.
_RUNS: Final = (6, 7, 8)
# Where a national number has four or five digits (Niue, Ascension, the Falklands) they are all there is to see.
_SHORT_RUNS: Final = (4, 5)
_SHORTEST: Final = 8  # digits of a whole number with so short a national one
_MANY_DIGITS: Final = rf"(?:[0-9][^0-9]*){{{_RUNS[-1]}}}"
# A word this long gives somebody away wherever it stands; a shorter one (`info`, `sara`) only when it stands alone.
_LONG_WORD: Final = 8
_SHORT_WORD: Final = 4
_GRAM: Final = 6
_DECODED: Final = 3

_SHAPES: Final = re.compile(
    r"[^\s@<>]@[^\s@<>]|\b(?:sips?|tel|mailto):|(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9.])|::|(?:[0-9a-f]{1,4}:){4}"
)
_IN_ADDRESSES: Final = re.compile(
    r"\b(?:sips?|tel|mailto):|(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9.])|::"
)
# A key made by a machine has digits enough for a number, but letters among them.
_MADE: Final = re.compile(f"(?=.*[A-Fa-f])(?:{MADE_KEY})")
_PLATFORM: Final = re.compile(PLATFORM_ID)
_MARKS: Final = r"[\W_]+"
_LONG_RUN: Final = 9  # digits: shorter than a phone number with its country, an IMSI (15) or an IMEI (14)
_LONGEST_NUMBER: Final = 15  # digits of E.164


def plain(text: str) -> str:
    """Return the text as a searcher would read it: percent-decoded (up to three times), compatibility-folded, lower
    case.
    """
    for _ in range(_DECODED):
        decoded = unquote(text)
        if decoded == text:
            break
        text = decoded
    return unicodedata.normalize("NFKC", text).casefold()


def digits(text: str) -> str:
    """Return the decimal digits of the plain text, in ASCII, whatever stands between them left out."""
    return "".join(str(unicodedata.digit(c)) for c in plain(text) if c.isdecimal())


@lru_cache(maxsize=1 << 16)
def misshapen(text: str, column: str, long_digits: bool = False) -> bool:
    """Tell whether a value looks like an address that its column has no place for.

    `long_digits`: the declaration fills the column with ids of the vendor's own that have many digits.
    """
    read = plain(text)
    if column in ADDRESSES:
        long = len(digits(text)) > _LONGEST_NUMBER and not _PLATFORM.fullmatch(text)
        return long or bool(_IN_ADDRESSES.search(read))
    if _MADE.fullmatch(text):
        return False
    return bool(_SHAPES.search(read)) or (not long_digits and len(digits(text)) >= _LONG_RUN)


@lru_cache(maxsize=1 << 16)
def _traces(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return what of a value could be part of a subject: runs of its digits, pieces of its plain text."""
    number, word = digits(text), plain(text)
    runs = {number[at : at + size] for size in _RUNS for at in range(len(number) - size + 1)}
    sizes = range(_SHORT_WORD, _GRAM + 1)
    return frozenset(runs), frozenset(
        word[at : at + size] for size in sizes for at in range(len(word) - size + 1)
    )


@lru_cache(maxsize=1 << 14)
def _short_runs(text: str) -> frozenset[str]:
    number = digits(text)
    return frozenset(number[at : at + size] for size in _SHORT_RUNS for at in range(len(number) - size + 1))


def leaks(
    records: pl.DataFrame,
    subjects: pl.DataFrame,
    long_digits: frozenset[str] = frozenset(),
    words: Mapping[str, pl.Series] = MappingProxyType({}),
) -> dict[str, pl.Series]:
    """Find the rows of each guarded column that hold one of their own subjects, or an address where none may be.

    `records`: `ID` and any of `GUARDED` (String). `subjects`: `ID`, `kind`, `value`; several rows an id.
    `long_digits`: columns that the declaration fills with ids of many digits. `words`: of columns whose distinct values
    are known, all of those, among which may be others.
    Returns column -> Boolean Series aligned with `records`; columns without a hit are left out.
    """
    hits: dict[str, pl.Series] = {}
    distinct: dict[str, list[str]] = {
        column: [v for v in _distinct(records, column, words) if v is not None]
        for column in GUARDED
        if column in records.columns
    }
    distinct = {column: values for column, values in distinct.items() if values}
    name: str
    for name, values in distinct.items():
        bad = [v for v in values if misshapen(v, name, name in long_digits)]
        if bad:
            hits[name] = records.get_column(name).is_in(bad).fill_null(False)
    hits = {name: mask for name, mask in hits.items() if mask.any()}
    if subjects.is_empty() or not distinct:
        return hits
    suspects = _suspects(subjects, {v for values in distinct.values() for v in values})
    if suspects.is_empty():
        return hits
    for name, mask in _compare(records, suspects, list(distinct)).items():
        hits[name] = hits[name] | mask if name in hits else mask
    return hits


def _distinct(records: pl.DataFrame, column: str, words: Mapping[str, pl.Series]) -> Iterable[str | None]:
    if column in words:
        return words[column]
    # By Arrow, at a fraction of what a query costs a small batch.
    return list(pc.unique(records.get_column(column).to_arrow()).to_pylist())


def _suspects(subjects: pl.DataFrame, values: set[str]) -> pl.DataFrame:
    """Return the subjects that some value of the batch could hold: `ID`, `run`, `word`, `whole`."""
    runs: set[str] = set()
    grams: set[str] = set()
    for text in values:
        some_runs, some_grams = _traces(text)
        runs |= some_runs
        grams |= some_grams
    lengths = subjects.get_column("value").str.len_bytes()
    if ((lengths <= _SHORTEST) & (subjects.get_column("kind") == "msisdn")).any():
        runs = runs.union(*map(_short_runs, values))
    value = pl.col("value")
    number = pl.col("kind") == "msisdn"
    found = []
    if runs:
        # Every national number keeps at least this much of the international one, whatever its country code.
        size = value.str.len_bytes()
        end = (
            pl.when(size >= 11)
            .then(value.str.slice(-8))
            .when(size == 10)
            .then(value.str.slice(-7))
            .when(size == 9)
            .then(value.str.slice(-6))
            .when(size == _SHORTEST)
            .then(value.str.slice(-5))
            .otherwise(value.str.slice(-4))
        )
        numbers = (
            subjects.lazy().filter(number).select(ID, run=end, word=pl.lit(None, pl.String), whole="value")
        )
        found.append(numbers.filter(pl.col("run").is_in(list(runs))))
    people = subjects.get_column("kind") != "msisdn"
    if people.any():
        others = subjects.filter(people)
        looked_for = _words(others)
        beginning = pl.col("word").str.slice(0, _GRAM)
        found.append(
            looked_for.lazy().filter(
                beginning.is_in(list(grams)).fill_null(False)
                | pl.col("run").is_in(list(runs)).fill_null(False)
            )
        )
    if not found:
        return pl.DataFrame(schema={ID: pl.UInt32, "run": pl.String, "word": pl.String, "whole": pl.String})
    return pl.concat(found).collect()


def _words(subjects: pl.DataFrame) -> pl.DataFrame:
    """Return what to look for, given subjects that are no phone numbers: `ID`, `run` (of digits) or null, `word` or
    null,
    and `whole`, the address itself.
    """
    value = pl.col("value").str.to_lowercase()
    kind = pl.col("kind")
    bare, local = value, value.str.split_exact("@", 1).struct.field("field_0")
    if not (subjects.get_column("kind") == "email").all():
        # Whatever kind it was taken for: the user of a SIP URI, the local part of an address, the id on a channel.
        bare = pl.when(kind == "chat").then(value.str.replace(r"^[^:]*:", "")).otherwise(value)
        bare = bare.str.replace(r"^(?:sips?|tel|mailto|client):", "")
        local = bare.str.split_exact("@", 1).struct.field("field_0")
    word = pl.when(local.str.len_chars() >= _SHORT_WORD).then(local).otherwise(bare)
    many = pl.when(pl.col("value").str.contains(_MANY_DIGITS)).then(
        pl.col("value")
    )  # few have: to look costs less
    number = many.str.replace_all(r"[^0-9]", "")
    words = subjects.select(
        ID,
        run=number.str.slice(-_RUNS[-1]),
        word=word,
        whole=value,
    ).with_columns(word=pl.when(pl.col("word").str.len_chars() >= _SHORT_WORD).then(pl.col("word")))
    # A local part too short to look for is looked for beside its domain.
    short = (pl.col("kind") == "email") & (local.str.len_chars() < _SHORT_WORD)
    domains = subjects.filter(short).select(
        ID, run=pl.lit(None, pl.String), word=value.str.split("@").list.last(), whole=value
    )
    if domains.height:
        words = pl.concat([words, domains])
    addresses = subjects.filter(pl.col("kind") == "ip")
    if addresses.is_empty():
        return words
    respelled = [
        (one, None, form, form) for one, text in addresses.select(ID, "value").rows() for form in _spelt(text)
    ]
    return pl.concat([words, pl.DataFrame(respelled, schema=words.schema, orient="row")])


def _spelt(address: str) -> list[str]:
    """Return other spellings of an IP address: as a decimal number and, version 6, in full."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return []
    return [str(int(known)), known.exploded]


def _compare(records: pl.DataFrame, suspects: pl.DataFrame, columns: list[str]) -> dict[str, pl.Series]:
    """Compare each suspect with its own row."""
    pairs = records.select(ID, *columns).join(suspects, on=ID)
    found: dict[str, set[int]] = {}
    for row in pairs.iter_rows(named=True):
        for column in columns:
            if row[column] is not None and _holds(row[column], column, row):
                found.setdefault(column, set()).add(row[ID])
    ids = records.get_column(ID)
    return {column: ids.is_in(list(some)) for column, some in found.items()}


def _holds(text: str, column: str, suspect: dict[str, str | None]) -> bool:
    run, word, whole = suspect["run"], suspect["word"], suspect["whole"]
    if run is not None and run in digits(text):
        return True
    read = plain(text)
    if whole is not None and _carries(read, plain(whole)):
        return True
    if word is not None and whole is not None and whole.endswith(f"@{word}"):
        return False  # a domain alone is nobody
    if whole is not None and len(whole) >= _SHORT_WORD and _stands_in(plain(whole), read):
        return True
    if word is None or (column in ADDRESSES and "@" in read and len(word) < _LONG_WORD):
        return False  # `info@` of one company is not `info@` of another
    return _stands_in(plain(word), read)


def _carries(sender: str, address: str) -> bool:
    """Tell whether a sender's local part carries a whole address, as VERP, SRS and relays write it."""
    carrier, at, _ = sender.rpartition("@")
    local, also, domain = address.rpartition("@")
    if not at or not also:
        return False
    if domain not in carrier:  # relays write other marks for `@` and for dots: `her_at_example_org`
        words, theirs = (f" {re.sub(_MARKS, ' ', one)} " for one in (carrier, domain))
        return theirs in words and f" {re.sub(_MARKS, ' ', local)} " in words.replace(theirs, "  ")
    rest = carrier.replace(domain, " ")
    return re.search(rf"(?<![^\W_]){re.escape(local)}(?![^\W_])", rest) is not None


def _stands_in(word: str, text: str) -> bool:
    if len(word) >= _LONG_WORD:
        return word in text
    return re.search(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", text) is not None
