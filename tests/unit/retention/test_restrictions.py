"""A restriction holds until it is lifted or nothing of the person is left, whether or not anything sweeps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from retention_world import World, person, report

from lethe.keys.monthkeys import MonthKeys
from lethe.operations.asker import Asker
from lethe.operations.health.doctor import checks
from lethe.operations.runtime import Runtime
from lethe.operations.window.lookup import lookup
from lethe.schemas.errors import IntegrityError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.rights import restrictions

HER = "+923001234567"
HIM = "+4915112345678"
THEM = "+81312345678"


def place(world: World, value: str = HER) -> bool:
    runtime = world.runtime
    return restrictions.place(
        runtime.objects, runtime.ring, world.settings.retention, person(value), world.now
    )


def copies(world: World) -> list[str]:
    return [p for p in world.paths("_restrictions") if p.endswith(".json")]


def shown(world: World, value: str = HER) -> int:
    """How many of the rows that a look-up finds it would show."""
    runtime = world.runtime
    hidden = restrictions.tokens(runtime.objects, runtime.ring, world.now)
    rows = world.found(value)
    return sum((r["month"], r["window_months"], r["token"]) not in hidden for r in rows)


def month_of_traffic(world: World, number: int) -> None:
    """A month goes by, with a record of hers and one of his in the middle of it; nothing sweeps."""
    middle = Month.of(world.now).start() + timedelta(days=14)
    world.now = middle + timedelta(days=1)
    world.ingest([report(2 * number, HER, middle), report(2 * number + 1, HIM, middle)])
    world.now = Month.of(middle).plus(1).start()


def test_it_holds_for_records_of_every_later_month_without_a_sweep(make_world: Callable[..., World]) -> None:
    world = make_world()
    month_of_traffic(world, 0)
    assert place(world)
    for number in range(1, 30):
        month_of_traffic(world, number)
        assert world.found(HER), "there is something to restrict"
        assert shown(world) == 0, f"after {number} month(s)"
        assert shown(world, HIM) == len(world.found(HIM)), "he is not restricted"
    assert world.holding(HER[1:].encode()) == []


def test_it_holds_when_the_person_comes_back_in_its_last_month(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.now = datetime(2025, 3, 20, tzinfo=UTC)
    world.ingest([report(1, HER, world.now)])
    assert place(world)
    # The very last record before the keys it was sealed with end, and nobody sweeps.
    world.now = datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC)
    world.ingest([report(2, HER, world.now)])
    world.now = datetime(2026, 4, 1, tzinfo=UTC)
    assert len(world.found(HER)) == 1
    assert shown(world) == 0
    assert not place(world), "it is still there"


def test_it_holds_for_a_late_record_of_an_older_month(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.now = datetime(2025, 6, 20, tzinfo=UTC)
    assert place(world)
    world.ingest([report(1, HER, datetime(2024, 9, 3, tzinfo=UTC))])
    assert len(world.found(HER)) == 1
    assert shown(world) == 0


def test_it_holds_in_windows_of_every_length(make_world: Callable[..., World]) -> None:
    countries = [{"country": "PK", "window_months": 6, "reason": "agreed"}]
    world = make_world(retention={"countries": countries})
    world.now = datetime(2025, 3, 20, tzinfo=UTC)
    assert place(world)
    for month in range(14):
        world.now = datetime(2025 + (2 + month) // 12, (2 + month) % 12 + 1, 25, tzinfo=UTC)
        world.ingest([report(month, HER, world.now)])
        assert {r["window_months"] for r in world.found(HER)} == {6}
        assert shown(world) == 0


def test_a_month_begun_by_another_worker_is_covered(make_world: Callable[..., World]) -> None:
    """A worker that knew the month before the restriction came writes into it long after."""
    world = make_world()
    world.now = datetime(2025, 3, 20, tzinfo=UTC)
    old = world.runtime
    old.ring.keys_for(Month(2025, 3), create=True)
    assert place(world)
    old.warehouse.commit([world.prepare(old, [report(1, HER, world.now)])], old.ring)
    assert len(world.found(HER)) == 1
    assert shown(world) == 0


def test_a_month_begun_while_it_was_placed_is_covered(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has looked for restrictions before there was this one, and its month comes into being meanwhile."""
    world = make_world()
    world.now = datetime(2025, 3, 20, tzinfo=UTC)
    runtime = world.runtime
    april = Month(2025, 4)
    create = type(runtime.objects).create
    begun: list[MonthKeys] = []

    def creating(objects: object, path: str, data: bytes) -> bool:
        if path.startswith("_restrictions/") and not begun:
            begun.append(Runtime(world.settings, lambda: world.now).ring.keys_for(april, create=True))
        return bool(create(objects, path, data))  # type: ignore[arg-type]

    monkeypatch.setattr(type(runtime.objects), "create", creating)
    assert place(world)
    assert any("/2025-04.w12." in f"/{p}" for p in copies(world)), "sealed under both months"


