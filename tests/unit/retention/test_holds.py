"""What a hold covers outlives every deletion, can be found by the hold's reference, and goes when it is released."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from retention_world import World, person, report

from lethe.operations.asker import Asker
from lethe.operations.health.doctor import _holds
from lethe.operations.proof.signer import load_signer
from lethe.operations.retention import hold as orders
from lethe.schemas.errors import InputError, IntegrityError, LetheError
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


def assert_nothing_is_deleted(world: World, hold: Hold, told: str) -> None:
    """Neither an erasure nor a sweep nor the release of the hold goes through; each says why."""
    for delete in (
        lambda: erase(world.maintenance_context(), person(HELD)),
        lambda: world.sweep(forced=True),
        lambda: holds(world).release(hold.id, world.now, "it was released"),
    ):
        with pytest.raises(IntegrityError, match=told):
            delete()


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


@pytest.mark.parametrize("more", [{}, {"sealed": "AAAA"}, {"sealed": "of another hold"}, {"sealed": 7}])
def test_a_hold_said_to_be_released_without_its_key_stops_every_deletion(
    make_world: Callable[..., World], more: dict[str, object]
) -> None:
    """Whoever can only write the warehouse releases no hold."""
    world = make_world()
    two_people(world)
    hold = place(world, subjects=person(HELD))
    if more.get("sealed") == "of another hold":
        other = holds(world).place("Court", "other", YEARS_LATER, Scope(subjects=person(FREE)), world.now)
        more = holds(world)._sealed_release(other.id, "2025-03-31T00:00:00+00:00")
    forged = world.root / f"_holds/{hold.id}/released.json"
    forged.write_text(json.dumps({"released": "2025-03-31T00:00:00+00:00", "why": "over", **more}))
    assert_nothing_is_deleted(world, hold, "was not written with the hold's key")
    forged.unlink()
    assert hold.id in {h.id for h in holds(world).active()}
    expire_march(world)
    assert list(holds(world).records(hold))


@pytest.mark.parametrize("wrapped", ["there", "gone"])
def test_marks_that_a_hold_is_released_and_its_key_destroyed_are_not_believed(
    make_world: Callable[..., World], wrapped: str
) -> None:
    """Both marks are plain files in the warehouse; the key that a provider still holds says otherwise."""
    world = make_world()
    two_people(world)
    hold = place(world, subjects=person(HELD))
    forged = [world.root / f"_holds/{hold.id}/released.json", world.root / f"_keys/{hold.key}.destroyed.json"]
    forged[0].write_text(json.dumps({"released": "2025-03-31T00:00:00+00:00", "why": "over"}))
    forged[1].write_text(json.dumps({"key_id": hold.key, "destroyed": "2025-03-31T00:00:00+00:00"}))
    wrapped_key = world.root / f"_keys/{hold.key}.json"
    kept = wrapped_key.read_bytes()
    if wrapped == "gone":
        wrapped_key.unlink()
    assert_nothing_is_deleted(world, hold, "nothing is deleted")
    assert hold.key in world.runtime.ring.held("hold."), "its key is destroyed by nobody"
    for file in forged:
        file.unlink()
    wrapped_key.write_bytes(kept)
    assert hold.id in {h.id for h in holds(world).active()}
    expire_march(world)
    assert list(holds(world).records(hold))


def test_a_release_goes_on_where_only_the_mark_of_its_key_was_forged(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever laid the mark down must not keep a release, which dies half-way, from being finished."""
    world = make_world()
    two_people(world)
    hold = place(world, subjects=person(HELD))
    (world.root / f"_keys/{hold.key}.destroyed.json").write_text("{}")

    def die(name: str) -> None:
        if name == "hold.released":
            raise InterruptedError

    with monkeypatch.context() as patched:
        patched.setattr("lethe.tiers.holds.holds.fail_point", die)
        with pytest.raises(InterruptedError):
            holds(world).release(hold.id, world.now, "it was released")
    assert holds(world).active() == []
    holds(world).release(hold.id, world.now, "it was released")
    assert world.runtime.ring.held("hold.") == set()


def test_a_hold_whose_files_are_gone_is_named_by_doctor(make_world: Callable[..., World]) -> None:
    world = make_world()
    two_people(world)
    hold = place(world, subjects=person(HELD))
    assert [c.state for c in _holds(world.runtime, "holds")] == ["ok"]
    shutil.rmtree(world.root / f"_holds/{hold.id}")
    named = [c for c in _holds(world.runtime, "holds") if c.state == "warning"]
    assert [c.what for c in named] == [f"hold {hold.id}"]
    other = place(world, subjects=person(FREE))
    release(world, other)
    assert [c.what for c in _holds(world.runtime, "holds") if c.state == "warning"] == [f"hold {hold.id}"]


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


def test_what_the_audit_keeps_of_an_order_names_nobody(make_world: Callable[..., World]) -> None:
    world = make_world()
    two_people(world)
    asker = Asker.of("dora", "C-1", "authority")

    def order(authority: str, reference: str) -> orders.Order:
        return orders.Order(authority, reference, YEARS_LATER, [HELD])

    for authority, reference in (
        ("High Court", f"re {HELD}"),
        ("High Court", "HC 0300-1234567"),
        (f"court of {HELD[1:]}", "HC-7"),
        ("High Court", "re +49 1511 2345678"),
        ("amal@example.net", "HC-7"),
    ):
        with pytest.raises(InputError, match="without anybody's number or address") as refused:
            orders.place(world.runtime, asker, order(authority, reference))
        assert HELD[-7:] not in str(refused.value)
    assert list(world.runtime.audit.entries()) == []
    orders.place(
        world.runtime, asker, order("High Court", "W.P. 2026-0087654321/2026")
    )  # a court's own digits
    [entry] = world.runtime.audit.entries()
    assert entry["reference"] == "W.P. 2026-0087654321/2026"
