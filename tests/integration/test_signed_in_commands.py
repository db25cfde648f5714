"""People work through the service from machines that have nothing of it: no key, no warehouse, no configuration."""

from __future__ import annotations

import re
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import httpx
import orjson
import pyotp
import pytest
from client_machine import LETHE, Machine, certificate, ended, served

sys.path.append(str(Path(__file__).parents[1] / "unit" / "retention"))

from retention_world import World, report

from lethe.console.web.service import Service
from lethe.operations.access.roles import Role

HER, HIM = "+923001234567", "+4915112345678"
PASSWORD = "correct horse battery"
PEOPLE = {
    "amal": [Role.INVESTIGATOR],
    "bela": [Role.APPROVER],
    "cara": [Role.PRIVACY_OFFICER],
    "dora": [Role.AUDITOR],
    "emil": [Role.OPERATOR],
}


class Office:
    """The service, what it stands on, and the machines of those who use it."""

    def __init__(self, folder: Path, url: str, ca_file: Path, world: World, service: Service) -> None:
        self.folder, self.url, self.ca_file, self.world, self.service = folder, url, ca_file, world, service
        self.count = 0
        self.machines: dict[str, Machine] = {}

    def machine(self, trusts: bool = True) -> Machine:
        self.count += 1
        return Machine(self.folder / f"home{self.count}", self.url, self.ca_file if trusts else None)

    def new(self, name: str) -> Machine:
        """Sign somebody in at a machine of their own."""
        machine = self.machine()
        machine.sign_in(name, PASSWORD)
        return machine

    def at(self, name: str) -> Machine:
        """Go to the machine where somebody is signed in: an address may sign in twenty times a minute."""
        if name not in self.machines:
            self.machines[name] = self.new(name)
        return self.machines[name]

    @contextmanager
    def browser(self, name: str) -> Iterator[httpx.Client]:
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        with httpx.Client(base_url=self.url, verify=trust, follow_redirects=True, trust_env=False) as client:
            assert client.post("/sign-in", data={"name": name, "password": PASSWORD}).status_code == 200
            yield client

    def account(self, name: str) -> str:
        return next(p.id for p in self.service.accounts.all() if p.name == name)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    world = World(folder / "site", serve={"second_factor": "choice"})
    world.now = datetime.now(UTC)
    before = world.now - timedelta(hours=2)
    world.ingest([report(i, n, before) for i, n in enumerate((HER, HIM, HER))])
    service = Service.open(world.runtime)
    for name, roles in PEOPLE.items():
        service.accounts.add(name, name.title(), roles, PASSWORD)
    cert, key = certificate(folder)
    settings = {
        "LETHE_ROOT": str(world.root),
        "LETHE_KEYS_DIR": str(world.keys),
        "LETHE_SERVE__CERTIFICATE": str(cert),
        "LETHE_SERVE__PRIVATE_KEY": str(key),
        "LETHE_SERVE__SECOND_FACTOR": "choice",
    }
    with served(folder, settings) as url:
        yield Office(folder, url, cert, world, service)
    service.database.engine.dispose()


def test_an_investigator_looks_up_reveals_and_proves(office: Office) -> None:
    amal = office.new("amal")
    assert amal.json("whoami")["roles"] == ["investigator"]
    amal.type("case", "open", "F-1", "--purpose", "fraud", "--title", "SIM swap")
    assert [c["reference"] for c in amal.json("case", "list")] == ["F-1"]
    why = ("--case", "F-1", "--purpose", "account take-over")
    found = amal.json("lookup", HER, *why)
    assert [r["account"] for r in found] == ["acme", "acme"]
    here = amal.json("lookup", "-", *why, typed=f"{HER}\n{HIM}\n")
    assert [r["value"] for r in here] == [1, 1, 2]
    shown = amal.type("lookup", HER, *why)
    assert "2 communications inside the window" in shown
    record = found[0]["record"]
    assert HER[1:] in amal.type("reveal", record, *why)
    out = amal.home / "evidence.json"
    amal.type("evidence", record, *why, "--out", str(out))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    entries = office.at("dora").json("audit", "list", "--who", "amal", "--case", "F-1")
    looks = [
        (e["action"], e.get("purpose")) for e in entries if e["action"] in ("lookup", "reveal", "evidence")
    ]
    assert looks == [*[("lookup", "fraud: account take-over")] * 4, ("reveal", "fraud: account take-over"),
                     ("evidence", "fraud: account take-over")]  # fmt: skip
    # Nothing of the installation is there, and of the session only what its owner can read.
    files = amal.files()
    assert [f for f in files if f != "evidence.json"] == [next(f for f in files if f.endswith(".json"))]
    token = amal.home / files[0]
    assert re.fullmatch(r"\.config/lethe/session-[0-9a-f]{16}\.json", files[0])
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


