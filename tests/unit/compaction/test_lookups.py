"""Look-ups read few places of a compacted table, and find what a scan of everything finds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any

import pytest
from looked_at import Reads
from retention_world import World, report

from lethe.operations.asker import Asker
from lethe.operations.compact import Asked, compact
from lethe.operations.window.lookup import lookup, lookup_each
from lethe.testing.traffic import generate
from lethe.tiers.compaction import layout
from lethe.tiers.delta import places
from lethe.tiers.store.objects import LocalObjects
from lethe.tiers.window import lookup as window
from lethe.tiers.window.sought import Tokens, by_token

HER = "+923001234567"
MARCH = datetime(2025, 3, 9, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows a row group and few bytes a file, so that a small table has many of both."""
    for table in ("identifiers", "metadata"):
        monkeypatch.setitem(layout.ROW_GROUP, table, 16)
    monkeypatch.setitem(layout.FILE_BYTES, "identifiers", 20_000)
    monkeypatch.setitem(layout.SLICE_ROWS, "metadata", 64)


def filled(world: World) -> None:
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    for number in range(6):
        world.traffic(80, number)
        when = MARCH + timedelta(hours=number)
        world.ingest([report(number, HER, when, message_id=f"same-{number % 2}")])
    voice = generate("infobip/voice-report", 60, 3, until=world.now, months=1)
    world.ingest(voice, "infobip/voice-report")


def answers(world: World, text: str, **more: Any) -> list[dict[str, Any]]:
    return lookup(world.runtime, Asker.of("ada", "F-1", "test", None), text, **more).records


def scanned(world: World, column: str, token: bytes) -> list[tuple[Any, ...]]:
    rows = [r for r in world.rows("identifiers") if r[column] == token]
    return sorted((r["stream"], r["partition"], r["offset"], r["index"] or 0, r["role"]) for r in rows)


def found(world: World, value: str) -> list[tuple[Any, ...]]:
    rows = world.found(value)
    return sorted((r["stream"], r["partition"], r["offset"], r["index"] or 0, r["role"]) for r in rows)


def test_a_lookup_finds_the_same_before_and_after(make_world: Callable[..., World]) -> None:
    world = make_world()
    filled(world)
    [token] = world.tokens(HER, ["2025-03"]).values()
    before = answers(world, HER)
    assert len(before) == 6
    by_message, period = answers(world, "same-1"), answers(world, HER, since=MARCH + timedelta(hours=3))
    assert (len(by_message), len(period)) == (3, 3)
    assert found(world, HER) == scanned(world, "token", token)
    merges = compact(world.runtime, Asked(whole=True))
    [identifiers] = [m for m in merges if m.table == "identifiers"]
    assert (identifiers.files_after or 0) > 1, "a run of several files"
    assert answers(world, HER) == before
    assert answers(world, "same-1") == by_message
    assert answers(world, HER, since=MARCH + timedelta(hours=3)) == period
    world.ingest([report(99, HER, MARCH)])
    assert len(answers(world, HER)) == 7
    assert answers(world, "+923009999999") == []


def test_everybody_is_found(make_world: Callable[..., World]) -> None:
    world = make_world()
    filled(world)
    rows = world.rows("identifiers")
    before = {r["token"]: scanned(world, "token", r["token"]) for r in rows if r["token"] is not None}
    compact(world.runtime, Asked(whole=True))
    runtime = world.runtime
    for token, expected in before.items():
        wanted = {("2025-03", "12"): Tokens(frozenset([token]), frozenset())}
        hits = by_token(runtime.objects, runtime.warehouse.window["identifiers"], wanted)
        mine = [(r["stream"], r["partition"], r["offset"], r["index"] or 0, r["role"]) for r in hits]
        assert sorted(mine) == expected


