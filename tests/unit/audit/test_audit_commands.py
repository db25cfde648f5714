"""`lethe audit` as a person runs it, and the checks of `lethe doctor`."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from audit_world import NOW, AuditWorld
from click.testing import Result
from typer.testing import CliRunner

from lethe.console.cli import shell
from lethe.console.cli.main import app
from lethe.operations import runtime as runtimes
from lethe.operations.health.doctor import checks
from lethe.operations.intake.ingest import ingest
from lethe.operations.runtime import Runtime

HER, HIM = "+923001234567", "+4915112345678"
LOOK = ("--case", "F-1", "--purpose", "fraud")


@pytest.fixture(autouse=True)
def asked(world: AuditWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look two people up, by two members of staff."""
    lines = [
        {"messageId": f"m-{n}", "to": to, "from": "ACME", "sentAt": "2026-10-20T10:00:00.000+0000",
         "doneAt": "2026-10-20T10:00:02.000+0000", "status": {"groupName": "DELIVERED"}}
        for n, to in enumerate((HER, HIM))
    ]  # fmt: skip
    (world.folder / "in.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ingest(world.runtime, str(world.folder / "in.ndjson"), "infobip/sms-report", as_declared=True)
    (world.folder / "lethe.toml").write_text(
        f'root = "{world.folder}/warehouse"\nkeys_dir = "{world.keys}"\naudit_dir = "{world.audit}"\n'
    )
    monkeypatch.setattr(runtimes, "Runtime", lambda settings: Runtime(settings, lambda: world.now))
    for who, value in (("eve", HER), ("=cmd()", HIM), ("adam", HER)):
        monkeypatch.setattr(shell, "who", lambda who=who: who)
        assert lethe(world, "lookup", value, *LOOK).exit_code == 0
        world.now = NOW.replace(hour=world.now.hour + 1)


def lethe(world: AuditWorld, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--config", str(world.folder / "lethe.toml"), *arguments])


def answer(world: AuditWorld, *arguments: str) -> Any:
    done = lethe(world, "--json", *arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


def test_entries_are_listed_and_filtered(world: AuditWorld) -> None:
    entries = answer(world, "audit", "list")
    assert [e["who"] for e in entries] == ["eve", "=cmd()", "adam"]
    assert not any("subjects" in e for e in entries)
    assert [e["who"] for e in answer(world, "audit", "list", "--who", "adam")] == ["adam"]
    assert answer(world, "audit", "list", "--action", "look") == []
    assert len(answer(world, "audit", "list", "--action", "lookup", "--case", "F-1")) == 3
    assert answer(world, "audit", "list", "--case", "F-2") == []
    period = ("--since", "2026-11-01T13:00:00", "--until", "2026-11-01T14:00:00")
    assert [e["who"] for e in answer(world, "audit", "list", *period)] == ["=cmd()"]
    assert "eve" in lethe(world, "audit", "list").stdout


def test_a_spreadsheet_takes_nothing_for_a_formula(world: AuditWorld) -> None:
    rows = list(csv.DictReader(io.StringIO(lethe(world, "audit", "list", "--format", "csv").stdout)))
    assert [r["who"] for r in rows] == ["eve", "'=cmd()", "adam"]
    assert {r["purpose"] for r in rows} == {"fraud"}


def test_disclosures_name_who_looked_and_not_the_person(world: AuditWorld) -> None:
    ask = ("audit", "disclosures", "0092 300 1234567", "--case", "R-1", "--purpose", "asked by the person")
    done = lethe(world, "--json", *ask)
    assert [e["who"] for e in json.loads(done.stdout)] == ["eve", "adam"]
    assert "3001234567" not in done.stdout
    last = answer(world, "audit", "list")[-1]
    assert (last["action"], last["case"], last["count"]) == ("audit.disclosures", "R-1", 2), (
        "asking is a look"
    )
    other = ("audit", "disclosures", "+923009999999", "--case", "R-2", "--purpose", "p")
    assert json.loads(lethe(world, "--json", *other).stdout) == []
    assert lethe(world, "audit", "disclosures", HER, "--case", " ", "--purpose", "p").exit_code != 0


def test_verify_says_what_it_looked_at_and_ends_with_1_when_something_shows(world: AuditWorld) -> None:
    said = answer(world, "audit", "verify")
    assert (said["ok"], said["entries"], said["logs"], said["findings"]) == (True, 3, 1, [])
    assert "every entry is as it was signed" in lethe(world, "audit", "verify").stdout
    older = world.copy("older")
    world.append("more")
    world.put_back(older)
    found = lethe(world, "--json", "audit", "verify")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["findings"][0].startswith(
        "the log lethe/=audit/0 has 3 entries, but 4 were"
    )
    listed = lethe(world, "audit", "list")
    assert (listed.exit_code, "eve" in listed.stdout) == (1, True), "what can be read is, and it says so"
    assert "not everything could be read" in listed.stderr


def test_doctor_looks_at_the_ends(world: AuditWorld) -> None:
    def found() -> dict[str, str]:
        every = [c for c in checks(world.runtime, {}) if c.what.startswith("audit")]
        return {c.what: c.state for c in every}

    assert found() == {"audit log": "ok", "audit entries": "warning"}, "nothing outside vouches for it yet"
    world.anchor()
    assert found() == {"audit log": "ok", "audit entries": "ok"}
    older = world.copy("older")
    world.append("more")
    world.put_back(older)
    assert found()["audit entries"] == "wrong"


def test_a_policy_explained_for_an_address_is_in_the_audit_and_for_a_country_is_not(
    world: AuditWorld,
) -> None:
    answer(world, "policy", "explain", "PK", "2026-10-20")
    assert answer(world, "audit", "list", "--action", "policy.explain") == []
    answer(world, "policy", "explain", HER, "2026-10-20")
    ask = ("audit", "disclosures", HER, "--case", "R-1", "--purpose", "p", "--action", "policy.explain")
    assert len(answer(world, *ask)) == 1


def test_keys_are_shown_and_handed_over(world: AuditWorld) -> None:
    before = answer(world, "audit", "keys")
    assert (before["set"], before["earlier"], len(before["keys"])) == (1, [], 2)
    after = answer(world, "audit", "rotate")
    assert (after["set"], after["earlier"]) == (2, before["keys"])
    assert answer(world, "audit", "keys") == after
    assert all(key in lethe(world, "audit", "keys").stdout for key in after["keys"])
    assert answer(world, "audit", "verify")["ok"]
    assert [e["action"] for e in answer(world, "audit", "list", "--action", "audit.rotate")] == [
        "audit.rotate"
    ]


@pytest.mark.parametrize(
    "named",
    [HER, "of 03001234567", "00923001234567", "+92 (300) 123-4567", "jane@example.org", "0300 1234567890"],
)
@pytest.mark.parametrize("option", ["--case", "--purpose", "--law"])
def test_case_and_purpose_that_name_somebody_never_get_into_the_audit(
    world: AuditWorld, named: str, option: str
) -> None:
    before = answer(world, "audit", "list")
    said = {"--case": "F-1", "--purpose": "fraud", option: named}
    done = lethe(world, "lookup", HER, *(word for pair in said.items() for word in pair))
    assert done.exit_code == 1
    assert "without anybody's number or address" in str(done.exception)
    assert named not in str(done.exception)
    assert answer(world, "audit", "list") == before


@pytest.mark.parametrize(
    "case", ["F-2041", "2026-11-0004512/A", "HC 2026-11-30 17:00", "00-1234-56", "case+1"]
)
def test_references_have_digits_of_their_own(world: AuditWorld, case: str) -> None:
    assert lethe(world, "lookup", HER, "--case", case, "--purpose", "fraud of 30.11.2026").exit_code == 0
