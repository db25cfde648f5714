"""Text columns become the typed columns of the archive; what does not fit is told apart row by row.

Most fields have few distinct values, so anything that is not a plain cast is worked out once per distinct text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from lethe.schemas.declaration.fields import ENUM_VALUES, FieldSpec
from lethe.schemas.declaration.paths import template
from lethe.schemas.declaration.vocabulary import CODE_MAX_LENGTH, CODE_PATTERNS, CODES, KEY_SHAPE
from lethe.streams.transform.batch import Reason
from lethe.streams.transform.split.amounts import read_amount
from lethe.streams.transform.text_columns import iso_times

TIME = pl.Datetime("us", "UTC")
MONEY = pl.Decimal(18, 6)
_MICRO = Decimal("0.000001")
# Beyond what any of these can be lie phone numbers: a bound keeps one in the wrong field out of the archive.
MONEY_LIMIT = 10**7
_FIGURE_LIMIT = Decimal(10) ** 8  # as written, in whatever unit
_FIGURE_LIMIT_OF_NANOS = Decimal(10) ** 10
_NANOS = Decimal("0.0000001")
_MOST_PARTS = 10**6
_MOST_BYTES = 10**15
_MOST_EXPONENT = 30
_NOTHING = ["", "0", "<null>"]  # what is written for a time that never came
_MOST_SECONDS = 7 * 86_400  # a national number read as milliseconds is a month
_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
_OF_EXTENSIONS = ("account", "digits")  # what is called otherwise may be somebody's name
_ISO = frozenset({"iso", "iso_or_epoch_s", "syslog"})
_CLOCK = re.compile(r"([0-9]{1,4}):([0-5]?[0-9]):([0-5]?[0-9](?:[.,][0-9]{1,9})?)", re.ASCII)
_ISO_DURATION = re.compile(
    r"P(?:([0-9]{1,4})D)?(?:T(?:([0-9]{1,6})H)?(?:([0-9]{1,8})M)?(?:([0-9]{1,9}(?:[.,][0-9]{1,9})?)S)?)?",
    re.ASCII,
)
_UNITS = (3_600, 60, 1), (86_400, 3_600, 60, 1)
"""Seconds of what a clock and ISO 8601 say."""
_MIDNIGHT = re.compile(r"(?<=[0-9])([T ,]+)24:00(?=(?::00(?:[.,]0+)?)?\s*(?:$|[A-Z+-]))")
_BASIC = re.compile(
    r"[0-9]{8}T[0-9]{4}(?:[0-9]{2}(?:[.,][0-9]+)?)?(?:Z|[+-][0-9:]+)?"
)  # ISO 8601 without marks
_ZONE_NAME = re.compile(
    r"(Z|[+-][0-9]{2}:?[0-9]{2})\[[A-Za-z0-9_/+-]{1,64}\]$"
)  # RFC 9557, behind the offset
_LEAP_SECOND = re.compile(r"([T ,:][0-9]{2}:(?:59|29|44|14):)60(?:[.,]0*)?(?![0-9])")
_DATE = re.compile(
    r"([0-9]{1,2})[/.-]([0-9]{1,2})[/.-]([0-9]{4}|[0-9]{2})"
    r"(?:[T ,]+([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?"
    r"(?:\s*([AaPp][Mm]))?(?:\s*(Z|[+-][0-9]{2}:?[0-9]{2}))?)?", re.ASCII,
)  # fmt: skip
_NAMED_DATE = re.compile(
    r"(?:(?P<day>[0-9]{1,2})[ ./-](?P<month>[A-Za-z]{3,9})|(?P<named>[A-Za-z]{3,9})[ ./-](?P<number>[0-9]{1,2}))"
    r",?[ ./-](?=[0-9])", re.ASCII,
)  # fmt: skip
_MONTHS = "january february march april may june july august september october november december".split()
_FEW = 256  # texts for which a column of numbers costs more than a list


@dataclass(frozen=True, slots=True)
class Converted:
    """`columns`: archive column -> Series. Where `bad` is true the text did not fit.

    A row with `reason` is rejected; without one the value is withheld from the archive and kept in the window.
    """

    columns: dict[str, pl.Series]
    bad: pl.Series | None = None
    reason: str | None = None
    unkept: pl.Series | None = None  # where the vendor's own word may not stand beside ours

    def spread(self, codes: pl.Series) -> Converted:
        """Spread what was converted once over all rows: row i has the value at `codes[i]`."""
        columns = {name: values[codes] for name, values in self.columns.items()}
        bad, unkept = (
            None if mask is None or not (here := mask[codes].fill_null(False)).any() else here
            for mask in (self.bad, self.unkept)
        )
        return Converted(columns, bad, self.reason, unkept)


def convert(spec: FieldSpec, text: pl.Series, zone: str | None = None) -> Converted:
    """Convert the text column of one archive field. `zone`: of local times, instead of the declaration's."""
    assert spec.type is not None  # noqa: S101  (checked when the format was read)
    match spec.type:
        case "timestamp":
            return _one(spec, text, times(text, spec.format, zone or spec.zone), Reason.BAD_TIME)
        case "integer":
            return _one(spec, text, _integers(text, _MOST_PARTS).cast(pl.Int32), Reason.NOT_A_NUMBER)
        case "duration":
            return _one(spec, text, durations(text, spec.scale), Reason.NOT_A_NUMBER)
        case "decimal":
            return _decimal(spec, text)
        case "boolean":
            return _one(spec, text, _mapped(text, _boolean, pl.Boolean), Reason.UNKNOWN_VALUE)
        case "enum":
            return _enumeration(spec, text)
        case "code":
            return _one(spec, text, _mapped(text, _code(spec), pl.String), None)
        case "mccmnc":
            return _mccmnc(text)
        case "path":
            words = frozenset(spec.words)
            return _one(spec, text, _mapped(text, lambda one: template(one, words), pl.String), None)


