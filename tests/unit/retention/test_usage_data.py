"""Usage data: in the window alone, under keys of its own, and nothing of it ever older than three years."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from retention_world import World, person, report

from lethe.operations.asker import Asker
from lethe.operations.health import ledger as ledgers
from lethe.operations.intake import replay as replays
from lethe.operations.window.lookup import lookup
from lethe.operations.window.reveal import reveal
from lethe.operations.window.visibility import RestrictedError
from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.paths import template
from lethe.schemas.errors import ConfigurationError, ExpiredKeyError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.schemas.sections import SectionError
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.certificates import certificates
from lethe.tiers.holds.coverage import count
from lethe.tiers.holds.holds import Holds
from lethe.tiers.holds.scope import Scope
from lethe.tiers.ledger import reconcile
from lethe.tiers.replay import lease, recover
from lethe.tiers.replay import replay as replay_tables
from lethe.tiers.rights import erasure, restrictions
from lethe.tiers.rights.erasure import erase, preview_erasure
from lethe.tiers.rights.subject_export import as_files, build

HER, HIS, OFFICE = "jane.doe", "b.smith@example.com", "203.0.113.9"
MARCH = datetime(2025, 3, 9, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
ASKER = Asker("ops", "F-1", "account take-over")


def access(
    user: str = HER, when: datetime = MARCH, path: str = "/sms/3/logs?to=923001234567", **more: Any
) -> bytes:
    """A line of an access log."""
    time = when.astimezone(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    address = more.get("address", OFFICE)
    seen = '"https://x.example/?q=hello" "Mozilla/5.0"'
    return f'{address} - {user} [{time}] "GET {path} HTTP/1.1" 200 2326 {seen}'.encode()


def activity(when: datetime = MARCH, **more: Any) -> bytes:
    """A record of the platform's activity log."""
    record = {
        "timestamp": when.astimezone(UTC).isoformat(), "account_id": "acme-4711", "user_id": HER,
        "ip_address": OFFICE, "action": "api_key.create", "result": "ok", "user_agent": "Mozilla/5.0 secret text",
    }  # fmt: skip
    return json.dumps(record | more).encode()


def begun(make_world: Callable[..., World], **settings: Any) -> World:
    world = make_world(**settings)
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    return world


def looked_up(world: World, text: str, **more: Any) -> list[dict[str, Any]]:
    return lookup(world.runtime, replace(ASKER, **more), text).records


def test_it_is_found_by_account_user_and_address_in_the_order_of_time(
    make_world: Callable[..., World],
) -> None:
    world = begun(make_world)
    world.ingest(
        [activity(), activity(MARCH + timedelta(hours=1), action="sms.send", user_id=HIS)],
        "platform/activity",
    )
    world.ingest([access(when=MARCH + timedelta(hours=2))], "web/combined")
    assert [r["action"] for r in looked_up(world, "acme-4711")] == ["sms.send", "api_key.create"]
    his = looked_up(world, "B.Smith@Example.com")
    assert [(r["role"], r["account"], r["status"]) for r in his] == [("user", "acme-4711", "ok")]
    hers = looked_up(world, HER)
    assert [(r["data"], r["method"], r["path"], r["status"]) for r in hers] == [
        ("usage", "GET", "/sms/3/logs", "200"),
        ("usage", None, None, "ok"),
    ]
    assert len(looked_up(world, "::ffff:203.0.113.9")) == 3
    shown = reveal(world.runtime, ASKER, Position.parse(hers[1]["record"]))
    assert {(p.role, p.value) for p in shown.parties} == {
        ("account", "acme-4711"),
        ("user", HER),
        ("address", OFFICE),
    }
    assert shown.metadata["action"] == "api_key.create"


