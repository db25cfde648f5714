"""Records of any declared format with somebody's address planted everywhere, and the search for it in what comes out.

Nobody's address: each number ends in MARK and two digits, each name begins with NAME. Whatever of a record reaches the
archive, a log or a file name is searched for both, as a searcher would read it: percent-decoded, folded, digits alone.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from transform_kit import NOW
from written_lines import fitting_line

from lethe.schemas.declaration.fields import Condition, FieldSpec
from lethe.schemas.declaration.format import Format, bare
from lethe.schemas.transformed import TransformedBatch
from lethe.streams.transform.split.leak_guard import digits, plain

MARK = "739184"
NAME = "kanaria"
_EXAMPLES = {
    "name": "acme-1",
    "constant": "DELIVERED_OK",
    "number": "401",
    "digits": "40021",
    "mcc": "410",
    "mnc": "01",
    "sid": "AC" + "a" * 32,
    "key": "abcd1234",
    "account_number": "123456789012",
    "vendor_id": "106540352242922",
    "enhanced": "5.1.1",
    "action": "user.login",
}
_TIMES = {
    "iso": "2026-10-01T10:00:00.000+0000",
    "rfc2822": "Thu, 01 Oct 2026 10:00:00 +0000",
    "epoch_s": "1790848800",
    "epoch_ms": "1790848800000",
    "epoch_us": "1790848800000000",
    "yymmddhhmm": "2610011000",
    "iso_or_epoch_s": "2026-10-01 10:00:00",
    "syslog": "2026-10-01T10:00:00.000+00:00",
}


_FIGURES = frozenset({"decimal", "duration", "integer"})


@dataclass(frozen=True)
class Person:
    """One made-up end user: `address` as a vendor writes it."""

    address: str
    spellings: tuple[str, ...]
    figures: tuple[str, ...] = ()
    """Numbers that somebody's own makes: of such a size that a price, a duration or parts may be."""


def person(draw: Random) -> Person:
    tail = MARK + f"{draw.randrange(100):02d}"
    kind = draw.randrange(6)
    if kind <= 2:
        code, trunk, start = draw.choice(
            [("92", "0", "300"), ("44", "0", "77"), ("1", "1", "21"), ("49", "0", "151")]
        )
        number, national = f"{code}{start}{tail}", f"{start}{tail}"
        spaced = f"+{code} {start} {tail[:4]} {tail[4:]}"
        spellings = (
            number,
            f"+{number}",
            f"00{number}",
            f"{trunk}{national}",
            spaced,
            spaced.replace(" ", "-"),
            spaced.replace(" ", "."),
            f"({trunk}{start}) {tail[:3]}-{tail[3:]}",
            quote(f"+{number}"),
            quote(quote(spaced)),
            f"tel:+{number}",
            f"sip:+{number}@gw.example.net;user=phone",
            f"<sip:{number}@192.0.2.1>",
            f"whatsapp:+{number}",
            f"{number}@s.whatsapp.net",
            f"call {number} now",
            f"otp-{number}-1",
            f"/u/{national}/x",
            f'{{"to":"{number}"}}',
            "".join(chr(0x660 + int(c)) for c in number),
            "".join(chr(0xFF10 + int(c)) for c in f"{trunk}{national}"),
            " ".join(number),
            f"SIP/{number}-0000002a",
            f"{number}.mp3",
            f"x{national}",
        )
        parts = [(f"{start}{tail[:4]}", tail[4:]), (tail[:6], tail[6:]), ("0", tail), (tail[:3], tail[3:])]
        figures = (tail, national, *map(".".join, parts))
        return Person(draw.choice(spellings[:3]), spellings, figures)
    word = f"{NAME}.{''.join(draw.choice('bcdfg') for _ in range(5))}"
    if kind == 3:
        address = f"{word}@example.org"
        spellings = (
            address,
            address.upper(),
            quote(address, safe=""),
            f"mailto:{address}",
            f"K <{address}>",
            word,
            f"550 5.1.1 <{address}>: unknown",
            f"sip:{address}",
            f"u={word}&x=1",
        )
        return Person(address, spellings)
    if kind == 4:
        address = f"sip:{word}@pbx.example.com"
        spellings = (
            address,
            address.upper(),
            quote(address, safe=""),
            f'"K" <{address}>;tag=1',
            f"sofia/x/{word}@pbx",
            word,
            f"SIP/{word}-00000001",
        )
        return Person(address, spellings)
    address = f"{NAME.upper()}{draw.randrange(10**6):06d}{MARK}"
    return Person(address, (address, address.lower(), quote(address), f"id={address}", f"@{address}"))


