"""The targets of a case read together: who is named how, what is one communication, what the audit says."""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "retention"))

import pytest
from retention_world import World, report

from lethe.operations.analysis.communications import Read, communications
from lethe.operations.asker import Asker
from lethe.operations.rights.restrict import restrict
from lethe.operations.window.identify import identify
from lethe.schemas.errors import InputError

HER, HIM, THEM = "+923001234567", "+923217654321", "+4915112345678"
MARCH = datetime(2025, 3, 10, 12, tzinfo=UTC)


def call(source: str, target: str, when: datetime) -> bytes:
    return json.dumps(
        {
            "time": int(when.timestamp()), "method": "INVITE", "from_tag": "a", "to_tag": "b", "callid": f"c{when}",
            "sip_code": "200", "sip_reason": "OK", "src_user": source, "src_domain": "sip.example.net",
            "dst_user": target, "dst_domain": "sip.example.net",
        }
    ).encode()  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "site")
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    hour = timedelta(hours=1)
    world.ingest(
        [call(HER, HIM, MARCH), call(HER, THEM, MARCH + hour), call(THEM, HIM, MARCH + 2 * hour)],
        "kamailio/acc",
    )
    return world


def digest(text: str) -> str:
    return hashlib.sha256(b"key of the case" + text.encode()).hexdigest()


def read(world: World, *targets: str) -> Read:
    return communications(world.runtime, Asker.of("amal", "F-1", "fraud"), targets, digest)


def test_targets_are_called_by_their_number_and_others_by_a_name_of_the_case(world: World) -> None:
    found = read(world, HER, HIM)
    rows = found.events.select("target", "role", "counterpart", "counterpart_kind").rows()
    (other,) = found.people
    assert rows == [
        (1, "caller", "T2", "target"),
        (2, "callee", "T1", "target"),
        (1, "caller", other, "person"),
        (2, "callee", other, "person"),
    ]
    assert other.startswith("P-")
    assert found.people[other].startswith("+49151")
    assert "*" in found.people[other]
    assert other in read(world, HIM).people, "the same name in every look of the case"
    told = repr(found) + found.events.write_json() + json.dumps(dict(found.people))
    assert not any(n.strip("+") in told for n in (HER, HIM, THEM))


def test_several_reports_of_a_message_are_one_communication(world: World) -> None:
    pending = {
        "status": {
            "groupId": 1,
            "groupName": "PENDING",
            "id": 7,
            "name": "PENDING_ENROUTE",
            "description": "d",
        }
    }
    late = MARCH + timedelta(minutes=5)
    world.ingest(
        [
            report(1, HER, MARCH, message_id="m-1", **pending),
            report(1, HER, late, message_id="m-1"),
            report(2, HER, MARCH, message_id="m-2"),
        ]
    )
    events = read(world, HER).events
    sms = events.filter(events["channel"] == "sms")
    assert sorted(sms["reports"].to_list()) == [1, 2]
    assert set(sms["time"]) == {MARCH}, "when it began, not when it was reported"
    assert set(sms["status_group"]) == {"DELIVERED"}


def test_one_entry_is_of_all_targets_before_anything_is_answered(world: World) -> None:
    found = read(world, HER, HIM)
    (entry,) = (e for e in world.runtime.audit.entries() if e["action"] == "case.analyse")
    assert (entry["who"], entry["case"], entry["targets"], entry["count"]) == ("amal", "F-1", 2, found.rows)
    tokens = world.runtime.audit_tokens
    hers = tokens.of_month("2025-03", world.now, identify(HER).subjects)
    assert set(hers) <= set(entry["subjects"])


def test_who_is_restricted_is_in_no_row(world: World) -> None:
    restrict(world.runtime, Asker.of("dora", "R-1", "request"), THEM)
    found = read(world, HER, THEM)
    assert found.restricted
    assert 2 not in found.events["target"].to_list()
    assert set(found.events["counterpart_kind"]) <= {"person", "restricted", "target"}
    assert not any("+49151" in masked for masked in found.people.values())


def test_more_than_fifty_targets_are_too_many(world: World) -> None:
    with pytest.raises(InputError, match="1 to 50"):
        read(world, *(f"+92300123{n:04d}" for n in range(51)))
    with pytest.raises(InputError, match="1 to 50"):
        read(world)