def test_nothing_of_it_is_in_the_archive_or_in_clear(make_world: Callable[..., World]) -> None:
    world = begun(make_world)
    counts = world.ingest([activity(), activity(action="Jane Doe deleted 923001234567")], "platform/activity")
    counts.add(world.ingest([access(), access(path="/users/jane.doe/923001234567")], "web/combined"))
    assert (counts.split, counts.usage, counts.identifiers, counts.redacted) == (4, 4, 10, 1)
    assert world.rows("metadata") == []
    assert {r["window_months"] for t in ("usage", "identifiers") for r in world.rows(t)} == {35}
    assert not world.rows("originals")
    words = (HER, "acme", "Jane", "203.0.113", "923001234567", "api_key", "/sms/3", "Mozilla", "hello")
    assert world.holding(*(word.encode() for word in words)) == []
    assert {r["path"] for r in looked_up(world, HER)} == {None, "/sms/3/logs", "/users/{}/{}"}
    assert {r["action"] for r in looked_up(world, HER)} == {None, "api_key.create"}, "free text is no action"
    assert reconcile.check(world.runtime.warehouse) == []
    (one, two) = ledgers.by_stream(world.runtime)
    assert one.usage + two.usage == 4


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/sms/3/messages", "/sms/3/messages"),
        ("/v2/users/jane.doe?token=x#top", "/v2/users/{}"),
        ("/messages/447700900123/report", "/messages/{}/report"),
        ("/users/7/logs/8", "/users/7/logs/{}"),
        ("https://api.example.com/users/jane", "/users/{}"),
        ("/ayesha%40example.com/login", "/{}/login"),
        ("/" + "a/" * 40, "/" + "/".join(["{}"] * 12) + "/..."),
        ("/", "/"),
        ("sip:jane@example.com", None),
        ("", None),
    ],
)
def test_a_path_is_kept_as_a_template_of_known_words(path: str, shown: str | None) -> None:
    assert template(path) == shown
    assert template("/tenants/jane/login", frozenset({"tenants"})) == "/tenants/{}/login"


@pytest.mark.parametrize(
    ("month", "end"),
    [
        (Month(2025, 3), datetime(2028, 3, 1, tzinfo=UTC)),
        (Month(2025, 2), datetime(2028, 2, 1, tzinfo=UTC)),
        (Month(2024, 12), datetime(2027, 12, 1, tzinfo=UTC)),
        (Month(2024, 2), datetime(2027, 2, 1, tzinfo=UTC)),  # has a leap day
    ],
)
def test_a_month_of_it_ends_three_years_after_its_first_instant(
    make_world: Callable[..., World], month: Month, end: datetime
) -> None:
    world = make_world()
    world.now = month.plus(1).start()
    world.ingest(
        [activity(month.start()), activity(month.plus(1).start() - MICROSECOND)], "platform/activity"
    )
    token = world.tokens(HER, [str(month)], 35)[str(month)]
    world.now = end - MICROSECOND
    assert len(looked_up(world, HER)) == 2
    assert world.sweep(forced=True) == []
    world.now = end
    assert looked_up(world, HER) == []
    with pytest.raises(ExpiredKeyError):
        world.runtime.ring.keys_for(month, 35)
    (outcome,) = world.sweep(forced=True)
    assert (outcome.what, outcome.state, outcome.due) == (f"{month}.w35", "forgotten", end)
    assert outcome.due - month.start() <= timedelta(days=3 * 365 + 1), "nothing is older than three years"
    body = certificates.read(world.runtime.objects, outcome.certificate)["certificate"]
    assert body["counts"]["rows_by_table"] == {"identifiers": 6, "usage": 2}
    assert world.rows("usage") == [] == world.rows("identifiers")
    assert world.holding(token) == []
    assert not [p for p in world.paths("usage") if "month=" in p]
    assert reconcile.check(world.runtime.warehouse) == []