def _one(spec: FieldSpec, text: pl.Series, values: pl.Series, reason: str | None) -> Converted:
    assert spec.column is not None  # noqa: S101
    bad = None
    if values.null_count() > text.null_count():
        nothing = _NOTHING if spec.type == "timestamp" else [""]
        bad = text.is_not_null() & values.is_null() & ~text.str.strip_chars().is_in(nothing)
    return Converted(
        {spec.column: values.alias(spec.column)}, bad if bad is not None and bad.any() else None, reason
    )


def _mapped(text: pl.Series, convert_one: Callable[[str], Any], dtype: Any) -> pl.Series:
    """Apply `convert_one` to the distinct texts; None is null."""
    if len(text) <= _FEW:
        texts = text.to_list()
        known = {t: None if t is None else convert_one(t) for t in set(texts)}
        return pl.Series(text.name, [known[t] for t in texts], dtype=dtype)
    # By Arrow: the same in polars takes five queries, which cost a small batch more than all of its values.
    codes = text.to_arrow().dictionary_encode()
    distinct = codes.dictionary.to_pylist()
    values = [convert_one(t) for t in distinct]
    if dtype == pl.String and values == distinct:
        return text
    return pl.Series(text.name, pl.Series(values, dtype=dtype).to_arrow().take(codes.indices), dtype=dtype)


def _boolean(text: str) -> bool | None:
    return {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower())


def _enumeration(spec: FieldSpec, text: pl.Series) -> Converted:
    converted = _one(spec, text, _mapped(text, _enum(spec), pl.String), Reason.UNKNOWN_VALUE)
    if spec.keep is None:
        return converted
    own = _mapped(text, _own_word(spec), pl.String).alias(spec.keep)
    unkept = None
    if own.null_count() > text.null_count():
        unkept = own.is_null() & (text.str.strip_chars() != "").fill_null(False)
    return Converted({**converted.columns, spec.keep: own}, converted.bad, converted.reason, unkept)


def _own_word(spec: FieldSpec) -> Callable[[str], str | None]:
    """Make a reader of the vendor's word as declared; one that only a `*` stands for must be shaped like a code."""
    known = {w.casefold(): w for w in spec.values or {} if not w.endswith("*")}
    code = re.compile(KEY_SHAPE, re.ASCII)

    def word(text: str) -> str | None:
        text = text.strip()
        fits = len(text) <= CODE_MAX_LENGTH and code.fullmatch(text)
        return known.get(text.casefold()) or (text if fits else None)

    return word


