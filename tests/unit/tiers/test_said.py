"""What commits said of themselves is read up to the version a handle has seen, and not beyond."""

from __future__ import annotations

import json
from pathlib import Path

from lethe.tiers.delta.table import Table
from lethe.tiers.store.objects import LocalObjects

KEY = "lethe.test"


def test_a_handle_tells_of_the_commits_it_has_seen_though_others_go_on(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    mine, theirs = Table(objects, "metadata", {}), Table(objects, "metadata", {})
    for number in (1, 2):
        mine.commit([], {"a": number}, {KEY: json.dumps([number])})
    theirs.reload()
    for number in (3, 4):
        theirs.commit([], {"a": number}, {KEY: json.dumps([number])})
    assert mine.info_since(0, KEY) == [(1, [1]), (2, [2])]
    assert mine.info_since(1, KEY) == [(2, [2])]
    assert theirs.info_since(-1, KEY) == [(1, [1]), (2, [2]), (3, [3]), (4, [4])]
    mine.reload()
    assert mine.info_since(2, KEY) == [(3, [3]), (4, [4])]


def test_commits_that_say_nothing_are_passed_over(tmp_path: Path) -> None:
    table = Table(LocalObjects(tmp_path), "metadata", {})
    table.commit([], {"a": 1}, {})
    table.commit([], {"a": 2}, {KEY: "[]"})
    assert table.info_since(-1, KEY) == [(2, [])]