def test_what_is_older_than_three_years_is_kept_nowhere(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.now = datetime(2028, 3, 1, tzinfo=UTC)
    counts = world.ingest(
        [
            activity(datetime(2025, 4, 1, tzinfo=UTC)),
            activity(datetime(2025, 4, 1, tzinfo=UTC) - MICROSECOND),
        ],
        "platform/activity",
    )
    assert (counts.split, counts.late, dict(counts.reasons)) == (1, 0, {"too_old": 1})
    (row,) = world.rows("quarantine")
    assert row["sealed"] is None
    assert not (world.keys / "2025-03.w35.key").exists()


def test_its_keys_are_its_own(make_world: Callable[..., World]) -> None:
    world = begun(make_world)
    world.ingest([report(1, "+923001234567", MARCH)])
    world.ingest([activity(user_id="+923001234567")], "platform/activity")
    assert len({r["token"] for r in world.rows("identifiers") if r["kind"] == "msisdn"}) == 2
    assert len(looked_up(world, "+92 300 1234567")) == 2, "and both are found"
    world.now = datetime(2026, 4, 1, tzinfo=UTC)
    assert [o.what for o in world.sweep(forced=True)] == ["2025-03.w12"]
    assert [r.get("data") for r in looked_up(world, "+92 300 1234567")] == ["usage"]
    for more in (
        {"window_months": 35},
        {"countries": [{"country": "PK", "window_months": 35, "reason": "a law"}]},
    ):
        with pytest.raises(SectionError, match="keys of its own"):
            RetentionPolicy(**more)
    with pytest.raises(SectionError):
        RetentionPolicy(usage_months=36)


def test_erasure_takes_whole_records_and_no_others(make_world: Callable[..., World]) -> None:
    world = begun(make_world)
    world.ingest(
        [activity(), activity(user_id=HIS), activity(), b'{"user_id":"jane.doe","timestamp":"never"}'],
        "platform/activity",
    )
    token = world.tokens(HER, ["2025-03"], 35)["2025-03"]
    world.ingest([access(), access("bob")], "web/combined")
    hers = (Subject("opaque", HER),)
    counts = {
        "identifiers": 8,
        "originals": 0,
        "quarantine": 1,
        "mentioned": 0,
        "usage": 3,
        "evidence": 0,
        "held": 0,
        "holds": [],
    }
    (month,) = preview_erasure(world.maintenance_context(), hers).months
    assert month == {"month": "2025-03", "window_months": 35, **counts}
    assert len(looked_up(world, HER)) == 3
    erased = erase(world.maintenance_context(), hers)
    assert erased.months == [month]
    assert looked_up(world, HER) == []
    assert len(looked_up(world, OFFICE)) == 2, "what others did from there stays"
    assert world.holding(token) == []
    assert [r["form"] for r in world.rows("quarantine")] == [None]
    assert reconcile.check(world.runtime.warehouse) == []
    assert erase(world.maintenance_context(), hers).months == []


def test_an_export_tells_what_was_done(make_world: Callable[..., World]) -> None:
    world = begun(make_world)
    world.ingest([activity(), activity(user_id=HIS)], "platform/activity")
    export = build(
        world.maintenance_context(),
        world.settings.retention,
        (Subject("opaque", HER),),
        lambda *_: [],
        world.now,
    )
    (record,) = export["records"]
    assert (record["metadata"]["action"], record["metadata"]["account"]) == ("api_key.create", "acme-4711")
    assert record["identifiers_kept_until"] == record["metadata_kept_until"] == "2028-03-01T00:00:00+00:00"
    assert export["sources"] == ["platform/activity"]
    assert b"api_key.create" in as_files(export)["records.csv"]
    assert HIS.encode() not in b"".join(as_files(export).values())


@pytest.mark.parametrize(
    "scope",
    [Scope((Subject("opaque", HER),)), Scope(accounts=("acme-4711",)), Scope((Subject("ip", OFFICE),))],
)
def test_a_hold_keeps_it_beyond_erasure_and_the_end_of_the_month(
    make_world: Callable[..., World], scope: Scope
) -> None:
    world = begun(make_world)
    world.ingest(
        [activity(), activity(account_id="other", user_id=HIS, ip_address="198.51.100.1")],
        "platform/activity",
    )
    runtime = world.runtime
    hold = Holds(runtime.objects, runtime.ring).place(
        "Court", "C-1", world.now + timedelta(days=60), scope, world.now
    )
    assert count(runtime.warehouse, Holds(runtime.objects, runtime.ring), runtime.ring, hold, world.now) == {
        "2025-03": 1
    }
    (month,) = erase(world.maintenance_context(), (Subject("opaque", HER),)).months
    assert (month["held"], month["holds"]) == (1, [hold.id])
    world.now = datetime(2028, 3, 1, tzinfo=UTC)
    world.sweep(forced=True)
    (kept,) = Holds(world.runtime.objects, world.runtime.ring).records(hold)
    assert kept["metadata"]["action"] == "api_key.create"
    assert {i["value"] for i in kept["identifiers"]} == {"acme-4711", HER, OFFICE}


def test_a_restriction_hides_it(make_world: Callable[..., World]) -> None:
    world = begun(make_world)
    runtime = world.runtime
    restrictions.place(
        runtime.objects, runtime.ring, world.settings.retention, (Subject("opaque", HER),), world.now
    )
    world.ingest([activity()], "platform/activity")
    assert looked_up(world, HER) == []
    (seen,) = looked_up(world, HER, law="court order")
    with pytest.raises(RestrictedError):
        reveal(world.runtime, ASKER, Position.parse(seen["record"]))


def test_rejected_usage_data_lands_when_its_declaration_takes_it(
    make_world: Callable[..., World], tmp_path: Any
) -> None:
    folder = tmp_path / "formats"
    folder.mkdir()
    text = """name = "own/activity"
version = 1
title = "Our activity"
data = "usage"
field = [
    {{ path = "who", class = "subject", role = "user", end_user = "always" }},
    {{ path = "at", class = "usage", type = "timestamp", column = "event_time", format = "{form}", required = true }},
    {{ path = "did", class = "usage", type = "code", pattern = "action", column = "action" }},
]
"""
    (folder / "own.toml").write_text(text.format(form="epoch_s"))
    world = begun(make_world, formats_dir=folder)
    line = b'{"who":"jane.doe","at":"2025-03-09T12:00:00Z","did":"login"}'
    counts = world.ingest([line, b'{"who":"bob","at":"1741521600","did":"login"}'], "own/activity")
    assert (counts.usage, counts.rejected) == (1, 1)
    (folder / "own.toml").write_text(text.format(form="iso_or_epoch_s"))
    done, _ = replays.replay(world.runtime, replays.Wanted())
    assert (done.left, done.records) == (1, 1)
    assert [r["action"] for r in looked_up(world, HER)] == ["login"]
    assert world.rows("quarantine") == []
    assert reconcile.check(world.runtime.warehouse) == []
    assert replays.replay(world.runtime, replays.Wanted())[0].left == 0


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            'path = "x"\nclass = "archive"\ntype = "integer"\ncolumn = "parts"',
            "x: a field of usage data is of class",
        ),
        ('path = "x"\nclass = "window"', "x: a field of usage data is of class"),
        (
            'path = "x"\nclass = "subject"\nrole = "user"\nend_user = "never"\nbusiness = "sender"',
            "x: a field of usage",
        ),
        (
            'path = "x"\nclass = "usage"\ntype = "integer"\ncolumn = "parts"',
            "has a type of code, path, timestamp",
        ),
        (
            'path = "x"\nclass = "usage"\ntype = "code"\npattern = "name"\ncolumn = "account"',
            "fills action, method",
        ),
    ],
)
def test_a_declaration_that_would_let_it_out_is_refused(change: str, what: str) -> None:
    declared = """name = "own/activity"
version = 1
title = "Our activity"
data = "usage"
[[field]]
path = "who"
class = "subject"
role = "user"
end_user = "always"
[[field]]
path = "at"
class = "usage"
type = "timestamp"
column = "event_time"
required = true
"""
    assert formats.parse(declared, "own.toml").data == "usage"
    with pytest.raises(ConfigurationError, match=what):
        formats.parse(f"{declared}[[field]]\n{change}\n", "own.toml")
    with pytest.raises(ConfigurationError, match="at: class usage is for formats"):
        formats.parse(
            declared.replace('data = "usage"\n', 'channel = "sms"\ndirection = "inbound"\n'), "own.toml"
        )