def test_what_the_service_answers_is_what_the_command_answers_where_the_keys_are(office: Office) -> None:
    amal = office.at("amal")
    amal.type("case", "open", "F-2", "--purpose", "fraud")
    words = ("--json", "lookup", HER, "--case", "F-2", "--purpose", "both ways")
    there = amal.type(*words)
    env = {"LETHE_ROOT": str(office.world.root), "LETHE_KEYS_DIR": str(office.world.keys)}
    here = subprocess.run(
        [LETHE, *words], env={**env, "HOME": str(amal.home)}, capture_output=True, text=True, check=True
    )
    assert there == here.stdout


def test_what_weighs_waits_for_a_second_person_and_is_done_once(office: Office) -> None:
    cara, bela = office.at("cara"), office.at("bela")
    cara.type("case", "open", "R-1", "--purpose", "person")
    why = ("--case", "R-1", "--purpose", "asked by letter")
    assert cara.json("erase", HIM, "--dry-run", *why)["months"]
    request = cara.waiting("erase", HIM, "--yes", *why)
    assert cara.waiting("erase", HIM, "--yes", *why) == request, "it is asked for once"
    [asked] = bela.json("approvals", "list")
    assert (asked["values"], asked["person"], asked["reason"]) == ([HIM], "cara", "asked by letter")
    assert "it is for approver" in cara.type("approvals", "approve", request, status=1)
    bela.type("approvals", "approve", request[:8])
    cara.waiting("erase", HER, "--yes", *why)  # what was approved is one person, not another
    done = cara.json("erase", HIM, "--yes", *why)
    assert done["certificate"] is not None
    assert cara.json("certificates", "list")[-1]["number"] == done["certificate"]
    assert "verified" in cara.type("certificates", "verify")
    number = str(done["certificate"])
    cara.type("certificates", "show", number, "--out", str(cara.home / "certificate.json"))
    again = cara.json("lookup", HIM, *why)
    assert again == []
    export = cara.waiting("export", HER, *why)
    bela.type("approvals", "refuse", export)
    assert cara.waiting("export", HER, *why) != export
    bela.type("approvals", "approve", cara.waiting("export", HER, *why))
    copy = cara.json("export", HER, *why)
    assert len(copy["records"]) == 2
    cara.waiting("export", HER, *why)  # an approval is for one time
    bela.type("approvals", "approve", cara.waiting("export", HER, *why))
    folder = cara.home / "answer"
    unknown = cara.type("export", HER, *why, "--out", str(folder), "--answer", "xx", status=1)
    assert "language" in unknown
    cara.type("export", HER, *why, "--out", str(folder), "--answer", "th")
    names = {p.name for p in folder.iterdir()}
    assert {"export.json", "records.csv", "answer.html", "answer.pdf"} <= names
    assert (folder / "answer.pdf").read_bytes().startswith(b"%PDF")


def test_a_restriction_hides_and_its_lifting_shows(office: Office) -> None:
    cara = office.at("cara")
    cara.type("case", "open", "R-2", "--purpose", "person")
    assert cara.json("restrict", HER, "--case", "R-2")["state"] == "restricted"
    found = cara.json("lookup", HER, "--case", "R-2", "--purpose", "to see")
    assert found == [{"restricted": True}]
    law = cara.type("lookup", HER, "--case", "R-2", "--purpose", "to see", "--law", "I say so", status=2)
    assert "the service shows the records of a restricted person to nobody" in law
    assert cara.json("restrict", "--lift", HER, "--case", "R-2")["state"] == "lifted"


