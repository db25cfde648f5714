"""Signed requests: done in the name of the account whose key signs, under its roles, its cases and a second person."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from audits import audit_entries
from hypothesis import given, settings
from hypothesis import strategies as st
from retention_world import World, report
from typer.testing import CliRunner

from lethe.console.cli.main import app
from lethe.console.web.service import Service
from lethe.operations.access.roles import Role
from lethe.operations.access.signed_requests import new_key, private_key, public_key, sign, signed_bytes
from lethe.streams.worker.control_topic import Desk
from lethe.tiers.rights import restrictions

HER, HIM = "+923001234567", "+4915112345678"
PEM, PUBLIC = new_key()
TEXT = st.text(st.characters(codec="utf-8"), max_size=12).filter(lambda text: text != "signature")


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    world = make_world()
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest([report(1, HER, datetime(2025, 3, 9, 12, tzinfo=UTC))])
    return world


@pytest.fixture
def service(world: World) -> Iterator[Service]:
    service = Service.open(world.runtime)
    desk = service.accounts.add("dsr-desk", "", [Role.PRIVACY_OFFICER], None)
    service.accounts.add("bela", "", [Role.APPROVER], None)
    service.cases.open(desk, "DSR-1", "", "person")
    service.request_keys.add(desk.id, public_key(PUBLIC), "tickets")
    yield service
    service.database.engine.dispose()


def asked(world: World, **fields: Any) -> dict[str, Any]:
    request = {"id": str(uuid4()), "command": "restrict", "subject": HER, "case": "DSR-1", **fields}
    return sign(request, private_key(PEM), world.now)


def answer(world: World, request: dict[str, Any]) -> dict[str, Any]:
    return Desk(world.runtime).answer(orjson.dumps(request))


def named(service: Service, name: str) -> Any:
    return next(p for p in service.accounts.all() if p.name == name)


def test_a_signed_request_is_the_accounts_own(world: World, service: Service) -> None:
    assert answer(world, asked(world, purpose="letter of today"))["state"] == "done"
    [done] = [e for e in audit_entries(world.keys) if e["action"] == "restrict"]
    assert (done["who"], done["case"], done["purpose"]) == ("dsr-desk", "DSR-1", "person: letter of today")
    assert (done["source"], HER[1:] in str(done)) == ("control topic", False)


def test_what_ends_the_right_to_sign(world: World, service: Service) -> None:
    def refused(why: str) -> None:
        told = answer(world, asked(world))
        assert (told["state"], why in told["reason"]) == ("refused", True), told

    desk = named(service, "dsr-desk")
    waiting = asked(world)
    service.accounts.set_roles(desk.id, [Role.AUDITOR])
    refused("your roles do not include restrict")
    service.accounts.set_roles(desk.id, [Role.PRIVACY_OFFICER])
    service.accounts.disable(desk.id)
    refused("closed")
    service.accounts.disable(desk.id, False)
    service.cases.close(desk, service.cases.named(desk, "DSR-1").id)
    refused("the case is closed")
    service.request_keys.revoke(service.request_keys.all()[0].id)
    refused("registered here and in force")
    assert answer(world, waiting)["state"] == "refused", "what was signed before the key was revoked"
    assert world.runtime.objects.list("_requests/") == []
    with pytest.raises(Exception, match="a revoked one never comes back"):
        service.request_keys.add(desk.id, public_key(PUBLIC), "again")


def test_what_is_refused_is_in_the_audit_and_says_nothing_of_whom(world: World, service: Service) -> None:
    stranger = sign(
        {"id": str(uuid4()), "command": "export", "subject": HER}, private_key(new_key()[0]), world.now
    )
    service.accounts.set_roles(named(service, "dsr-desk").id, [Role.AUDITOR])
    mine = asked(world)
    assert [answer(world, one)["state"] for one in (stranger, mine)] == ["refused", "refused"]
    entries = [e for e in audit_entries(world.keys) if e["action"] == "refused"]
    assert [(e["who"], e["what"], e["request"], e["source"]) for e in entries] == [
        ("nobody whose signature counts", "export", stranger["id"], "control topic"),
        ("dsr-desk", "restrict", mine["id"], "control topic"),
    ]
    assert not any(HER[1:] in str(e) or "subjects" in e or "DSR-1" in str(e) for e in entries)


def test_unsigned_ones_are_refused_unless_the_site_takes_them(
    world: World, make_world: Callable[..., World]
) -> None:
    request = {"id": str(uuid4()), "command": "restrict", "subject": HER}
    told = answer(world, request)
    assert (told["id"], told["state"]) == (request["id"], "refused")
    assert "lethe users keys add" in told["reason"]
    assert "requests.signed = false" in told["reason"]
    old = make_world(requests={"signed": False})
    old.now = world.now
    old.ingest([report(1, HER, datetime(2025, 3, 9, 12, tzinfo=UTC))])
    assert answer(old, request)["state"] == "done"
    # A signature is checked there too: one that is wrong is no request of nobody.
    assert (
        answer(old, {**request, "id": str(uuid4()), "key": "0" * 16, "signature": "AA=="})["state"]
        == "refused"
    )


def test_a_request_counts_for_a_day_by_the_clock_here(world: World, service: Service) -> None:
    late, early = asked(world), asked(world)
    world.now += timedelta(hours=23, minutes=59)
    assert answer(world, late)["state"] == "done"
    world.now += timedelta(minutes=2)
    assert "more than 24 hours ago" in answer(world, early)["reason"]
    assert "more than 24 hours ago" in answer(world, late)["reason"], "so is one that was done"
    ahead = sign(
        {"id": str(uuid4()), "command": "lift", "subject": HER, "case": "DSR-1"},
        private_key(PEM), world.now + timedelta(minutes=6),
    )  # fmt: skip
    assert "future" in answer(world, ahead)["reason"]
    world.now += timedelta(minutes=2)
    assert answer(world, ahead)["state"] == "done"


def test_the_database_knows_no_id_and_nothing_of_what_was_said(world: World, service: Service) -> None:
    request = asked(world)
    answer(world, request)
    data = b"".join(p.read_bytes() for p in world.folder.glob("service.db*"))
    assert b"dsr-desk" in data
    assert HER[1:].encode() not in data
    assert request["id"].encode() not in data


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(TEXT, TEXT, max_size=5),
    st.dictionaries(TEXT, TEXT, max_size=5),
)
def test_two_requests_are_never_signed_alike(one: dict[str, str], other: dict[str, str]) -> None:
    assert (signed_bytes(one) == signed_bytes(other)) == (one == other)


def test_keys_are_made_registered_and_revoked_by_command(
    world: World, service: Service, tmp_path: Path
) -> None:
    config = tmp_path / "lethe.toml"
    config.write_text(f'root = "{world.root}"\nkeys_dir = "{world.keys}"\n')
    pem = tmp_path / "request-key.pem"

    def run(*words: str, typed: str | None = None) -> Any:
        done = CliRunner().invoke(
            app, ["--config", str(config), "--json", "users", "keys", *words], input=typed
        )
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.stdout)

    made = run("new", "--out", str(pem))
    assert (pem.stat().st_mode & 0o777, pem.read_bytes()[:27]) == (0o600, b"-----BEGIN PRIVATE KEY-----")
    key = run("add", "dsr-desk", made["public"], "--title", "tickets")
    assert [k["id"] for k in run("list")][-1] == key["id"]
    signed = run(
        "sign", "--key", str(pem), typed=json.dumps({"command": "lift", "subject": HER, "case": "DSR-1"})
    )
    assert signed["key"] == key["id"]
    assert len(signed["id"]) == 36
    world.now = datetime.now(UTC)
    assert answer(world, signed)["state"] != "failed"
    run("revoke", key["id"])
    assert run("list")[-1]["revoked"]
    actions = [e["action"] for e in audit_entries(world.keys)]
    assert {"account.key.add", "account.key.revoke"} <= set(actions)


def in_force(world: World) -> list[restrictions.Restriction]:
    return list(restrictions.every(world.runtime.objects, world.runtime.ring))


def test_whatever_is_done_to_signed_requests_on_their_way_does_nothing(
    world: World, service: Service
) -> None:
    """Altered field by field, mixed of two, signed anew by a stranger, or sent again later: nobody is shown by it."""
    first = asked(world)
    assert answer(world, first)["state"] == "done"
    lift = asked(world, command="lift")
    assert answer(world, lift)["state"] == "done"
    again = asked(world)
    assert answer(world, again)["changed"] is True
    hidden = in_force(world)

    wrong: list[dict[str, Any]] = []
    for field, value in lift.items():
        wrong.append({name: said for name, said in lift.items() if name != field})
        wrong += [
            {**lift, field: other} for other in (value + "0", value[:-1], again[field]) if other != value
        ]
    fresh = {**lift, "id": str(uuid4())}
    wrong += [
        fresh,
        {**fresh, "time": world.now.isoformat()},
        {**lift, "who": "dsr-desk"},
        {**lift, "purpose": "another"},
        sign({**fresh, "key": ""}, private_key(new_key()[0]), world.now),
        {**sign(fresh, private_key(new_key()[0]), world.now), "key": lift["key"]},
    ]
    for one in wrong:
        told = answer(world, one)
        assert told["state"] == "refused", one
    for data in (b"", b"[]", b"null", b"[" * 9_000, orjson.dumps(lift)[:-9], b'{"id":' + b"9" * 5_000 + b"}"):
        assert Desk(world.runtime).answer(data)["state"] == "refused"
    for one in (lift, first, lift):  # sent again, it is what it was, and is not done again
        assert answer(world, one)["state"] == "done"
    assert in_force(world) == hidden
    assert len(hidden) == 1
