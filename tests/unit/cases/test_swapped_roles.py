"""Parties that change places by a condition: who called whom is told right, of persons and of the site's numbers."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from transform_kit import Kit, kept, rows, subjects

sys.path.append(str(Path(__file__).parents[1] / "retention"))

from retention_world import World

from lethe.operations.asker import Asker
from lethe.operations.intake.trial import try_out
from lethe.operations.window.lookup import lookup
from lethe.schemas.declaration.format import Format, parse
from lethe.schemas.errors import ConfigurationError
from lethe.schemas.line import Line, parse_own_numbers

NOW = datetime(2026, 12, 15, tzinfo=UTC)
OURS, HER = "442079460123", "447700900456"
CALLS = """
name = "acme/pbx"
version = 1
title = "Calls of a switch that writes its own side first"
channel = "voice"
{swap}
[[field]]
path = "extension"
class = "subject"
role = "caller"
end_user = "unless_own"
business = "sender"
[[field]]
path = "other"
class = "subject"
role = "callee"
end_user = "unless_own"
business = "recipient"
[[field]]
path = "address"
class = "subject"
role = "network_address"
end_user = "always"
kind = "ip"
[[field]]
path = "id"
class = "window"
message_id = true
[[field]]
path = "way"
class = "archive"
type = "enum"
column = "direction"
values = {{ inbound = "inbound", outbound = "outbound", "*" = "unknown" }}
required = true
[[field]]
path = "at"
class = "archive"
type = "timestamp"
column = "event_time"
required = true
"""
SWAP = '[[swap]]\nroles = ["caller", "callee"]\nwhen = { field = "way", is = ["inbound"] }\n'
"""As the parties of a PBX are written: its own side, then the other."""


def declared(swap: str = SWAP, text: str = CALLS) -> Format:
    return parse(text.format(swap=swap), "acme.toml")


def call(way: str, **more: str) -> bytes:
    record = {
        "extension": f"+{OURS}",
        "other": f"+{HER}",
        "way": way,
        "id": f"c-{way}",
        "at": "2026-11-01T10:00:00Z",
    }
    return json.dumps(record | more).encode()


def test_the_parties_change_places_where_the_condition_holds_and_nowhere_else() -> None:
    kit = Kit(now=NOW)
    split = kit.process([call(way) for way in ("outbound", "inbound", " INBOUND ", "wat")], declared())
    people = subjects(split, kit.ring)
    ours, her = ("msisdn", OURS), ("msisdn", HER)
    called = [{role: who for role, *who in people[at, None]} for at in range(4)]
    assert called[0] == called[3] == {"caller": [*ours], "callee": [*her]}
    assert called[1] == called[2] == {"caller": [*her], "callee": [*ours]}


def test_the_sites_own_number_fills_the_column_of_the_end_it_is_at() -> None:
    own = parse_own_numbers(f"+{OURS}", "own.txt")
    kit = Kit(now=NOW, line=Line(own=own))
    values = [call("outbound"), call("inbound"), call("inbound", other="anonymous"), call("wat")]
    split = kit.process(values, declared())
    found = [
        (r["sender"], r["recipient"], r["source_kind"], r["destination_kind"]) for r in rows(split.metadata)
    ]
    assert found == [
        (OURS, None, "number", "msisdn"), (None, OURS, "msisdn", "number"), (None, OURS, None, "number"),
        (OURS, None, "number", "msisdn"),
    ]  # fmt: skip
    assert subjects(split, kit.ring)[1, None] == {("caller", "msisdn", HER)}


def test_a_business_name_that_may_not_be_shown_is_kept_whichever_end_it_is_at() -> None:
    """What the archive may not hold has a stand-in at either end, and is kept as written."""
    never = CALLS.replace(
        'end_user = "unless_own"\nbusiness = "sender"', 'end_user = "never"\nbusiness = "sender"'
    )
    kit = Kit(now=NOW, scope="none")
    named = "Acme & Sons 447700900999"
    values = [call(way, extension=named) for way in ("outbound", "inbound")]
    split = kit.process(values, declared(text=never))
    out, inn = rows(split.metadata)
    assert out["sender"].startswith("~")
    assert inn["recipient"].startswith("~")
    assert [out["recipient"], inn["sender"]] == [None] * 2
    assert [out["redacted"], inn["redacted"]] == ["sender", "recipient"]
    assert [fields["extension"] for _, fields in kept(split).values()] == [named, named]


def test_persons_in_lists_change_places_too() -> None:
    text = CALLS.replace('path = "other"', 'path = "other[].number"').replace(
        'end_user = "unless_own"\nbusiness = "recipient"', 'end_user = "always"'
    )
    kit = Kit(now=NOW)
    record = json.loads(call("inbound")) | {"other": [{"number": f"+{HER}"}, {"number": "+447700900789"}]}
    split = kit.process([json.dumps(record).encode(), call("outbound", other="")], declared(text=text))
    roles = {(role, value) for role, _, value in subjects(split, kit.ring)[0, None]}
    assert roles == {("callee", OURS), ("caller", HER), ("caller", "447700900789")}


@pytest.mark.parametrize(
    ("swap", "what"),
    [
        (SWAP.replace('"callee"', '"caller"'), "two different"),
        (SWAP.replace('"callee"', '"operator"'), "no subject has the role operator"),
        (SWAP.replace('"callee"', '"Call ee"'), "swap.0.roles"),
        (SWAP.replace('["caller", "callee"]', '["caller"]'), "swap.0.roles"),
        (SWAP.replace('"way"', '"nowhere"'), "nowhere"),
        (SWAP.replace("is = [", "has = ["), "swap.0.when"),
        (SWAP + SWAP, "in two of them"),
        (SWAP.replace("when", "if"), "swap.0"),
    ],
)
def test_a_swap_that_is_none_is_refused_by_name(swap: str, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        declared(swap)


def test_usage_data_has_no_ends_to_swap() -> None:
    text = (
        'name = "a/b"\nversion = 1\ntitle = "t"\ndata = "usage"\n'
        '[[swap]]\nroles = ["account", "user"]\nwhen = { field = "u", present = true }\n'
        '[[field]]\npath = "u"\nclass = "subject"\nrole = "account"\nend_user = "always"\n'
        '[[field]]\npath = "v"\nclass = "subject"\nrole = "user"\nend_user = "always"\n'
        '[[field]]\npath = "t"\nclass = "usage"\ntype = "timestamp"\ncolumn = "event_time"\nrequired = true\n'
    )
    with pytest.raises(ConfigurationError, match="no swaps"):
        parse(text, "usage.toml")


def test_a_trial_shows_the_role_that_somebody_has_in_the_record(tmp_path: Path) -> None:
    out, inn = try_out([call("outbound"), call("inbound")], declared(), tmp_path)
    told = [{p.path: p.goes_to for p in one.fields if p.path in ("extension", "other")} for one in (out, inn)]
    assert told[0] == {
        "extension": "caller: token and sealed value",
        "other": "callee: token and sealed value",
    }
    assert told[1] == {
        "extension": "callee: token and sealed value",
        "other": "caller: token and sealed value",
    }


@pytest.mark.parametrize("own", [False, True])
def test_a_look_up_names_who_was_at_the_other_end(tmp_path: Path, own: bool) -> None:
    """Not the address of the network somebody was in, and the business that was called as well as one that called."""
    folder = tmp_path / "formats"
    folder.mkdir()
    (folder / "acme.toml").write_text(CALLS.format(swap=SWAP))
    (tmp_path / "own.txt").write_text(f"+{OURS}\n")
    lines = {"calls": {"own_numbers": str(tmp_path / "own.txt")}} if own else {}
    world = World(tmp_path / "w", formats_dir=folder, sources={"calls": "acme/pbx"}, lines=lines)
    world.now = NOW
    world.ingest([call(way, address="192.0.2.7") for way in ("outbound", "inbound")], "acme/pbx")
    found = lookup(world.runtime, Asker("ana", "F-1", "fraud"), f"+{HER}").records
    assert {r["role"] for r in found} == {"caller", "callee"}
    shown = OURS if own else "+44207*****23"
    assert [r["counterpart"] for r in found] == [shown, shown]
