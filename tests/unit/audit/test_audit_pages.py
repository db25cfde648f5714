"""Pages of the audit: they say together what the whole of it says, and each reads no more than it needs."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from audit_world import NOW, AuditWorld

from lethe.integrity.log.signing import Signer
from lethe.operations.audit import paging
from lethe.operations.audit.log import AuditLog
from lethe.operations.audit.paging import Page, Wish, page
from lethe.operations.oversight.entries import Filter
from lethe.tiers.evidence.log_store import LogStore


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> AuditWorld:
    """1,500 entries of 25 days in two journals, some of them of a clock that was two years ahead."""
    world = AuditWorld(tmp_path_factory.mktemp("pages"))
    chance = random.Random(3)
    appended, busy = AuditLog._appended, [False]

    def elsewhere(self: AuditLog, signer: Signer, number: int, texts: Any, now: int) -> bool:
        return not (busy[0] and number == 0) and appended(self, signer, number, texts, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(AuditLog, "_appended", elsewhere)
        log = world.log
        for at in range(0, 1_500, 50):
            world.now += timedelta(hours=20)
            busy[0] = at % 150 == 0
            acts = [
                (chance.choice(["amal", "bela"]), chance.choice(["lookup", "grant.asked"])) for _ in range(50)
            ]
            said = [{"who": who, "action": act, "case": str(at + n)} for n, (who, act) in enumerate(acts)]
            log.append_all(said, world.now + timedelta(days=730) if at == 700 else world.now)
    return world


def turned(world: AuditWorld, wanted: Filter, most: int = 100_000) -> Iterator[Page]:
    """Turn over all pages of what is wanted."""
    after: dict[int, int] | None = {}
    while after is not None:
        done = page(world.log, Wish(wanted.matches, 40, most, wanted.since, wanted.until, after), pytest.fail)
        yield done
        after = done.older


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(), Filter(who="amal"), Filter(action="grant"), Filter(case="777"), Filter(case="none"),
        Filter(since=NOW + timedelta(days=5), until=NOW + timedelta(days=6)),
        Filter(who="bela", since=NOW + timedelta(days=20)), Filter(until=NOW + timedelta(days=2)),
        Filter(since=NOW + timedelta(days=300)),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("most", [100_000, 70])
def test_pages_are_the_whole_from_its_end(many: AuditWorld, wanted: Filter, most: int) -> None:
    whole = [e for e in many.log.entries() if wanted.matches(e)]
    pages = list(turned(many, wanted, most))
    told = [e for one in pages for e in one.entries]
    assert sorted(told, key=lambda e: (e["log"], e["number"])) == sorted(
        whole, key=lambda e: (e["log"], e["number"])
    )
    for log in (0, 1):
        numbers = [e["number"] for e in told if e["log"] == log]
        assert numbers == sorted(numbers, reverse=True)
    right = [e["time"] for e in told if e["time"] < "2027"]
    assert wanted.since is None or right == sorted(right, reverse=True)
    assert all(one.looked_at <= most and one.total == 1_500 for one in pages)
    assert all(len(one.entries) <= 40 for one in pages)


def test_a_page_reads_the_bundles_it_needs(many: AuditWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    get = LogStore.get

    def counted(self: LogStore, path: str) -> bytes | None:
        read.append(self.path(path))
        return get(self, path)

    monkeypatch.setattr(LogStore, "get", counted)

    def bundles(wanted: Filter) -> int:
        read.clear()
        next(turned(many, wanted))
        return len({p for p in read if "entries" in p})

    assert bundles(Filter()) == 2, "the last of each journal"
    assert bundles(Filter(case="none")) == 6, "all there are"


def test_a_page_looks_at_the_days_asked_for(many: AuditWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "_PAST", 60)
    first = Filter(case="none", until=NOW + timedelta(days=1))
    last = Filter(case="none", since=NOW + timedelta(days=20))
    assert all(next(turned(many, wanted)).looked_at < 600 for wanted in (first, last))


def test_what_is_altered_is_told_and_the_rest_is_there(many: AuditWorld) -> None:
    bundle = many.journal(0) / "tile" / "entries" / "001"
    data = bytearray(bundle.read_bytes())
    data[300] ^= 1
    whole = bundle.read_bytes()
    bundle.write_bytes(data)
    damage: list[str] = []
    try:
        done = page(many.log, Wish(Filter().matches, 2_000, 100_000), damage.append)
    finally:
        bundle.write_bytes(whole)
    assert len(done.entries) == 1_500 - 256
    assert damage == ["entry 257 of the log lethe/=audit/0 is altered"]


def test_a_link_of_another_audit_is_no_way_around_the_end(many: AuditWorld) -> None:
    wish = Wish(Filter().matches, 2_000, 100_000, after={0: 10**15, 7: 3})
    assert len(page(many.log, wish, pytest.fail).entries) == 1_000