def test_a_lifted_one_does_not_come_back_with_a_new_month(make_world: Callable[..., World]) -> None:
    world = make_world()
    for number in range(3):
        month_of_traffic(world, number)
        place(world)
    assert restrictions.lift(world.runtime.objects, world.runtime.ring, person("0092 300 1234567"))
    assert copies(world) == []
    month_of_traffic(world, 4)
    assert shown(world) == len(world.found(HER)) == 4
    assert not restrictions.lift(world.runtime.objects, world.runtime.ring, person(HER))


def test_one_that_a_worker_carries_on_while_it_is_lifted_is_lifted(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    world.now = datetime(2025, 3, 20, tzinfo=UTC)
    place(world)
    lifted: list[bool] = []
    create = type(world.runtime.objects).create

    def creating(objects: object, path: str, data: bytes) -> bool:
        if path.startswith("_restrictions/2025-04") and not lifted:
            lifted.append(True)
            restrictions.lift(world.runtime.objects, world.runtime.ring, person(HER))
        return bool(create(objects, path, data))  # type: ignore[arg-type]

    monkeypatch.setattr(type(world.runtime.objects), "create", creating)
    world.runtime.ring.keys_for(Month(2025, 4), create=True)
    assert lifted
    assert list(restrictions.every(world.runtime.objects, world.runtime.ring)) == []
    world.sweep(forced=True)
    assert copies(world) == []


def test_it_ends_with_the_last_record_of_the_person(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.now = datetime(2025, 3, 20, tzinfo=UTC)
    world.ingest([report(1, HER, world.now)])
    place(world)
    for month in range(4, 17):
        world.now = datetime(2025 + (month - 1) // 12, (month - 1) % 12 + 1, 15, tzinfo=UTC)
        world.ingest([report(month, HIM, world.now)])
        world.sweep(forced=True)
        # Her record leaves the window at the end of March 2026; the restriction stays as long as that.
        assert bool(copies(world)) == (month < 16)


def test_a_longer_window_of_others_does_not_keep_it(make_world: Callable[..., World]) -> None:
    world = make_world(retention={"countries": [{"country": "PK", "window_months": 6, "reason": "agreed"}]})
    world.now = datetime(2025, 3, 20, tzinfo=UTC)
    world.ingest([report(1, HER, world.now)])
    place(world)
    for month in range(4, 11):
        world.now = datetime(2025, month, 15, tzinfo=UTC)
        world.ingest([report(month, HIM, world.now, mccMnc="26201")])
        world.sweep(forced=True)
        assert bool(copies(world)) == (month < 10)


def test_it_outlasts_a_window_for_a_person_of_whom_something_is_kept(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.now = datetime(2025, 3, 20, tzinfo=UTC)
    place(world)
    for number in range(3, 20):
        month_of_traffic(world, number)
        world.sweep(forced=True)
        assert shown(world) == 0
    open_months = {p.split("/")[1][:7] for p in copies(world)}
    assert min(open_months) >= str(Month.of(world.now).plus(-13)), "nothing is left of what has ended"


def test_one_that_is_damaged_stops_look_ups_but_no_traffic(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.now = datetime(2025, 3, 20, tzinfo=UTC)
    place(world)
    (path,) = copies(world)
    (world.root / path).write_bytes(b"{}")
    world.now = datetime(2025, 4, 20, tzinfo=UTC)
    world.ingest([report(1, HER, world.now)])
    with pytest.raises(IntegrityError, match="restriction"):
        shown(world)


def restricted(world: World) -> Callable[[], dict[str, bytes]]:
    """Place one in the middle of March, with a record, and return what gives its files."""
    world.now = datetime(2025, 3, 20, tzinfo=UTC)
    world.ingest([report(1, HER, world.now)])
    assert place(world)
    return lambda: {p: (world.root / p).read_bytes() for p in world.paths("_restrictions")}


def end_by_hand(world: World, mark: bool, copies_too: bool) -> None:
    """What somebody can do who only writes the warehouse."""
    for path in copies(world):
        name = path.removesuffix(".json").rpartition(".")[2]
        if mark:
            (world.root / f"_restrictions/{name}.ended").write_bytes(b"{}")
        if copies_too:
            (world.root / path).unlink()


@pytest.mark.parametrize(("mark", "copies_too"), [(True, False), (False, True), (True, True)])
def test_whoever_writes_the_warehouse_ends_none(
    make_world: Callable[..., World], mark: bool, copies_too: bool
) -> None:
    world = make_world()
    files = restricted(world)
    before = files()
    end_by_hand(world, mark, copies_too)
    runtime = world.runtime
    found = {c.what: c for c in checks(runtime, {})}["restrictions"]
    if copies_too:
        assert (found.state, found.found) == (
            "wrong", "of 1 in force 1 cannot be found: look-ups show nothing",
        )  # fmt: skip
        for what in (HER, HIM):
            with pytest.raises(
                IntegrityError, match=r"1 restriction in force cannot be found.*restrictions\.kept"
            ):
                lookup(runtime, Asker.of("amal", "F-1", "a look"), what)
        by_law = Asker.of("amal", "F-1", "a look", law="court order")
        assert len(lookup(runtime, by_law, HER).records) == 1
        world.sweep(forced=True)  # it forgets no name of one that is missing
        with pytest.raises(IntegrityError):
            shown(world)
        for path, data in before.items():
            (world.root / path).write_bytes(data)
    else:
        assert found.state == "ok"
        world.sweep(forced=True)
        assert copies(world), "the sweep does not believe the mark"
    assert shown(world) == 0
    assert restrictions.lift(runtime.objects, runtime.ring, person(HER))
    assert shown(world) == 1


def test_without_a_backup_it_is_placed_again_and_its_name_removed(make_world: Callable[..., World]) -> None:
    world = make_world()
    restricted(world)
    (lost,) = (world.keys / "restrictions.kept").iterdir()
    end_by_hand(world, mark=False, copies_too=True)
    assert place(world), "the missing one is in nobody's way"
    lost.unlink()
    assert shown(world) == 0


@pytest.mark.parametrize("step", ["restriction.unkept", "restriction.marked"])
def test_one_whose_lifting_died_is_in_force_or_over(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    world = make_world()
    restricted(world)
    runtime = world.runtime

    def die(name: str) -> None:
        if name == step:
            raise InterruptedError

    with monkeypatch.context() as patched:
        patched.setattr(restrictions, "fail_point", die)
        with pytest.raises(InterruptedError):
            restrictions.lift(runtime.objects, runtime.ring, person(HER))
    assert not restrictions.missing(runtime.objects, runtime.ring)
    in_force = step == "restriction.unkept"
    assert shown(world) == (0 if in_force else 1)
    world.sweep(forced=True)
    assert shown(world) == (0 if in_force else 1)
    assert len(runtime.ring.restrictions.names()) == in_force, "the sweep has kept it again"
    assert restrictions.lift(runtime.objects, runtime.ring, person(HER)) == in_force
    assert shown(world) == 1


def test_one_of_an_earlier_release_is_kept_by_the_next_sweep(make_world: Callable[..., World]) -> None:
    world = make_world()
    restricted(world)
    (name,) = (world.keys / "restrictions.kept").iterdir()
    name.unlink()
    world.sweep(forced=True)
    assert name.exists()


def test_its_name_goes_with_its_last_copy(make_world: Callable[..., World]) -> None:
    world = make_world()
    restricted(world)
    world.now = datetime(2026, 4, 2, tzinfo=UTC)
    world.sweep(forced=True)
    assert copies(world) == []
    assert not restrictions.missing(world.runtime.objects, world.runtime.ring)
    assert list(restrictions.every(world.runtime.objects, world.runtime.ring)) == []


@pytest.mark.parametrize("before", [True, False])
def test_one_lifted_or_placed_between_two_looks_is_not_missed(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    world = make_world()
    restricted(world)
    runtime, other = world.runtime, world.runtime
    place(world, THEM)
    meanwhile = [
        lambda: place(world, HIM),
        lambda: restrictions.lift(other.objects, other.ring, person(HER)),
        lambda: place(world, HER),
        lambda: restrictions.lift(other.objects, other.ring, person(HIM)),
    ]
    listing = type(runtime.objects).list

    def listed(objects: object, prefix: str) -> list[str]:
        paths = listing(objects, prefix)  # type: ignore[arg-type]
        if objects is not runtime.objects or prefix != "_restrictions" or not meanwhile:
            return list(paths)
        meanwhile.pop(0)()
        return list(listing(objects, prefix) if before else paths)  # type: ignore[arg-type]

    monkeypatch.setattr(type(runtime.objects), "list", listed)
    for _ in range(5):
        assert not restrictions.missing(runtime.objects, runtime.ring)
    assert not meanwhile
