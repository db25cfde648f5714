"""Records of an ended month that are in scope: verification says which rows have no hash, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from retention_world import World, report

from lethe.operations.proof.verify import WHY, Unhashed, Wanted, verify

LATE = datetime(2024, 1, 10, tzinfo=UTC)
NOW = datetime(2025, 3, 10, tzinfo=UTC)


def checked(world: World, **wanted: object) -> list[Unhashed]:
    found = verify(world.runtime, Wanted(**wanted), lambda _done, _of: None)  # type: ignore[arg-type]
    assert found.findings == []
    return found.unhashed


@pytest.mark.parametrize(
    ("scope", "rows", "last"), [(("PK",), 2, 2), ("all", 5, 5), (("PK", "DE"), 3, 3), ("none", 0, 0)]
)
def test_rows_of_an_ended_month_are_named_with_their_reason(
    make_world: Callable[..., World], scope: object, rows: int, last: int
) -> None:
    world = make_world(integrity={"scope": scope})
    people = ["+923001234567", "+447700900123", "+923001234568", "+4915112345678"]
    lines = [report(at, who, LATE, mccMnc=None) for at, who in enumerate(people)]
    lines += [report(4, "+923001234567", NOW), report(5, "+447700900124", LATE, mccMnc=None)]
    counts = world.ingest(lines)
    assert (counts.late, counts.split) == (5, 1)
    found = checked(world)
    assert sum(one.rows for one in found) == rows
    if found:
        (one,) = found
        assert (one.month, one.partition, one.first_offset, one.last_offset) == ("2024-01", 0, 0, last)


def test_nothing_is_said_where_nothing_is_late(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.ingest([report(1, "+923001234567", NOW)])
    assert checked(world) == []


def test_the_command_says_it_in_both_ways(
    make_world: Callable[..., World], capsys: pytest.CaptureFixture[str]
) -> None:
    from lethe.console.cli.keeping.proof import _answer
    from lethe.console.cli.shell import Shell

    world = make_world()
    world.ingest([report(1, "+923001234567", LATE)])
    done = verify(world.runtime, Wanted(), lambda _done, _of: None)
    _answer(Shell(None, json=True), done)  # type: ignore[arg-type]
    said = json.loads(capsys.readouterr().out)["without_hash"]
    assert said["why"] == WHY
    assert [(r["month"], r["rows"]) for r in said["rows"]] == [("2024-01", 1)]
