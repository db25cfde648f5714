"""What a hold covers outlives every deletion, can be found by the hold's reference, and goes when it is released."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from retention_world import World, person, report

from lethe.operations.health.doctor import _holds
from lethe.operations.proof.signer import load_signer
from lethe.schemas.errors import IntegrityError, LetheError
from lethe.streams.worker.control_topic import _sweep
from lethe.streams.worker.metrics import Metrics
from lethe.tiers.certificates import certificates
from lethe.tiers.holds.holds import Hold, Holds
from lethe.tiers.holds.release import finish_release
from lethe.tiers.holds.scope import Scope, covered
from lethe.tiers.rights.erasure import erase, preview_erasure
from lethe.tiers.window.records import open_parts

HELD = "+923001234567"
FREE = "+4915112345678"
MARCH = datetime(2025, 3, 9, 12, tzinfo=UTC)
YEARS_LATER = datetime(2030, 1, 1, tzinfo=UTC)


def holds(world: World) -> Holds:
    runtime = world.runtime
    return Holds(runtime.objects, runtime.ring)


def place(world: World, **scope: object) -> Hold:
    return holds(world).place("High Court", "HC-7", YEARS_LATER, Scope(**scope), world.now)  # type: ignore[arg-type]


def two_people(world: World) -> None:
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest(
        [
            report(1, HELD, MARCH, account="acme"),
            report(2, HELD, MARCH + timedelta(days=1), account="other", message_id="wanted-message"),
            report(3, FREE, MARCH, account="acme"),
            b'{"messageId":"broken","to":"923001234567","sentAt":"never"}',
        ]
    )


def expire_march(world: World) -> None:
    world.now = datetime(2026, 4, 1, tzinfo=UTC)
    assert [o.what for o in world.sweep(forced=True)] == ["2025-03.w12"]


def release(world: World, hold: Hold) -> dict[str, object]:
    maintenance = world.maintenance_context()
    return finish_release(maintenance.holds, maintenance.registrar, hold.id, world.now)


@pytest.mark.parametrize(
    ("scope", "kept"),
    [
        ({"subjects": person(HELD)}, {0, 1, 3}),
        ({"accounts": ("acme",)}, {0, 2}),
        ({"messages": ("wanted-message",)}, {1}),
        ({"subjects": person(HELD), "since": MARCH + timedelta(hours=1)}, {1, 3}),
        ({"subjects": person(HELD), "until": MARCH}, {3}),
    ],
)
def test_what_a_hold_covers_survives_the_end_of_the_window(
    make_world: Callable[..., World], scope: dict[str, object], kept: set[int]
) -> None:
    world = make_world()
    two_people(world)
    hold = place(world, **scope)
    expire_march(world)
    found = list(holds(world).records(hold))
    assert {int(r["record"].split("/")[2]) for r in found} == kept
    for record in found:
        if record["metadata"]:
            assert record["metadata"]["channel"] == "sms"
            assert record["identifiers"][0]["kind"] == "msisdn"
            assert record["entries"], "the original is kept with it"
        else:
            assert record["quarantine"]["value"]
    assert not (world.keys / "2025-03.w12.key").exists(), "the month is destroyed all the same"


def test_what_no_hold_covers_is_gone(make_world: Callable[..., World]) -> None:
    world = make_world()
    two_people(world)
    hold = place(world, subjects=person(HELD))
    token = world.tokens(FREE, ["2025-03"])["2025-03"]
    expire_march(world)
    assert world.holding(token, FREE[1:].encode()) == []
    values = {i["value"] for r in holds(world).records(hold) for i in r["identifiers"]}
    assert values == {HELD[1:]}


def test_neither_names_nor_files_of_a_hold_show_whom_it_is_for(make_world: Callable[..., World]) -> None:
    world = make_world()
    two_people(world)
    token = world.tokens(HELD, ["2025-03"])["2025-03"]
    hold = place(world, subjects=person(HELD), accounts=("acme",), messages=("wanted-message",))
    expire_march(world)
    assert (
        world.holding(
            HELD[1:].encode(), b"wanted-message", b"High Court", b"HC-7", token, token.hex().encode()
        )
        == []
    )
    assert HELD[1:] not in repr(hold)


def test_release_destroys_what_was_held_and_says_so(make_world: Callable[..., World]) -> None:
    world = make_world()
    two_people(world)
    hold = place(world, subjects=person(HELD))
    expire_march(world)
    copies = [(world.root / p).read_bytes() for p in world.paths("_holds") if p.endswith(".sealed")]
    assert copies
    certificate = release(world, hold)
    assert [c["deletion"] for c in certificate["completed"]] == ["2025-03.w12"]  # type: ignore[attr-defined]
    assert [p for p in world.paths("_holds") if "/records/" in p or "/waiting/" in p] == []
    assert not (world.keys / f"hold.{hold.id}.key").exists()
    with pytest.raises(LetheError):
        holds(world).find("HC-7")
    assert holds(world).known()[0].released == world.now
    signer = load_signer(world.keys)
    assert signer is not None
    assert certificates.verify_all(world.runtime.objects, signer.history.keys) == 2
    # Releasing again is the same release.
    assert release(world, hold)["number"] == certificate["number"]


def test_a_hold_survives_erasure_and_its_release_finishes_it(make_world: Callable[..., World]) -> None:
    world = make_world()
    two_people(world)
    hold = place(world, messages=("wanted-message",))
    preview = preview_erasure(world.maintenance_context(), person(HELD))
    assert preview.months[0]["held"] == 1
    assert preview.months[0]["holds"] == [hold.id]
    erased = erase(world.maintenance_context(), person(HELD))
    assert erased.total("held") == 1
    assert world.found(HELD) == []
    (kept,) = holds(world).records(hold)
    assert kept["identifiers"] == [{"role": "recipient", "kind": "msisdn", "value": HELD[1:]}]
    assert holds(world).waiting(hold) == 1
    completed = release(world, hold)["completed"]
    assert [c["records"] for c in completed] == [1]  # type: ignore[attr-defined]


def test_two_holds_keep_the_same_record_each_on_its_own(make_world: Callable[..., World]) -> None:
    world = make_world()
    two_people(world)
    one = place(world, subjects=person(HELD))
    two = holds(world).place("Police", "P-1", YEARS_LATER, Scope(accounts=("other",)), world.now)
    expire_march(world)
    release(world, one)
    (left,) = holds(world).records(two)
    assert left["identifiers"][0]["value"] == HELD[1:]


def test_a_hold_placed_after_the_end_brings_nothing_back(make_world: Callable[..., World]) -> None:
    world = make_world()
    two_people(world)
    world.now = datetime(2026, 4, 1, tzinfo=UTC)
    hold = place(world, subjects=person(HELD))
    expire_march(world)
    assert list(holds(world).records(hold)) == []


def test_a_hold_that_cannot_be_read_stops_every_deletion(make_world: Callable[..., World]) -> None:
    world = make_world()
    two_people(world)
    hold = place(world, subjects=person(HELD))
    path = world.root / f"_holds/{hold.id}/hold.json"
    path.write_bytes(b"{}")
    world.now = datetime(2026, 4, 1, tzinfo=UTC)
    with pytest.raises(IntegrityError, match="nothing is deleted"):
        world.sweep(forced=True)
    assert (world.keys / "2025-03.w12.key").exists()
    (world.keys / "latest-time").unlink()
    world.now = datetime(2025, 4, 1, tzinfo=UTC)
    with pytest.raises(IntegrityError):
        erase(world.maintenance_context(), person(FREE))


def test_an_account_hold_keeps_archive_rows_past_their_years(make_world: Callable[..., World]) -> None:
    world = make_world()
    two_people(world)
    hold = place(world, accounts=("acme",))
    world.now = datetime(2036, 1, 1, tzinfo=UTC)
    world.sweep(forced=True)
    assert world.rows("metadata") == []
    kept = {int(r["record"].split("/")[2]): r for r in holds(world).records(hold)}
    assert set(kept) == {0, 2}
    assert kept[0]["identifiers"], "what the window had is not replaced by less"


def test_a_reference_is_used_once_at_a_time(make_world: Callable[..., World]) -> None:
    world = make_world()
    hold = place(world, accounts=("acme",))
    with pytest.raises(LetheError, match="already"):
        place(world, accounts=("acme",))
    release(world, hold)
    assert place(world, accounts=("acme",)).id != hold.id


def test_past_its_review_date_a_hold_shows_as_overdue_in_doctor_and_metrics(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    two_people(world)
    place(world, subjects=person(HELD))
    metrics = Metrics()

    def seen() -> tuple[str, float | None, float | None]:
        (check,) = _holds(world.runtime, "holds")
        _sweep(world.runtime, metrics)
        value = metrics.registry.get_sample_value
        return check.state, *(value("lethe_holds", {"state": s}) for s in ("in_force", "overdue"))  # type: ignore[return-value]

    review = holds(world).active()[0].review
    world.now = review - timedelta(microseconds=1)
    assert seen() == ("ok", 1.0, 0.0)
    world.now = review
    assert seen() == ("warning", 1.0, 1.0)
    release(world, holds(world).active()[0])
    assert seen() == ("ok", 0.0, 0.0)


def test_an_account_hold_makes_objects_of_what_it_covers_only(make_world: Callable[..., World]) -> None:
    """A month of other people's rows is joined as columns: 680 bytes of each as objects would be too many."""
    world = make_world()
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest([report(n, f"+92300{n:07d}", MARCH, account="other") for n in range(6_000)])
    world.ingest([report(n, HELD, MARCH, account="acme") for n in range(3)])
    maintenance = world.maintenance_context()
    (part,) = [p for p in open_parts(maintenance.ring, world.now) if str(p.month) == "2025-03"]
    scope = Scope(accounts=("acme",))
    assert len(covered(maintenance.warehouse, part, scope)) == 3  # what is loaded once has been
    tracemalloc.start()
    try:
        assert len(covered(maintenance.warehouse, part, scope)) == 3
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