def test_a_hold_is_placed_shown_extended_and_released_by_two(office: Office) -> None:
    amal, bela = office.at("amal"), office.at("bela")
    amal.type("case", "open", "A-1", "--purpose", "authority")
    review = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    order = ("hold", "place", "--authority", "High Court", "--reference", "HC-7", "--review", review,
             "--subject", HER, "--case", "A-1")  # fmt: skip
    assert "--case: name a case of yours" in amal.type(*order[:-2], status=2)
    request = amal.waiting(*order)
    [asked] = bela.json("approvals", "list")[-1:]
    assert {HER, "authority: High Court", "reference: HC-7"} <= set(asked["values"])
    bela.type("approvals", "approve", request)
    assert amal.json(*order)["records"] == 2
    assert [h["reference"] for h in amal.json("hold", "list")] == ["HC-7"]
    assert amal.json("hold", "show", "HC-7")["covers"]["subjects"] == 1
    more = ("hold", "extend", "HC-7", "--days", "60", "--reason", "order of today", "--case", "A-1")
    bela.type("approvals", "approve", amal.waiting(*more))
    assert amal.json(*more)["ends"]
    folder = amal.home / "hc-7"
    why = ("--case", "A-1", "--purpose", "order of today")
    handed = ("hold", "export", "HC-7", "--out", str(folder), *why)
    assert "--law counts where the keys are" in amal.type(*handed, "--law", "I say so", status=2)
    bela.type("approvals", "approve", amal.waiting(*handed))
    assert not folder.exists()
    produced = amal.json(*handed)
    assert (produced["records"], produced["originals"]) == (2, 2)
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    assert (manifest["by"], manifest["case"], manifest["reference"]) == ("amal", "A-1", "HC-7")
    assert sha256((folder / "manifest.json").read_bytes()).hexdigest() == produced["manifest_sha256"]
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {
        "manifest.json"
    } == set(manifest["files"])
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in folder.rglob("*") if p.is_file())
    # The service takes its copy away once it has sent the last byte, which is after whoever reads has it.
    for _ in range(600):
        if not (left := list(office.world.runtime.exports.iterdir())):
            break
        threading.Event().wait(0.05)
    assert left == [], "nothing of it stays on the installation's disk"
    assert "is not empty" in amal.type(*handed, status=2)
    release = ("hold", "release", "HC-7", "--yes", "--case", "A-1")
    bela.type("approvals", "approve", amal.waiting(*release))
    assert amal.json(*release)["certificate"] is not None


def test_auditors_verify_and_list_and_are_given_no_identifier(office: Office) -> None:
    dora = office.at("dora")
    assert dora.json("audit", "verify")["ok"] is True
    listed = dora.type("--json", "audit", "list")
    assert HER[1:] not in listed
    assert dora.json("ledger")[0]["records"] == 3
    proven = dora.json("verify")
    assert proven["ok"] is True
    assert proven["rows"] + proven["rows_out_of_scope"] == 3
    assert "count where the installation is" in dora.type("verify", "--originals", status=2)
    assert dora.type("verify", "--key", "no key at all", status=1)
    refused = dora.type("audit", "disclosures", HER, "--case", "F-1", "--purpose", "why", status=1)
    assert "it is for privacy officer" in refused
    cara = office.at("cara")
    cara.type("case", "open", "R-3", "--purpose", "person")
    cara.type("lookup", HER, "--case", "R-3", "--purpose", "asked by the person")
    looks = cara.json("audit", "disclosures", HER, "--case", "R-3", "--purpose", "asked by the person")
    assert {"lookup"} <= {e["action"] for e in looks}


def test_default_deny_for_each_role(office: Office) -> None:
    emil = office.at("emil")
    for words in (
        ("lookup", HER, "--case", "F-1", "--purpose", "curious"),
        ("audit", "list"),
        ("hold", "list"),
        ("certificates", "list"),
        ("case", "list"),
        ("approvals", "list"),
    ):
        assert "your roles do not open this" in emil.type(*words, status=1)
    # Another's case does not exist for one.
    amal, cara = office.at("amal"), office.at("cara")
    amal.type("case", "open", "F-9", "--purpose", "fraud")
    said = amal.json("policy", "explain", HER, "2026-02-28")
    assert said["countries"] == ["PK"]
    assert "your roles do not open this" in emil.type("policy", "explain", HER, "2026-02-28", status=1)
    said = cara.type("lookup", HER, "--case", "F-9", "--purpose", "curious", status=1)
    assert "there is no such case of yours" in said