def _enum(spec: FieldSpec) -> Callable[[str], str | None]:
    words = spec.values or {v: v for v in ENUM_VALUES[spec.column or ""]}
    folded = {w.casefold(): v for w, v in words.items() if not w.endswith("*")}
    # The longest beginning wins; "*" stands for every other word, but not for an empty one.
    beginnings = sorted(
        ((w[:-1].casefold(), v) for w, v in words.items() if w.endswith("*")), key=lambda p: -len(p[0])
    )

    def word(text: str) -> str | None:
        text = text.strip().casefold()
        exact = folded.get(text)
        return exact or next((v for start, v in beginnings if text and text.startswith(start)), None)

    return word


def _code(spec: FieldSpec) -> Callable[[str], str | None]:
    if spec.values is not None:
        folded = {w.casefold(): v for w, v in spec.values.items()}
        return lambda text: folded.get(text.strip().casefold())
    shape = CODE_PATTERNS[spec.pattern or ""]
    if spec.column in CODES and (spec.column, spec.pattern) != _OF_EXTENSIONS:
        shape = f"{shape}|{KEY_SHAPE}"
    pattern = re.compile(shape, re.ASCII)

    def code(text: str) -> str | None:
        text = text.strip()
        return text if len(text) <= CODE_MAX_LENGTH and pattern.fullmatch(text) else None

    return code


def _mccmnc(text: pl.Series) -> Converted:
    def part(which: slice) -> Callable[[str], str | None]:
        return lambda t: t.strip()[which] if re.fullmatch(r"[2-79][0-9]{4,5}", t.strip(), re.ASCII) else None

    mcc, mnc = _mapped(text, part(slice(0, 3)), pl.String), _mapped(text, part(slice(3, 6)), pl.String)
    bad = text.is_not_null() & mcc.is_null() & (text != "") if mcc.null_count() > text.null_count() else None
    return Converted(
        {"mcc": mcc.alias("mcc"), "mnc": mnc.alias("mnc")}, bad if bad is not None and bad.any() else None
    )


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip()) if len(text) <= 64 and text.isascii() and "_" not in text else None
    except InvalidOperation:
        return None
    if number is None or not number.is_finite():
        return None
    # Its exponent decides how many digits arithmetic would write: none of ours is anywhere near.
    if number and number.adjusted() > _MOST_EXPONENT:
        return None
    return Decimal(0) if not number or number.adjusted() < -_MOST_EXPONENT else number


def _integers(text: pl.Series, limit: int) -> pl.Series:
    def whole(one: str) -> int | None:
        number = _number(one)
        return (
            int(number)
            if number is not None and number == number.to_integral_value() and 0 <= number <= limit
            else None
        )

    return _mapped(text, whole, pl.Int64)


def durations(text: pl.Series, scale: str) -> pl.Series:
    """Convert text to whole milliseconds, Int64; null where it is no duration, or a negative one.

    A number is in units of `scale` seconds; `01:02:03.5` is hours, minutes and seconds, `PT1H2M3.5S` is as ISO 8601
    has it: they say what they are in.
    """
    factor = Decimal(scale)

    def milliseconds(one: str) -> int | None:
        number = _number(one)
        seconds = _spelt_seconds(one.strip()) if number is None else number * factor
        if seconds is None or not 0 <= seconds <= _MOST_SECONDS:
            return None
        return int((seconds * 1000).to_integral_value(ROUND_HALF_EVEN))

    return _mapped(text, milliseconds, pl.Int64)


def _spelt_seconds(text: str) -> Decimal | None:
    """Read a duration that says its units: by a clock, or as ISO 8601 has it."""
    clock = _CLOCK.fullmatch(text)
    match = clock or _ISO_DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    parts = (Decimal((part or "0").replace(",", ".")) for part in match.groups())
    return sum((part * unit for part, unit in zip(parts, _UNITS[clock is None], strict=True)), Decimal(0))


def money(text: pl.Series, scale: str, mark: str | None = None) -> pl.Series:
    """Convert amounts to whole currency units with six places; null where it is no number or none that money has.

    `mark`: what begins the decimals of amounts as people write them; None: they are plain numbers.
    """
    factor = Decimal(scale)
    most = _FIGURE_LIMIT_OF_NANOS if abs(factor) <= _NANOS else _FIGURE_LIMIT

    def amount(one: str) -> Decimal | None:
        number = _number(one) if mark is None else _written(one, mark)
        if number is None or abs(number) >= most or abs(number * factor) >= MONEY_LIMIT:
            return None
        return (number * factor).quantize(_MICRO, ROUND_HALF_EVEN)

    return _mapped(text, amount, MONEY)


