"""The case file: a second person first; one signed ZIP that verifies offline, until anything in it is changed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from test_web_analysis import case_with
from typer.testing import CliRunner
from web_site import HER, HIM, PASSWORD, Browser, Site

from lethe.console.cli.main import app
from lethe.operations.access.roles import Role
from lethe.operations.case_files.check import check
from lethe.operations.proof.signer import signer_of
from lethe.schemas.errors import ConfigurationError, IntegrityError

STRANGER = "+923335550177"


def approved(site: Site, approver: Browser) -> None:
    page = approver.get("/approvals")
    action = page.split('action="/approvals/')[1].split('"')[0]
    digest = page.split('name="digest" value="')[1].split('"')[0]
    approver.post(f"/approvals/{action}", answer="approve", digest=digest)


def made(site: Site) -> tuple[Browser, str, bytes]:
    browser, approver = site.signed_in("amal", Role.INVESTIGATOR), site.signed_in("bela", Role.APPROVER)
    case = case_with(browser, HER, HIM)
    browser.post(f"/cases/{case}/entries", note="Seen twice: <b>#strong[x]</b> جاز")
    assert "There is no grant" in browser.post(f"/cases/{case}/case-file", 403)
    browser.post(f"/cases/{case}/case-file", ask="yes", reason="for the prosecutor")
    assert "The grant is requested" in browser.post(f"/cases/{case}/case-file", 403)
    assert HER in approver.get("/approvals"), "the approver sees whom it is about"
    approved(site, approver)
    return browser, case, download(browser, case)


def download(browser: Browser, case: str, status: int = 200) -> bytes:
    token = browser.client.get("/account").text.split('name="csrf" value="')[1].split('"')[0]
    answer = browser.client.post(f"/cases/{case}/case-file", data={"csrf": token})
    assert answer.status_code == status, answer.text[:500]
    return answer.content


def keys(site: Site) -> list[str]:
    return [str(k) for k in signer_of(site.world.runtime).history.keys]


def contents(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def packed(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return out.getvalue()


def test_a_case_file_holds_the_case_and_verifies_offline(site: Site, tmp_path: Path) -> None:
    _, _, data = made(site)
    files = contents(data)
    assert {
        "report.html",
        "report.pdf",
        "communications.csv",
        "graph.svg",
        "graph.graphml",
        "queries.sql",
    } < set(files)
    assert len([n for n in files if n.startswith("presets/")]) >= 12
    assert files["report.pdf"].startswith(b"%PDF-")
    html = files["report.html"].decode()
    assert HER in html
    assert "&lt;b&gt;#strong[x]&lt;/b&gt; جاز" in html
    manifest = json.loads(files["manifest.json"])
    assert (manifest["case"], manifest["by"], manifest["communications"]) == ("F-1", "amal", 3)
    assert {"case.analyse", "case.open"} <= {e["action"] for e in manifest["audit"]}
    assert manifest["evidence"] == 3, "all of a network in Pakistan are in scope"
    checked = check(data, keys(site)[:1])
    assert (checked.case, checked.evidence) == ("F-1", 3)
    path = tmp_path / "case.zip"
    path.write_bytes(data)
    told = CliRunner().invoke(app, ["case-file", "verify", str(path), "--key", keys(site)[0]])
    assert (told.exit_code, "PROVEN: case F-1" in " ".join(told.stdout.split())) == (0, True), told.output
    (entry,) = (e for e in site.world.runtime.audit.entries() if e["action"] == "case-file")
    assert entry["grant"] == manifest["grant"]


def test_checking_needs_nothing_of_what_makes_it() -> None:
    """Whoever is given a case file may have no service: neither the typesetter nor the tables are imported."""
    code = "import sys, lethe.operations.case_files.check as c; print(c and {'typst', 'polars'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"


def test_whatever_is_changed_added_or_taken_out_shows(site: Site) -> None:
    _, _, data = made(site)
    trusted = keys(site)
    files = contents(data)
    check(packed(files), trusted)
    for name in files:
        other = {**files, name: files[name][:-1] + bytes([files[name][-1] ^ 1])}
        with pytest.raises(IntegrityError):
            check(packed(other), trusted)
        with pytest.raises(IntegrityError):
            check(packed({n: d for n, d in files.items() if n != name}), trusted)
    with pytest.raises(IntegrityError, match="put in after"):
        check(packed({**files, "more.txt": b"x"}), trusted)
    with pytest.raises(IntegrityError, match="no whole ZIP"):
        check(data[: len(data) // 2], trusted)
    stranger = trusted[0][:-4] + ("AAA=" if not trusted[0].endswith("AAA=") else "BBB=")
    with pytest.raises(IntegrityError):
        check(data, [stranger])


def test_other_targets_than_those_approved_need_another_approval(site: Site) -> None:
    browser, case, _ = made(site)
    browser.post(f"/cases/{case}/entries", targets=STRANGER)
    assert b"another subject" in download(browser, case, 403)


def test_nothing_is_handed_out_without_an_entry(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, case, _ = made(site)
    real = type(site.world.runtime.audit).append_all

    def full(self: object, entries: list[dict[str, object]], now: object) -> None:
        if any(entry["action"] == "case-file" for entry in entries):
            raise ConfigurationError("the audit log cannot be written")
        real(self, entries, now)  # type: ignore[arg-type]

    monkeypatch.setattr("lethe.operations.audit.log.AuditLog.append_all", full)
    assert b"cannot be written" in download(browser, case, 400)
    assert PASSWORD not in browser.get(f"/cases/{case}")