def test_persons_of_usage_data_are_the_same_persons(make_world: Callable[..., World]) -> None:
    world = begun(make_world)
    world.ingest([report(1, "+923001234567", MARCH)])
    world.ingest([activity(user_id="923001234567")], "platform/activity")
    (one, two) = erase(world.maintenance_context(), person("+923001234567")).months
    assert {(m["window_months"], m["usage"]) for m in (one, two)} == {(12, 0), (35, 1)}


class DeadError(BaseException):
    """The process died here."""


def dying(monkeypatch: pytest.MonkeyPatch, *modules: Any, at: str) -> None:
    """Let a process die the first time a point is reached."""
    reached: list[str] = []

    def fail_point(name: str) -> None:
        if name == at and at not in reached:
            reached.append(name)
            raise DeadError

    for module in modules:
        monkeypatch.setattr(module, "fail_point", fail_point)


@pytest.mark.parametrize(
    "point",
    ["replay.committed.identifiers", "replay.written.usage", "replay.committed.usage", "replay.written.metadata",
     "replay.committed.metadata", "replay.kept", "replay.committed.quarantine", "replay.taken_out"],
)  # fmt: skip
def test_a_replay_of_it_that_dies_is_finished_once(
    make_world: Callable[..., World], tmp_path: Any, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    folder = tmp_path / "formats"
    folder.mkdir()
    text = """name = "own/activity"
version = 1
title = "Our activity"
data = "usage"
field = [
    {{ path = "who", class = "subject", role = "user", end_user = "always" }},
    {{ path = "at", class = "usage", type = "timestamp", column = "event_time", format = "{form}", required = true }},
]
"""
    (folder / "own.toml").write_text(text.format(form="epoch_s"))
    world = begun(make_world, formats_dir=folder)
    lines = [json.dumps({"who": f"user-{n}", "at": "2025-03-09T12:00:00Z"}).encode() for n in range(3)]
    assert world.ingest(lines, "own/activity").rejected == 3
    (folder / "own.toml").write_text(text.format(form="iso"))
    with monkeypatch.context() as patch:
        dying(patch, lease, recover, replay_tables, at=point)
        with pytest.raises(DeadError):
            replays.replay(world.runtime, replays.Wanted())
    replays.replay(world.runtime, replays.Wanted())
    assert sorted(r["offset"] for r in world.rows("usage")) == [0, 1, 2]
    assert len(world.rows("identifiers")) == 3
    assert world.rows("quarantine") == []
    assert len(looked_up(world, "user-1")) == 1
    assert reconcile.check(world.runtime.warehouse) == []


@pytest.mark.parametrize("point", ["erase.kept", "erase.rewritten.identifiers", "erase.rewritten.usage"])
def test_an_erasure_of_it_that_dies_leaves_nothing_to_whoever_asks_again(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    world = begun(make_world)
    world.ingest([activity(), activity(user_id=HIS)], "platform/activity")
    hers = (Subject("opaque", HER),)
    with monkeypatch.context() as patch:
        dying(patch, erasure, at=point)
        with pytest.raises(DeadError):
            erase(world.maintenance_context(), hers)
    erase(world.maintenance_context(), hers)
    assert len(world.rows("usage")) == 1
    assert len(world.rows("identifiers")) == 3
    assert looked_up(world, HER) == []
    assert reconcile.check(world.runtime.warehouse) == []