@pytest.mark.parametrize("compiled", [True, False])
def test_a_look_up_of_a_compacted_month_reads_one_row_group_of_one_file(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    world = make_world()
    filled(world)
    compact(world.runtime, Asked(whole=True))
    reads = Reads(monkeypatch, compiled)
    runtime = world.runtime
    wanted = {("2025-03", "12"): Tokens(frozenset(world.tokens(HER, ["2025-03"]).values()), frozenset())}
    assert len(by_token(runtime.objects, runtime.warehouse.window["identifiers"], wanted)) == 6
    assert len(reads.opened) == 1
    assert 1 <= len(reads.of("identifiers")) <= 2, "a token's rows may lie on both sides of a border"
    assert len(answers(world, HER)) == 6, "asked with all that her number could be besides"
    assert 1 <= len(reads.of("identifiers")) <= 2, "a token's rows may lie on both sides of a border"


def test_a_lookup_goes_on_where_a_file_goes_away_meanwhile(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    filled(world)
    gone: list[str] = []
    whole = places.Opened

    class Once(whole):  # type: ignore[misc, valid-type]
        def __init__(self, objects: LocalObjects, path: str, *more: Any, **named: Any) -> None:
            if not gone:
                gone.append(path)
                raise FileNotFoundError(path)
            super().__init__(objects, path, *more, **named)

    monkeypatch.setattr("lethe.tiers.window._footers.Opened", Once)
    assert len(world.found(HER)) == 6


@pytest.mark.parametrize("compiled", [True, False])
def test_the_join_reads_one_row_group_a_record_and_no_empty_column(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    world = make_world()
    filled(world)
    compact(world.runtime, Asked(whole=True))
    reads = Reads(monkeypatch, compiled)
    records = answers(world, HER)
    streams = {r["record"].rsplit("/", 1)[0] for r in records}
    assert (len(records), len(streams)) == (6, 6)
    assert 1 <= len(reads.of("metadata")) <= 6
    archive = world.rows("metadata")
    empty = {name for name in archive[0] if all(row[name] is None for row in archive)}
    read = reads.columns_of("metadata")
    assert empty
    assert not read & {*empty, "*"}
    assert all(records[0][name] is None for name in empty & records[0].keys())


@pytest.mark.parametrize("compiled", [True, False])
def test_a_run_of_an_earlier_release_says_nothing_of_itself_and_answers_the_same(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    world = make_world()
    filled(world)
    before = answers(world, HER)
    with monkeypatch.context() as earlier:
        earlier.setattr(layout.Contents, "encode", lambda _: {})
        compact(world.runtime, Asked(whole=True))
    reads = Reads(monkeypatch, compiled)
    assert answers(world, HER) == before
    assert "integrity_hash" in reads.columns_of("metadata")


def test_positions_lead_to_the_row_groups_that_begin_no_later() -> None:
    first = [("a", 0, 0), ("a", 0, 16), ("a", 1, 3), ("b", 0, 5), ("b", 0, 5), ("b", 0, 9)]
    contents = layout.Contents(frozenset({"price"}), first, frozenset({1, 4}))
    assert layout.Contents.decode(contents.encode()) == contents
    assert list(contents.groups(("a", 0, 15))) == [0]
    assert list(contents.groups(("a", 0, 16))) == [0, 1], (
        "of a record split in two, the first half may end a group"
    )
    assert list(contents.groups(("a", 0, 99))) == [1]
    assert list(contents.groups(("b", 0, 5))) == [3, 4]
    assert list(contents.groups(("b", 0, 9))) == [5]
    assert list(contents.groups(("a", 0, 0))) == [0]
    assert list(contents.groups(("c", 7, 1))) == [5]
    assert layout.Contents.decode({}) is None


def test_a_look_up_does_not_bring_in_pandas(make_world: Callable[..., World]) -> None:
    """It takes longer to import than a look-up takes, and engines that need it are installed beside Lethe."""
    world = make_world()
    filled(world)
    compact(world.runtime, Asked(whole=True))
    root, keys = world.runtime.settings.root, world.runtime.settings.keys_dir
    program = f"""
import sys
from datetime import datetime, timezone
from pathlib import Path
from lethe.operations.asker import Asker
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.operations.window.lookup import lookup
settings = Settings(root={root!r}, keys_dir=Path({str(keys)!r}))
runtime = Runtime(settings, lambda: datetime(2025, 3, 31, tzinfo=timezone.utc))
found = lookup(runtime, Asker.of("ada", "F-1", "test"), {HER!r})
print(len(found.records), "pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["6", "False"]
    assert find_spec("pandas") is not None, "the extras of the tests bring it"


@pytest.mark.parametrize("compiled", [True, False])
def test_several_values_share_one_reading(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    """Fifty targets open no file twice and read no row group more often than one reading of it needs."""
    world = make_world()
    filled(world)
    compact(world.runtime, Asked(whole=True))
    asker = Asker.of("ada", "F-1", "test", None)
    rows = world.rows("identifiers")
    everybody = {s for r in rows if (s := window.value_of(r, world.runtime.ring)) is not None}
    people = sorted(f"+{s.value}" for s in everybody if s.kind == "msisdn")[:48]
    values = [HER, "same-1", *people]
    alone = [lookup(world.runtime, asker, value) for value in values]
    reads = Reads(monkeypatch, compiled)
    entries = len(list(world.runtime.audit.entries()))
    together = lookup_each(world.runtime, asker, values)
    assert [t.records for t in together] == [a.records for a in alone]
    assert sum(len(t.records) for t in together) > 50
    assert len(list(world.runtime.audit.entries())) - entries == len(values), "an audit entry each"
    for table in ("identifiers", "metadata"):
        opened = [path for path in reads.opened if path.startswith(table)]
        assert len(opened) <= 2 * len(set(opened)), (
            "once for the tokens, once for who else is named in a record"
        )
        of_group = [at for at in reads.groups if at[0].startswith(table)]
        assert len(of_group) <= 4 * len(set(of_group)), (
            "the sought column, then the others, for either reason"
        )