@dataclass
class Tally:
    """How many addresses were planted, and how many bytes were searched for them."""

    planted: int = 0
    searched: int = 0


@lru_cache(maxsize=256)
def _read(fmt: Format) -> tuple[tuple[FieldSpec, ...], frozenset[str]]:
    """The parties of a format, and the fields that decide who of them is an end user."""
    conditions = [c for f in fmt.subjects if isinstance(c := f.end_user, Condition)]
    return fmt.subjects, frozenset(path for c in conditions for path in c.fields())


def record(
    fmt: Format,
    who: Person,
    draw: Random,
    planted: float,
    tally: Tally | None = None,
    given: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """A record about somebody, the address in any spelling at every place with probability `planted`.

    `given`: what stands at some paths, whatever else would.
    """
    tally = tally or Tally()
    texts = {spec.path: _usual(spec, draw) for spec in fmt.fields}
    named = False
    for condition in fmt.skips:  # a record that is a communication
        texts[condition.field or ""] = (condition.is_not or ("x",))[0]
    for path in fmt.charge.plus if fmt.charge else ():  # figures, though the window keeps them
        texts[path] = "0.01"
    parties, decisive = _read(fmt)
    for spec in parties:
        end_user = spec.end_user in ("always", "unless_own") or (
            isinstance(spec.end_user, Condition) and _holds(spec.end_user, texts) is not False
        )
        tally.planted += end_user
        named |= end_user
        texts[spec.path] = who.address if end_user else draw.choice(["ACME", "24365", "385958110027"])

    def spelt() -> str:
        tally.planted += 1
        return who.spellings[int(draw.random() * len(who.spellings))]

    for spec in fmt.fields:
        if (
            draw.random() < planted * (0.2 if spec.required else 1)
            and spec.path not in decisive
            and spec.class_ != "subject"
        ) or (spec.class_ == "subject" and spec.end_user == "never" and draw.random() < planted):
            texts[spec.path] = spelt()
    for spec in fmt.archive if named and who.figures else ():  # of nobody else can it be told whose they are
        if spec.type in _FIGURES and spec.path not in decisive and draw.random() < planted:
            tally.planted += 1
            # The last has six digits as a duration: no more than any call of some minutes to a thousandth.
            texts[spec.path] = draw.choice(who.figures[:-1] if spec.type == "duration" else who.figures)
    texts |= given
    if fmt.encoding == "csv":
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(
            [texts[c] if c in texts else spelt() for c in fmt.columns]
        )
        return line.getvalue().encode()
    if fmt.encoding == "combined":
        said = defaultdict(lambda: "-", {k: v.replace('"', '\\"') for k, v in texts.items()})
        seen = '"{method} {path} {protocol}" {status} {bytes} "{referer}" "{agent}"'
        return ("{address} {identity} {user} [{time}] " + seen).format_map(said).encode()
    if fmt.encoding == "lines":
        return fitting_line(fmt, texts, given)
    if fmt.encoding == "form":
        return urlencode({**texts, spelt(): spelt()}).encode()
    document: dict[str, Any] = {}
    for path, text in texts.items():
        _put(document, path, quote(text) if fmt.percent_encoded and draw.random() < 0.5 else text)
    _plant(document, spelt, draw, planted)
    if fmt.envelope and draw.random() < 0.2:
        document = {fmt.envelope: [document], spelt(): spelt()}
    for path in reversed(fmt.unwrap):
        document = {
            path: orjson.dumps(document).decode() if draw.random() < 0.3 else document,
            spelt(): spelt(),
        }
    return orjson.dumps(document)


_WORDS: dict[int, tuple[FieldSpec, list[str]]] = {}


def _words(spec: FieldSpec) -> list[str]:
    """The words a record may have in a field, `*` filled in; kept, since it is asked for every record."""
    known = _WORDS.get(id(spec))
    if known is None:
        known = _WORDS[id(spec)] = (spec, [word.replace("*", "x") for word in spec.values or ()])
    return known[1]


def _usual(spec: FieldSpec, draw: Random) -> str:
    if spec.class_ not in ("archive", "usage"):
        return f"{spec.class_}-{int(draw.random() * 10**4)}"
    if spec.type == "timestamp":
        return _TIMES[spec.format]
    if spec.values:
        words = _words(spec)
        return words[int(draw.random() * len(words))]
    if spec.type == "enum":
        return {"currency": "EUR", "direction": "outbound", "channel": "sms", "status_group": "DELIVERED"}[
            spec.column or ""
        ]
    if spec.type == "code":
        return _EXAMPLES[spec.pattern or ""]
    return {"path": "/sms/3/logs", "boolean": "true", "mccmnc": "41001"}.get(spec.type or "", "2")


def _holds(condition: Condition, texts: dict[str, str]) -> bool | None:
    """As the conditions of a declaration read, told by hand."""
    if condition.any is not None:
        return any(_holds(c, texts) for c in condition.any)
    if condition.all is not None:
        return all(_holds(c, texts) for c in condition.all)
    text = texts[condition.field or ""].strip()
    if condition.present is not None:
        return bool(text) == condition.present
    if condition.matches is not None:
        return re.search(condition.matches, text) is not None
    if condition.is_ is not None:
        return text.lower() in {w.lower() for w in condition.is_}
    return text.lower() not in {w.lower() for w in condition.is_not or ()}


def _put(node: dict[str, Any], path: str, value: str) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        listed = parent.endswith("]")
        node = node.setdefault(bare(parent), [{}])[0] if listed else node.setdefault(parent, {})
    node[bare(leaf)] = [value] if leaf.endswith("]") else value


def _plant(node: Any, spelt: Any, draw: Random, planted: float) -> None:
    """Names, lists and objects that nobody declared, at every level."""
    for below in list(node.values()):
        for inner in below if isinstance(below, list) else [below]:
            if isinstance(inner, dict):
                _plant(inner, spelt, draw, planted)
    if draw.random() < planted:
        node[spelt()] = spelt()
    if draw.random() < planted:
        node["extra"] = {spelt(): [spelt(), {"x": spelt()}], "route": spelt(), "account": spelt()}


def found_in(text: str) -> bool:
    """Whether somebody can be read out of a text."""
    return NAME in plain(text) or MARK in digits(text)


def in_bytes(data: bytes) -> bool:
    """Whether somebody can be read out of bytes as they are."""
    return MARK.encode() in data or NAME.encode() in data.lower()


def traces(home: Path, tally: Tally | None = None) -> list[str]:
    """Every place under a directory where somebody can be read: files, columns, names."""
    tally = tally or Tally()
    found = []
    for file in sorted(p for p in home.rglob("*") if p.is_file()):
        name, data = str(file.relative_to(home)), file.read_bytes()
        tally.searched += len(data)
        if in_bytes(name.encode()) or in_bytes(data):
            found.append(name)
        if file.suffix == ".parquet":
            table = pq.read_table(file, partitioning=None)
            whole = name.startswith(("metadata/", "ledger/"))
            for column in table.column_names if whole else _CLEAR & set(table.column_names):
                if column not in _HASHES and _told(table.column(column), tally):
                    found.append(f"{name}:{column}")
    return found


_CLEAR = {"stream", "role", "kind", "format", "reason", "detail", "form", "month"}
_HASHES = ("integrity_hash", "merkle_root", "rows_sha3_512")


def _told(values: pa.ChunkedArray, tally: Tally) -> bool:
    texts = [str(v) for v in values.unique().to_pylist() if v is not None]
    tally.searched += sum(map(len, texts))
    return any(map(found_in, texts))


def leaks_of(transformed: TransformedBatch, tally: Tally | None = None) -> list[str]:
    """Where in what is stored in the clear somebody is found: tables and columns, never a value."""
    tally = tally or Tally()
    found = []
    clear = {
        "metadata": transformed.metadata,
        "identifiers": transformed.identifiers.drop_columns(["token", "sealed", "message_token"]),
        "quarantine": transformed.quarantine.drop_columns(["sealed"]),
        "usage": transformed.usage.drop_columns(["sealed"]),
    }
    for table, rows in clear.items():
        for column in rows.column_names:
            values = rows.column(column)
            if pa.types.is_binary(values.type) or pa.types.is_fixed_size_binary(values.type):
                continue
            if _told(values, tally):
                found.append(f"{table}.{column}")
    for word in (*transformed.counts.reasons, repr(transformed)):
        if found_in(word):
            found.append("counts")
    file = io.BytesIO()
    pq.write_table(transformed.metadata, file, compression="none", use_dictionary=False)
    tally.searched += file.tell()
    if in_bytes(file.getvalue()):
        found.append("parquet")
    return found


__all__ = [
    "MARK",
    "NAME",
    "NOW",
    "Person",
    "Tally",
    "found_in",
    "in_bytes",
    "leaks_of",
    "person",
    "record",
    "traces",
]
