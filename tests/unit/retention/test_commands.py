"""The commands, as a person runs them: answers, exit codes, audit before answer, and no identifier anywhere else."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from audits import audit_entries
from click.testing import Result
from retention_world import World, report
from typer.testing import CliRunner

from lethe.console.cli import shell
from lethe.console.cli.main import app
from lethe.operations import runtime as runtimes
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import InputError, LetheError
from lethe.schemas.subjects.addresses import Subject

HER = "+923001234567"
MARCH = datetime(2025, 3, 9, 12, tzinfo=UTC)
LOOK = ("--case", "F-1", "--purpose", "fraud")


class Prompt:
    """`lethe` against a world."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.config = world.folder / "lethe.toml"
        self.config.write_text(f'root = "{world.root}"\nkeys_dir = "{world.keys}"\n')
        monkeypatch.setattr(runtimes, "Runtime", lambda settings: Runtime(settings, lambda: world.now))
        monkeypatch.setattr(shell, "who", lambda: "eve")

    def result(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["--config", str(self.config), "--json", *arguments])

    def run(self, *arguments: str) -> Any:
        result = CliRunner().invoke(app, ["--config", str(self.config), "--json", *arguments])
        if isinstance(result.exception, LetheError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def plain(self, *arguments: str) -> str:
        result = CliRunner().invoke(app, ["--config", str(self.config), *arguments])
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout

    def audit(self) -> list[dict[str, Any]]:
        return audit_entries(self.world.keys)


@pytest.fixture
def lethe(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> Prompt:
    world = make_world()
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest([report(i, n, MARCH) for i, n in enumerate((HER, "+4915112345678", HER))])
    return Prompt(world, monkeypatch)


def test_expire_certificates_and_their_verification(lethe: Prompt, tmp_path: Path) -> None:
    assert lethe.run("expire") == []
    keys = sorted(lethe.world.keys.iterdir())
    for arguments in ((), ("--force", "--reason", "rehearsal", "--yes-destroy", "2025-03")):
        refused = lethe.result("expire", "--now", "2026-04-01", *arguments)
        assert refused.exit_code == 2
        assert "destroys nothing" in refused.output
    (due,) = lethe.run("expire", "--dry-run", "--now", "2026-04-01")
    assert (due["what"], due["state"], due["rows"]) == ("2025-03.w12", "would forget", 4)
    assert sorted(lethe.world.keys.iterdir()) == keys
    assert "2026" not in (lethe.world.keys / "latest-time").read_text()  # nor is the time of a preview kept
    lethe.world.now = datetime(2026, 4, 1, tzinfo=UTC)  # the machine's own clock
    force = ("expire", "--force", "--reason", "rehearsal")
    for agreed in (
        (),
        ("--yes-destroy", "2025-04"),
        ("--yes-destroy", "2025-03", "--yes-destroy", "2025-04"),
    ):
        with pytest.raises(LetheError, match=r"due are 2025-03, agreed to"):
            lethe.run(*force, *agreed)
    assert (lethe.world.keys / "2025-03.w12.key").exists()
    (done,) = lethe.run(*force, "--yes-destroy", "2025-03")
    assert (done["state"], done["certificate"]) == ("forgotten", 0)
    forced = [e for e in lethe.audit() if e["action"] == "expire"][-1]
    assert (forced["forced"], forced["reason"], forced["who"]) == (True, "rehearsal", "eve")
    (listed,) = lethe.run("certificates", "list")
    assert (listed["kind"], listed["what"]) == ("window", "2025-03")
    copy = tmp_path / "c.json"
    assert lethe.run("certificates", "show", "0", "--out", str(copy))["what"]["key_ids"] == ["2025-03.w12"]
    assert lethe.run("certificates", "verify") == {"ok": True, "verified": 1}
    assert lethe.run("certificates", "verify", str(copy)) == {"ok": True, "verified": 1}
    copy.write_bytes(copy.read_bytes().replace(b'"rows": 4', b'"rows": 3'))
    with pytest.raises(LetheError, match="was changed"):
        lethe.run("certificates", "verify", str(copy))
    assert "2025-03.w12" in lethe.plain("certificates", "list") or "2025-03" in lethe.plain(
        "certificates", "list"
    )


def test_a_hold_from_order_to_release(lethe: Prompt) -> None:
    placed = lethe.run("hold", "place", "--authority", "High Court", "--reference", "HC-7", "--review", "2025-12-31",
                       "--subject", HER)  # fmt: skip
    assert lethe.run("hold", "list")[0]["state"] == "in force"
    lethe.world.now = datetime(2026, 4, 1, tzinfo=UTC)
    assert lethe.run("expire", "--force", "--reason", "test", "--yes-destroy", "2025-03")[0]["held"] == 2
    assert lethe.run("hold", "list")[0]["state"] == "overdue"
    shown = lethe.run("hold", "show", "HC-7")
    assert (shown["set_aside"], shown["waiting_deletions"], shown["covers"]["subjects"]) == (2, 1, 1)
    assert lethe.run("lookup", HER, *LOOK) == []
    found = lethe.run("lookup", "0092 300 1234567", *LOOK, "--hold", "HC-7")
    assert [(f["hold"], f["roles"], f["account"]) for f in found] == [("HC-7", ["recipient"], "acme")] * 2
    assert lethe.run("lookup", "+4915112345678", *LOOK, "--hold", "HC-7") == []
    named = lethe.run("lookup", "m-00000002", *LOOK, "--hold", "HC-7")
    assert [(f["record"], f["roles"]) for f in named] == [(named[0]["record"], ["mentioned"])]
    assert named[0]["record"].endswith("/2")
    assert lethe.run("hold", "release", "HC-7", "--yes")["completed"] == 1
    assert lethe.run("hold", "list")[0]["state"] == "released"
    with pytest.raises(LetheError, match="no hold in force"):
        lethe.run("lookup", HER, *LOOK, "--hold", "HC-7")
    with pytest.raises(LetheError, match="released already"):
        lethe.run("hold", "release", placed["hold"], "--yes")
    actions = [e["action"] for e in lethe.audit()]
    assert [a for a in actions if a.startswith("hold")] == ["hold.place", "hold.show", "hold.release"]


def test_a_look_up_in_a_hold_hides_the_restricted_and_leaves_tokens(lethe: Prompt) -> None:
    lethe.run("hold", "place", "--authority", "High Court", "--reference", "HC-8", "--review", "2025-12-31",
              "--account", "acme")  # fmt: skip
    assert lethe.run("erase", HER, "--yes")["months"][0]["held"] > 0
    held = ("--hold", "HC-8")
    assert len(lethe.run("lookup", HER, *LOOK, *held)) == 2
    assert lethe.run("restrict", HER)["changed"] is True
    for asked in (HER, "m-00000000"):
        assert lethe.run("lookup", asked, *LOOK, *held) == [{"restricted": True}]
        assert "reason of law" in lethe.plain("lookup", asked, *LOOK, *held)
    assert len(lethe.run("lookup", HER, *LOOK, *held, "--law", "court order")) == 2
    entries = [e for e in lethe.audit() if e["action"] == "lookup.hold"]
    assert [(e["count"], e["restricted"], e["law"]) for e in (entries[0], entries[1], entries[-1])] == [
        (2, False, None), (0, True, None), (2, False, "court order"),
    ]  # fmt: skip
    hers = lethe.world.runtime.audit_tokens.of_month(
        "2025-03", lethe.world.now, (Subject("msisdn", HER[1:]),)
    )
    assert all(set(hers) <= set(e["subjects"]) for e in (entries[0], entries[-1]))
    assert HER[1:] not in json.dumps(entries)
    lethe.run("restrict", HER, "--lift")
    assert len(lethe.run("lookup", HER, *LOOK, *held)) == 2


def test_a_hold_that_covers_nothing_says_so(lethe: Prompt) -> None:
    order = ("hold", "place", "--authority", "High Court", "--review", "2025-12-31")
    nothing = lethe.plain(*order, "--reference", "HC-8", "--account", "no-such-account")
    assert "covers NOTHING" in nothing
    assert "covers 3 records in 1 months" in lethe.plain(*order, "--reference", "HC-9", "--account", "acme")


def test_erase_previews_then_erases(lethe: Prompt) -> None:
    preview = lethe.run("erase", HER, "--dry-run")
    assert preview["months"][0]["identifiers"] == 2
    assert len(lethe.run("lookup", HER, *LOOK)) == 2
    assert lethe.run("erase", HER, "--yes")["certificate"] == 0
    assert lethe.run("lookup", HER, *LOOK) == []
    assert lethe.run("erase", HER)["certificate"] is None
    assert "Nothing about this person" in lethe.plain("erase", HER)


@pytest.mark.parametrize("command", [("erase", HER), ("hold", "release", "HC-9")])
def test_what_destroys_asks_and_without_a_terminal_needs_a_yes(
    lethe: Prompt, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    lethe.run(
        "hold",
        "place",
        "--authority",
        "A",
        "--reference",
        "HC-9",
        "--review",
        "2025-12-31",
        "--account",
        "acme",
    )
    config = ["--config", str(lethe.config)]

    def stood() -> bool:
        return (
            lethe.run("hold", "list")[0]["state"] == "in force" and len(lethe.run("lookup", HER, *LOOK)) == 2
        )

    for options in (["--json"], []):
        refused = CliRunner().invoke(app, [*config, *options, *command])
        assert refused.exit_code == 2, refused.output
        assert "--yes" in refused.output
        assert HER not in refused.output
    monkeypatch.setattr(shell, "at_a_terminal", lambda: True)
    word = "erase" if command[0] == "erase" else "HC-9"
    for typed in ("y", "yes", "", f"{word}x"):
        refused = CliRunner().invoke(app, [*config, *command], input=f"{typed}\n")
        assert refused.exit_code == 1, refused.output
        assert word in refused.output
    assert stood()
    done = CliRunner().invoke(app, [*config, *command], input=f"{word}\n")
    assert done.exit_code == 0, done.output
    assert not stood()


def test_a_restricted_person_is_shown_to_the_law_alone(lethe: Prompt) -> None:
    assert lethe.run("restrict", HER)["changed"] is True
    assert lethe.run("lookup", HER, *LOOK) == [{"restricted": True}]
    assert "restricted" in lethe.plain("lookup", HER, *LOOK)
    assert len(lethe.run("lookup", HER, *LOOK, "--law", "court order 12")) == 2
    assert len(lethe.run("lookup", "+4915112345678", *LOOK)) == 1
    assert lethe.run("restrict", HER, "--lift")["changed"] is True
    assert len(lethe.run("lookup", HER, *LOOK)) == 2
    looks = [(e["restricted"], e["law"]) for e in lethe.audit() if e["action"] == "lookup"]
    assert looks[0] == (True, None)
    assert (False, "court order 12") in looks


def test_evidence_of_a_restricted_person_is_for_the_law_alone(lethe: Prompt, tmp_path: Path) -> None:
    record = lethe.run("lookup", HER, *LOOK)[0]["record"]
    other = lethe.run("lookup", "+4915112345678", *LOOK)[0]["record"]
    lethe.run("restrict", HER)
    out = tmp_path / "evidence.json"
    with pytest.raises(LetheError, match="restricted"):
        lethe.run("evidence", record, *LOOK, "--out", str(out))
    assert not out.exists()
    with pytest.raises(LetheError, match="restricted"):
        lethe.run("evidence", record, *LOOK, "--law", " ", "--out", str(out))
    assert lethe.run("evidence", record, *LOOK, "--law", "court order 12", "--out", str(out))["original"]
    assert lethe.run("evidence", other, *LOOK, "--out", str(tmp_path / "other.json"))["original"]
    looks = [(e["restricted"], e["law"], e["count"]) for e in lethe.audit() if e["action"] == "evidence"]
    assert looks == [(True, None, 0), (True, None, 0), (False, "court order 12", 1), (False, None, 1)]


def test_a_rejected_record_that_names_a_restricted_person_is_for_the_law_alone(lethe: Prompt) -> None:
    broken = [b'{"messageId":"broken","to":"0300 1234567"}', b'{"messageId":"broken","to":"+4915112345678"}']
    lethe.world.ingest(broken)
    hers, his = sorted(r["record"] for r in lethe.run("quarantine", "list"))
    lethe.run("restrict", HER)
    look = ("--reveal", "--case", "Q-1", "--purpose", "mend it")
    assert "value" not in lethe.run("quarantine", "show", hers), "that it was rejected is no secret"
    with pytest.raises(LetheError, match="restricted"):
        lethe.run("quarantine", "show", hers, *look)
    assert "1234567" in lethe.run("quarantine", "show", hers, *look, "--law", "court order 12")["value"]
    assert "4915112345678" in lethe.run("quarantine", "show", his, *look)["value"]
    looks = [
        (e["restricted"], e["law"], e["count"]) for e in lethe.audit() if e["action"] == "quarantine.reveal"
    ]
    assert looks == [(True, None, 0), (False, "court order 12", 1), (False, None, 1)]


def test_an_export_names_who_has_looked_at_a_record_by_its_name(lethe: Prompt) -> None:
    record = lethe.run("lookup", HER, *LOOK)[0]["record"]
    lethe.run(
        "evidence", record, "--case", "F-9", "--purpose", "court", "--out", str(lethe.world.folder / "e.json")
    )
    lethe.world.ingest([b'{"messageId":"broken","to":"+923001234567","sentAt":"never"}'])
    (broken,) = lethe.run("quarantine", "list")
    look = ("--reveal", "--case", "Q-1", "--purpose", "mend it")
    lethe.run("quarantine", "show", broken["record"], *look)
    looks = [(e["action"], e["case"]) for e in lethe.run("export", HER, "--with-names")["looked_at"]]
    assert looks == [("lookup", "F-1"), ("evidence", "F-9"), ("quarantine.reveal", "Q-1")]
    assert lethe.run("export", "+4915112345678")["looked_at"] == []


def test_an_export_names_who_has_looked(lethe: Prompt, tmp_path: Path) -> None:
    lethe.run("lookup", HER, *LOOK)
    export = lethe.run("export", HER)
    assert len(export["records"]) == 2
    assert [(sorted(e), e["category"]) for e in export["looked_at"]] == [
        (["category", "time"], "looked for in the records")
    ]
    named = lethe.run("export", HER, "--with-names")["looked_at"]
    assert (named[0]["who"], named[0]["case"]) == ("eve", "F-1")
    assert [e["names"] for e in lethe.audit() if e["action"] == "export"] == [False, True]
    out = tmp_path / "out"
    lethe.run("export", HER, "--out", str(out))
    assert {p.name: p.stat().st_mode & 0o777 for p in out.iterdir()} == {
        "records.csv": 0o600,
        "other_records.csv": 0o600,
        "looked_at.csv": 0o600,
        "held_by_law.csv": 0o600,
        "export.json": 0o600,
    }


def test_an_export_comes_with_a_letter_in_the_persons_language(lethe: Prompt, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for options, told in (
        (("--answer", "th"), "give --out"),
        (("--answer", "xx", "--out", str(out)), "one of en, ja"),
    ):
        with pytest.raises(LetheError, match=told):
            lethe.run("export", HER, *options)
    lethe.run("export", HER, "--case", "DSR-7", "--out", str(out), "--answer", "th")
    letter = (out / "answer.html").read_text("utf-8")
    assert "31 มีนาคม พ.ศ. 2568" in letter
    assert "DSR-7" in letter
    assert (out / "answer.pdf").read_bytes().startswith(b"%PDF")
    assert (out / "answer.pdf").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("options", "law", "authority"),
    [
        ((), "17(3)(b)", "not told"),
        (("--claims",), "17(3)(e)", "not told"),
        (("--tell",), "17(3)(b)", "High Court"),
    ],
)
def test_after_hold_and_erasure_an_export_says_what_is_held_and_by_which_law(
    lethe: Prompt, options: tuple[str, ...], law: str, authority: str
) -> None:
    lethe.run("hold", "place", "--authority", "High Court", "--reference", "HC-7", "--review", "2025-12-31",
              "--account", "acme", *options)  # fmt: skip
    assert lethe.run("export", HER)["held_by_law"] == [], "all of it is in the window, and in the copy"
    lethe.run("erase", HER, "--yes")
    export = lethe.run("export", HER)
    assert export["records"] == []
    (held,) = export["held_by_law"]
    assert (held["records"], held["months"], held["authority"]) == (2, ["2025-03"], authority)
    assert law in held["law"]
    assert held["kept_until"] == "the hold is released"
    assert (
        ("High Court" in json.dumps(export)) == ("HC-7" in json.dumps(export)) == (authority == "High Court")
    )


def test_no_command_leaves_an_identifier_behind(lethe: Prompt) -> None:
    lethe.run(
        "hold", "place", "--authority", "A", "--reference", "R", "--review", "2025-12-31", "--subject", HER
    )
    lethe.run("restrict", HER)
    lethe.run("export", HER)
    lethe.run("erase", HER, "--yes")
    world = lethe.world
    scanned = [p for folder in (world.root, world.keys, world.keys / "audit") for p in folder.rglob("*")]
    assert len(scanned) > 20
    spelt = [HER[1:].encode(), b"3001234567", b"%2B92300"]
    hits = [
        p for p in scanned if p.is_file() and any(s in p.read_bytes() or s in p.name.encode() for s in spelt)
    ]
    assert hits == []


def test_wrong_usage_is_said(lethe: Prompt) -> None:
    for arguments in (
        ["expire", "--force"],
        ["hold", "place", "--authority", "A", "--reference", "R", "--review", "2025-12-31"],
        ["hold", "place", "--authority", "A", "--reference", "R", "--review", "2025-01-01", "--subject", HER],
    ):
        result = CliRunner().invoke(app, ["--config", str(lethe.config), *arguments])
        assert result.exit_code == 2, result.output


def test_a_day_of_time_changes_nothing_for_the_look_up(lethe: Prompt) -> None:
    lethe.world.now += timedelta(days=1)
    assert len(lethe.run("lookup", HER, *LOOK)) == 2


def test_a_list_of_people_is_erased_at_once(lethe: Prompt, tmp_path: Path) -> None:
    people = tmp_path / "people.txt"
    people.write_text(f"{HER}\n\n+4915112345678\n")
    assert len(lethe.run("erase", "--from", str(people), "--dry-run")["months"]) == 1
    for wrong in ((HER, "--from", str(people)), ("--from", str(tmp_path / "none")), ()):
        with pytest.raises(InputError):
            lethe.run("erase", *wrong, "--yes")
    erased = lethe.run("erase", "--from", str(people), "--yes")
    assert (erased["months"][0]["identifiers"], erased["certificate"]) == (3, 0)
    assert lethe.world.found(HER) == lethe.world.found("+4915112345678") == []
    assert [e["people"] for e in lethe.audit() if e["action"] == "erase.done"] == [2, 2]