def _written(text: str, mark: str) -> Decimal | None:
    found = read_amount(text, mark)
    return None if found is None else found[0]


def volumes(text: pl.Series, scale: str) -> pl.Series:
    """Convert volumes in units of `scale` megabytes to whole millionths of a megabyte, Int64; null where it is none."""
    factor = Decimal(scale) * 10**6

    def bytes_of(one: str) -> int | None:
        number = _number(one)
        if number is None or not 0 <= number * factor <= _MOST_BYTES:
            return None
        return int((number * factor).to_integral_value(ROUND_HALF_EVEN))

    return _mapped(text, bytes_of, pl.Int64)


def _decimal(spec: FieldSpec, text: pl.Series) -> Converted:
    converted = _one(spec, text, money(text, spec.scale, spec.decimal_mark), Reason.NOT_A_NUMBER)
    if spec.unit:
        unit = pl.select(pl.when(text.is_not_null()).then(pl.lit(spec.unit))).to_series().alias("price_unit")
        return Converted({**converted.columns, "price_unit": unit}, converted.bad, converted.reason)
    return converted


def times(text: pl.Series, form: str, zone: str | None = None) -> pl.Series:
    """Convert text to Datetime(us, UTC); null where it cannot be read. A time without a zone is in `zone` or UTC."""
    usual = iso_times(text) if form in _ISO else None
    values = pl.Series([None], dtype=TIME).new_from_index(0, len(text)) if usual is None else usual
    if values.null_count() > text.null_count():
        at = (values.is_null() & text.is_not_null()).arg_true()
        values = values.scatter(at, _respelt_times(text.gather(at), form, zone))
    early = values < _EARLIEST
    return values.set(early, None) if early.any() else values


def _respelt_times(text: pl.Series, form: str, zone: str | None) -> pl.Series:
    """Read times that are spelt otherwise than usual, none of them null: those with an offset by the column."""
    values = None
    if form in _ISO:
        usual = text.set(
            text.str.contains(":60", literal=True), None
        )  # a leap second would be the next day's
        values = usual.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False)
        if not values.null_count():
            return values
    rest = (text if values is None else text.filter(values.is_null())).unique()
    table = pl.Series([parse_time(t, form, zone) for t in rest], dtype=TIME)
    slow = text.replace_strict(rest, table, default=None, return_dtype=TIME)
    return slow if values is None else values.zip_with(values.is_not_null(), slow)


def parse_time(text: str, form: str, zone: str | None = None) -> datetime | None:
    """Read one time of a declared form, in UTC; None if it cannot be read."""
    text, later = _usual_midnight(text.strip())
    try:
        moment = _READERS[form](text) + later
    except (ValueError, TypeError, OverflowError, IndexError, OSError):
        return None
    if moment.tzinfo is None:
        # Of an hour that a clock shows twice it is the first; one that it leaves out is counted from before the change.
        moment = moment.replace(tzinfo=UTC if zone is None else ZoneInfo(zone))
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError):
        return None


def _usual_midnight(text: str) -> tuple[str, timedelta]:
    """Return a time as the library reads it, and what has to be added to it: of a midnight that ends a day, a day.

    A leap second is the last microsecond of its minute: the next minute may be in another month.
    """
    if _MIDNIGHT.search(text):
        return _MIDNIGHT.sub(r"\g<1>00:00", text, count=1), timedelta(days=1)
    if _LEAP_SECOND.search(text):
        return _LEAP_SECOND.sub(r"\g<1>59", text, count=1), timedelta(microseconds=999_999)
    return text, timedelta(0)


def _iso(text: str) -> datetime:
    # Most end with `Z` or an offset behind a `T`, and need none of it.
    if text[-1:].isalpha() and (text[-1] != "Z" or text[10:11] == "t"):
        text = re.sub(r"\s*(?:UTC|GMT)$", "Z", text.upper())
    if text[4:5] == "/" and text[7:8] == "/":
        text = text.replace("/", "-", 2)
    if text.endswith("]"):
        text = _ZONE_NAME.sub(r"\1", text)
    if (len(text) < 10 or not text[4:5] == "-") and not _BASIC.fullmatch(text):
        raise ValueError
    return datetime.fromisoformat(re.sub(r"\s+(?=(?:[+-][0-9:]{4,6}|Z)$)", "", text))


