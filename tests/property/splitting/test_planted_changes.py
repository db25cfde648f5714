"""Whatever a vendor changes in a field of any bundled format is named within one flush, at the column it fills."""

from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from pathlib import Path
from random import Random

from canaries import person, record
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from transform_kit import Kit

from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.fields import FieldSpec
from lethe.schemas.declaration.format import Format
from lethe.tiers.quality.check import Quality
from lethe.tiers.quality.past import Found, Past
from lethe.tiers.quality.profile import FEW, MANY, NUMBERS, REFUSED
from lethe.tiers.store.objects import open_objects

FORMATS = [f for f in formats.builtin().values() if isinstance(f, Format) and f.data == "communication"]
SENT = datetime(2026, 10, 1, 10, tzinfo=UTC)
NOW = datetime(2026, 10, 15, 12, tzinfo=UTC)
WINDOWS, ROWS = 10, 120
LOOKED_AT = {*FEW, *MANY, *NUMBERS}


def came(fmt: Format, draw: Random, some: dict[int, dict[str, str]]) -> list[bytes | None]:
    """Records of a window; `some`: what stands at paths of some of them."""
    return [record(fmt, person(draw), draw, 0.0, given=some.get(at, {})) for at in range(ROWS)]


def compared(quality: Quality, fmt: Format, values: list[bytes | None], now: datetime) -> list[Found]:
    """Compare a window that came half a minute after it was sent."""
    made = Kit(now=NOW, scope="none").process(values, fmt)
    return quality.check([replace(made, received_ms=int(SENT.timestamp() * 1000) + 30_000)], now)


def fresh(past: Past | None = None) -> Quality:
    quality = Quality(open_objects(str(Path(tempfile.mkdtemp(prefix="lethe-test-"))), {}))
    if past is not None:
        quality.check([], NOW)
        quality._past = copy.deepcopy(past)
    return quality


@lru_cache(maxsize=64)
def learned(name: str) -> Past:
    """What a format was like in some windows, of which none is told to be different."""
    fmt, quality, draw = formats.get_format(name), fresh(), Random(name)
    for at in range(WINDOWS):
        assert compared(quality, fmt, came(fmt, draw, {}), NOW + timedelta(minutes=at)) == []
    assert quality._past is not None
    return quality._past


def spelt(at: datetime, form: str) -> str:
    seconds = int(at.timestamp())
    return {
        "rfc2822": format_datetime(at), "epoch_s": f"{seconds}", "epoch_ms": f"{seconds}000",
        "epoch_us": f"{seconds}000000", "yymmddhhmm": f"{at:%y%m%d%H%M}", "syslog": f"{at:%b %e %H:%M:%S}",
        "iso_or_epoch_s": f"{at:%Y-%m-%d %H:%M:%S}",
    }.get(form, f"{at:%Y-%m-%dT%H:%M:%S}.000+0000")  # fmt: skip


@dataclass(frozen=True)
class Change:
    """What a vendor does: what stands at some paths from now on, and the columns that show it."""

    what: str
    fmt: Format
    columns: frozenset[str]
    instead: dict[str, str]


def filled_by(fmt: Format) -> dict[str, list[FieldSpec]]:
    """The fields of each column that nothing else fills."""
    said = {rule.column for rule in fmt.rules} | {c for c in LOOKED_AT if getattr(fmt, c, None) is not None}
    deciding = {path for condition in fmt.skips for path in condition.fields()}
    found: dict[str, list[FieldSpec]] = {}
    for spec in fmt.archive:
        found.setdefault(spec.column or "", []).append(spec)
    return {
        column: specs for column, specs in found.items()
        if column in LOOKED_AT and column not in said and not any(s.path in deciding for s in specs)
    }  # fmt: skip


@st.composite
def a_change(draw: st.DrawFn) -> Change:
    fmt = draw(st.sampled_from(FORMATS))
    columns = filled_by(fmt)
    if not columns or draw(st.integers(0, 4)) == 0:
        by = timedelta(minutes=15 * draw(st.integers(-56, 56).filter(bool)))
        times = {s.path: spelt(SENT + by, s.format) for s in fmt.archive if s.type == "timestamp"}
        return Change(f"clock moved by {by}", fmt, frozenset({"event_time"}), times)
    column = draw(st.sampled_from(sorted(columns)))
    specs = columns[column]
    shown = frozenset({column, *(s.keep for s in specs if s.keep)})
    if column in NUMBERS and draw(st.booleans()):
        factor = draw(st.sampled_from([1000, 100, 60]))
        return Change(f"{column} times {factor}", fmt, shown, {s.path: f"{2 * factor}" for s in specs})
    if specs[0].type == "code" and draw(st.booleans()):
        word = draw(st.from_regex(r"\A[A-Z]{3,8}_[A-Z]{3,8}\Z"))
        return Change(f"{column} is {word}", fmt, shown, {s.path: word for s in specs})
    return Change(f"{column} left out", fmt, shown, {s.path: "" for s in specs})


@settings(
    max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)  # no shrinking
@given(a_change(), st.sampled_from([1.0, 0.7]), st.integers(0, 10**6))
def test_a_planted_change_is_named_at_its_column_or_as_refused(
    change: Change, share: float, seed: int
) -> None:
    draw = Random(seed)
    if "event_time" in change.columns:
        share = 1.0  # a clock is moved for all
    some = {at: change.instead for at in range(ROWS) if draw.random() < share}
    found = compared(fresh(learned(change.fmt.name)), change.fmt, came(change.fmt, draw, some), NOW)
    named = {one.column for one in found}
    assert named & {*change.columns, REFUSED, *(["done_time"] if "event_time" in change.columns else [])}, (
        change.what, change.fmt.name, found,
    )  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(FORMATS), st.integers(0, 10**6))
def test_a_window_as_all_before_it_is_not_named(fmt: Format, seed: int) -> None:
    assert compared(fresh(learned(fmt.name)), fmt, came(fmt, Random(seed), {}), NOW) == []