def test_a_terminal_is_signed_in_by_a_code_at_a_browser(office: Office) -> None:
    machine = office.machine()
    with ended(
        [LETHE, "login"], cwd=machine.home, env=machine.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as login:  # fmt: skip
        assert login.stderr is not None
        line = login.stderr.readline()
        shown = re.fullmatch(rf"Open {office.url}/terminal and type ([B-Z]{{4}}-[B-Z]{{4}})\n", line)
        assert shown, line
        with office.browser("amal") as browser:
            csrf = browser.get("/terminal").text.split('name="csrf" value="')[1].split('"')[0]
            other = browser.post("/terminal", data={"csrf": csrf, "code": "BBBB-BBBB", "answer": "allow"})
            assert other.status_code == 403
            told = browser.post("/terminal", data={"csrf": csrf, "code": shown[1].lower()})
            assert "127.0.0.1" in told.text
            done = browser.post("/terminal", data={"csrf": csrf, "code": shown[1], "answer": "allow"})
            assert "signed in as you" in done.text
            again = browser.post("/terminal", data={"csrf": csrf, "code": shown[1], "answer": "allow"})
            assert again.status_code == 403, "a code is answered once"
        assert login.wait(120) == 0
    assert machine.json("whoami")["name"] == "amal"


def test_a_second_factor_is_asked_for_in_the_terminal(office: Office) -> None:
    account = office.service.accounts.add("fadi", "Fadi", [Role.AUDITOR], PASSWORD).id
    secret = office.service.accounts.new_totp(account)
    office.world.now = datetime.now(UTC) - timedelta(minutes=1)
    office.service.accounts.confirm_totp(account, pyotp.TOTP(secret).at(office.world.now))
    office.world.now = datetime.now(UTC)
    machine = office.machine()
    wrong = machine.type("login", "--name", "fadi", typed=f"{PASSWORD}\n\n", status=1)
    assert "name, password or code is wrong" in wrong
    code = pyotp.TOTP(secret)
    if (left := code.interval - time.time() % code.interval) < 10:
        time.sleep(left)  # one that ends while it is on its way is refused
    machine.sign_in("fadi", PASSWORD, code.now())
    assert machine.json("whoami")["second_factor"] is True


def test_sessions_end_with_sign_out_and_with_the_account(office: Office) -> None:
    amal = office.new("amal")
    token = next(amal.home.rglob("session-*.json"))
    kept = token.read_bytes()
    amal.type("logout")
    assert not token.exists()
    assert "lethe login" in amal.type("whoami", status=1)
    token.write_bytes(kept)
    token.chmod(0o600)
    assert "the session has ended: lethe login" in amal.type("whoami", status=1)
    gast = office.service.accounts.add("gast", "Gast", [Role.AUDITOR], PASSWORD).id
    machine = office.new("gast")
    office.service.accounts.disable(gast)
    assert "the session has ended: lethe login" in machine.type("whoami", status=1)


def test_former_versions_of_tls_are_refused(office: Office) -> None:
    address = ("127.0.0.1", int(office.url.rpartition(":")[2]))
    for version, allowed in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)):
        context = ssl.create_default_context(cafile=str(office.ca_file))
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that the former one is is the point
            context.minimum_version = context.maximum_version = version
        with socket.create_connection(address, 10) as plain:
            if allowed:
                with context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
                    assert secured.version() == "TLSv1.2"
            else:
                with pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|UNEXPECTED_EOF"):
                    context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_token_that_others_can_read_is_not_used(office: Office) -> None:
    amal = office.new("amal")
    token = next(amal.home.rglob("session-*.json"))
    token.chmod(0o640)
    assert "not for its owner alone" in amal.type("whoami", status=1)
    token.chmod(0o600)
    assert amal.json("whoami")["name"] == "amal"


def test_errors_say_what_to_do(office: Office) -> None:
    stranger = office.machine()
    assert "you are not signed in" in stranger.type("audit", "list", status=1)
    distrustful = office.machine(trusts=False)
    told = distrustful.type("login", "--name", "amal", typed=f"{PASSWORD}\n\n", status=1)
    assert "is not trusted here" in told
    assert "LETHE_CA_FILE" in told
    nobody = stranger.type(
        "login", "--name", "x", typed="a\n\n", status=1, LETHE_SERVER="https://127.0.0.1:9"
    )
    assert "cannot be reached" in nobody
    plain = stranger.type("whoami", status=1, LETHE_SERVER="http://lethe.example")
    assert "https://" in plain
    for words in (("sql", "select 1"), ("worker",), ("keys", "show"), ("users", "list"), ("audit", "rotate")):
        assert "does not go through the service" in stranger.type(*words, status=1)
    assert "--case: name a case" in office.at("cara").type("erase", HER, "--case", "", "--dry-run", status=2)