def _epoch(per_second: int) -> Callable[[str], datetime]:
    def read(text: str) -> datetime:
        number = _number(text)
        if number is None or not 0 < number < per_second * 10**11:
            raise ValueError
        # Down: the last nanosecond of a month is not the next one's.
        micros = int((number * 1_000_000 / per_second).to_integral_value(ROUND_FLOOR))
        return datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)

    return read


def _iso_or_epoch(text: str) -> datetime:
    return _epoch(1)(text) if text.replace(".", "", 1).isdecimal() else _iso(text)


def _rfc2822(text: str) -> datetime:
    moment = parsedate_to_datetime(text)
    if moment.tzinfo is None and text[-1:].isalpha() and not text.upper().endswith("M"):
        raise ValueError  # a zone by a name that the library does not know: hours off, if it were left out
    # -0000 is UTC, said by somebody who does not tell where he is; the library reads it as a local time.
    return moment.replace(tzinfo=UTC) if text.endswith("-0000") else moment


def _compact(text: str) -> datetime:
    # SMPP 3.4 says ten digits; message centres add seconds, or write the century.
    if not re.fullmatch(r"[0-9]{10}|[0-9]{12}|[0-9]{14}", text, re.ASCII):
        raise ValueError
    if len(text) == 12 and text.startswith("20") and not "01" <= text[2:4] <= "12":
        return datetime.strptime(text, "%Y%m%d%H%M")
    return datetime.strptime(text, {10: "%y%m%d%H%M", 12: "%y%m%d%H%M%S", 14: "%Y%m%d%H%M%S"}[len(text)])


def _digits(text: str) -> datetime:
    if not re.fullmatch(r"[0-9]{14}", text, re.ASCII):
        raise ValueError
    return datetime.strptime(text, "%Y%m%d%H%M%S")


def _day_first(day: int, month: int) -> Callable[[str], datetime]:
    """Make a reader of dates as people write them, the year last: `9/1/2026 9:20:05 PM`, `09.01.26, 21:20`.

    A month by its English name is one wherever it stands: `9-Jan-2026`, `Jan 9, 2026`.
    """

    def read(text: str) -> datetime:
        if match := _NAMED_DATE.match(text):
            both = match["day"] or match["number"], _month(match["month"] or match["named"])
            text = f"{both[day]}/{both[month]}/{text[match.end() :]}"
        match = _DATE.fullmatch(text)
        if match is None:
            raise ValueError
        parts = [match[1], match[2]]
        year = int(match[3]) + (2000 if len(match[3]) == 2 else 0)
        hour = int(match[4] or 0)
        if match[8] and not 1 <= hour <= 12:
            raise ValueError
        if match[8]:
            hour = hour % 12 + (12 if match[8].upper() == "PM" else 0)
        date = f"{year:04}-{int(parts[month]):02}-{int(parts[day]):02}"
        fraction = f".{match[7]}" if match[7] else ""
        return _iso(f"{date}T{hour:02}:{match[5] or '00'}:{match[6] or '00'}{fraction}{match[9] or ''}")

    return read


def _month(name: str) -> str:
    """Return the number of a month by its English name, or the beginning of it; raises `ValueError` for others."""
    for number, whole in enumerate(_MONTHS, 1):
        if whole.startswith(name.lower()):
            return f"{number}"
    raise ValueError


_READERS: dict[str, Callable[[str], datetime]] = {
    "iso": _iso,
    "rfc2822": _rfc2822,
    "epoch_s": _epoch(1),
    "epoch_ms": _epoch(1_000),
    "epoch_us": _epoch(1_000_000),
    "iso_or_epoch_s": _iso_or_epoch,
    "epoch_ns": _epoch(1_000_000_000),
    "yymmddhhmm": _compact,
    "yyyymmddhhmmss": _digits,
    "dmy": _day_first(0, 1),
    "mdy": _day_first(1, 0),
    "syslog": _iso,  # it has its year by now (`yearless`)
}
