"""Fuzz targets: `python tests/fuzz/fuzz_targets.py TARGET [libFuzzer options] [CORPUS…]`.

Each takes bytes and raises where a law is broken: nothing crashes, no row shifts against its offset, every refusal has
a reason, what is normalised once stays as it is, a declaration is either sound or refused with a reason.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import atheris

with atheris.instrument_imports(include=["lethe.schemas", "lethe.streams", "lethe.integrity"]):
    import polars as pl

    from lethe.schemas.declaration import format as formats
    from lethe.schemas.declaration.format import Format
    from lethe.schemas.errors import ConfigurationError
    from lethe.schemas.retention.policy import RetentionPolicy
    from lethe.schemas.subjects.address_columns import normalise_column
    from lethe.schemas.subjects.addresses import normalise
    from lethe.schemas.subjects.business import business_address
    from lethe.streams.transform.batch import EXPLAINED
    from lethe.streams.transform.decode.decode import INDEX, ROW, decode
    from lethe.streams.transform.decode.delimited import read_line
    from lethe.streams.transform.seal.originals import quarantined
    from lethe.streams.transform.split.leak_guard import digits, leaks, plain
    from lethe.streams.transform.split.rules import ID, Rules
    from lethe.streams.transform.split.split import split

FORMATS = [f for f in formats.builtin().values() if isinstance(f, Format)]
RULES = Rules(RetentionPolicy(), "all", timedelta(days=1))
NOW = datetime(2026, 10, 15, tzinfo=UTC)
BETWEEN = b"\x1e"  # between the values of a batch


def batch(data: bytes) -> None:
    """The first byte picks a format, the rest is a batch: every value lands or is refused with a reason."""
    if not data:
        return
    fmt, values = FORMATS[data[0] % len(FORMATS)], data[1:].split(BETWEEN)[:32]
    decoded = decode(list(values), fmt, 1 << 16)
    parts = split(decoded, fmt, RULES, NOW)
    landed = parts.records.select(ROW, INDEX).rows()
    rejects = [*decoded.rejects, *parts.rejects]
    refused = [(r.row, r.index) for r in rejects]
    assert all(r.reason in EXPLAINED for r in rejects)
    assert len({*landed, *refused}) == len(landed) + len(refused)
    assert {row for row, _ in [*landed, *refused]} == set(range(len(values)))
    assert landed == sorted(landed, key=lambda p: (p[0], -1 if p[1] is None else p[1]))
    for row, value in enumerate(values[:4]):  # alone it is what it is among others
        alone = decode([value], fmt, 1 << 16)
        mine = decoded.frame.filter(pl.col(ROW) == row).drop(ROW)
        assert alone.frame.drop(ROW).equals(mine)
        here = [(r.index, r.reason, r.detail) for r in decoded.rejects if r.row == row]
        assert [(r.index, r.reason, r.detail) for r in alone.rejects] == here
        quarantined(value, None, fmt)


def address(data: bytes) -> None:
    """Any text is somebody or nobody, the same alone and in a column, and stays itself when it is read again."""
    text = data.decode("utf-8", "replace")
    for kind, channel in (
        ("auto", None),
        ("chat", "whatsapp"),
        ("chat", "telegram"),
        ("chat", "sms"),
        ("opaque", None),
    ):
        found = normalise(text, kind, channel)
        column = normalise_column(pl.Series([text, None, text]), kind, channel).rows()
        expected = (found.kind, found.value) if found else (None, None)
        assert column == [expected, (None, None), expected]
        if found and found.kind in ("msisdn", "email", "ip"):
            assert normalise(found.value) == found
    known = business_address(text, 64)
    assert known is None or (len(known.address) <= 254 and "\n" not in known.address)
    plain(text)
    digits(text)
    records = pl.DataFrame({ID: [0], "account": [text]}, schema={ID: pl.UInt32, "account": pl.String})
    if found := normalise(text):
        people = pl.DataFrame(
            {ID: [0], "kind": [found.kind], "value": [found.value]}, schema_overrides={ID: pl.UInt32}
        )
        hit = leaks(records, people)
        assert found.kind != "msisdn" or "account" in hit


def declaration(data: bytes) -> None:
    """Any text is a declaration that can be used, or is refused with what is wrong."""
    try:
        found = formats.parse_any(data.decode("utf-8", "replace"), "fuzzed.toml")
    except ConfigurationError as error:
        message = str(error)
    else:
        message = "fuzzed.toml: "
        _use(found)
    assert message.startswith("fuzzed.toml: ")


def _use(found: formats.Declaration) -> None:
    if isinstance(found, Format):
        line = b"," * (len(found.columns) - 1) if found.columns else b"{}"
        decoded = decode([line, b"x"], found, 1 << 16)
        split(decoded, found, RULES, NOW)


def line(data: bytes) -> None:
    """Any bytes are a line of the columns declared (the last may be optional), or are refused with a reason."""
    fmt = formats.get_format("asterisk/master")
    found = read_line(data, fmt)
    if isinstance(found, str):
        assert found in EXPLAINED
    else:
        assert list(found) == list(fmt.columns)[: len(found)]
        assert len(found) >= len(fmt.columns) - fmt.optional_columns


TARGETS: dict[str, Callable[[bytes], None]] = {
    "batch": batch,
    "address": address,
    "declaration": declaration,
    "line": line,
}

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
