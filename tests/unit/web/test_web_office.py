"""The privacy office's pages: a person's request from receipt to answer, as each kind goes."""

from __future__ import annotations

import io
import re
import time
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from web_site import HER, HIM, Browser, Site

from lethe.console.web.app import make_app
from lethe.operations.access.roles import Role
from lethe.operations.asker import Asker
from lethe.operations.office.requests import Requests
from lethe.operations.retention.hold import Order, place
from lethe.schemas.errors import TransientError


def opened(officer: Browser, kind: str, reference: str = "DSR-1", about: str = HER, **more: str) -> str:
    page = officer.post("/office", reference=reference, kind=kind, about=about, language="th", **more)
    assert reference in page
    found = re.search(rf'/office/([0-9a-f-]{{36}})">{reference}<', officer.get("/office"))
    assert found
    return found[1]


def approved(officer: Browser, site: Site, case: str, what: str, name: str = "bela") -> None:
    officer.post(f"/office/{case}/ask", what=what, reason="asked by the person")
    assert "Waits for a second person" in officer.get(f"/office/{case}") or what == "export"
    approver = site.signed_in(name, Role.APPROVER)
    page = approver.get("/approvals")
    assert HER in page
    grant = re.search(r"/approvals/([0-9a-f-]+)", page)
    digest = re.search(r'name="digest" value="([0-9a-f]+)"', page)
    assert grant is not None
    assert digest is not None
    approver.post(f"/approvals/{grant[1]}", digest=digest[1], answer="approve")


def answered(officer: Browser, case: str, **more: str) -> dict[str, bytes]:
    page = officer.client.get("/account").text
    token = page.split('name="csrf" value="')[1].split('"')[0]
    sent = officer.client.post(f"/office/{case}/answer", data={"csrf": token, "language": "th", **more})
    assert sent.status_code == 200, sent.text
    assert "attachment" in sent.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(sent.content)) as files:
        return {name: files.read(name) for name in files.namelist()}


def test_an_access_request_from_receipt_to_answer(site: Site) -> None:
    officer = site.signed_in("dora", Role.PRIVACY_OFFICER)
    case = opened(officer, "access", received="2025-03-20")
    page = officer.get("/office")
    assert "2025-04-20" in page  # a month after it was received
    assert "open" in page
    assert HER not in page
    found = officer.post(f"/office/{case}/find")
    assert "2 entries of the person" in found
    officer.post(f"/office/{case}/answer", 403, language="th")  # nobody approved it yet
    approved(officer, site, case, "export")
    files = answered(officer, case, words="ขอบคุณ")
    assert {"answer.html", "answer.pdf", "export.json", "records.csv", "looked_at.csv"} <= files.keys()
    letter = files["answer.html"].decode()
    assert "ข้อมูลของคุณที่เราเก็บไว้" in letter
    assert "ขอบคุณ" in letter
    assert HER in letter
    assert "dora" not in letter
    assert files["answer.pdf"].startswith(b"%PDF")
    assert HIM.replace("+", "") not in letter + files["records.csv"].decode()
    officer.post(f"/office/{case}/answered", outcome="done")
    assert "answered" in officer.get("/office")
    said = [e["action"] for e in site.world.runtime.audit.entries()]
    for action in ("request.open", "erase.preview", "export", "request.answer", "request.answered"):
        assert action in said
    assert not any(HER[1:] in str(e) for e in site.world.runtime.audit.entries())


def test_an_erasure_is_previewed_approved_done_certified_and_told(site: Site) -> None:
    runtime, now = site.world.runtime, site.world.now
    order = Order("District court", "C-9", now + timedelta(days=90), [HER])
    place(runtime, Asker.of("dora", "C-9", "authority"), order)
    officer = site.signed_in("dora", Role.PRIVACY_OFFICER)
    case = opened(officer, "erasure")
    page = officer.get(f"/office/{case}")
    assert "Look first at what would be erased" in page
    assert "Erase for good" not in page
    page = officer.post(f"/office/{case}/find")
    assert "Held: C-9" in page
    officer.post(f"/office/{case}/erase", 403, typed="DSR-1")  # no second person yet
    approved(officer, site, case, "erase")
    officer.post(f"/office/{case}/erase", 400, typed="something else")
    page = officer.post(f"/office/{case}/erase", typed="DSR-1")
    assert "Erased" in page
    assert re.search(r"under a hold, which waits? for its release", page)
    number = re.search(r"/retention/certificates/(\d+)", page)
    assert number
    assert site.world.found(HER) == []
    letter = answered(officer, case)
    assert set(letter) == {"answer.html", "answer.pdf"}
    assert f"เลขที่ {number[1]}" in letter["answer.html"].decode()


def test_an_erasure_that_a_crash_cut_off_is_told_as_done(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    officer = site.signed_in("dora", Role.PRIVACY_OFFICER)
    case = opened(officer, "erasure")
    officer.post(f"/office/{case}/find")
    approved(officer, site, case, "erase")
    keep = Requests.keep

    def crash(self: Requests, person: Any, case_id: str, kind: str, value: Any) -> None:
        if kind == "erased" and "at" in value:
            raise TransientError("gone")
        keep(self, person, case_id, kind, value)

    with monkeypatch.context() as patched:
        patched.setattr(Requests, "keep", crash)
        officer.post(f"/office/{case}/erase", 503, typed="DSR-1")
    assert "not seen to its end" in officer.get(f"/office/{case}")
    page = officer.post(f"/office/{case}/erase", typed="DSR-1")
    assert "2 entries" in page.split('id="erasure"')[1]
    letter = answered(officer, case)["answer.html"].decode()
    assert "รายการที่ลบ: 2" in letter


def test_a_restriction_hides_and_is_told_and_lifted(site: Site) -> None:
    officer = site.signed_in("dora", Role.PRIVACY_OFFICER)
    case = opened(officer, "restriction")
    page = officer.post(f"/office/{case}/restrict", reason="accuracy is contested")
    assert "restricted" in page
    seen = site.signed_in("amal", Role.INVESTIGATOR)
    theirs = re.search(
        r"/cases/([0-9a-f-]{36})", seen.post("/cases", reference="F-1", title="", purpose="fraud")
    )
    assert theirs
    assert "Restricted" in seen.post("/search", values=HER, case=theirs[1])
    assert "31 มีนาคม พ.ศ. 2568" in answered(officer, case)["answer.html"].decode()
    assert "Was restricted until 2025-03-31" in officer.post(
        f"/office/{case}/restrict", reason="settled", lift="yes"
    )
    assert "2 communications" in seen.post("/search", values=HER, case=theirs[1])


def test_a_refused_request_has_a_letter_without_data(site: Site) -> None:
    officer = site.signed_in("dora", Role.PRIVACY_OFFICER)
    case = opened(officer, "access")
    files = answered(officer, case, refused="yes", words="ไม่สามารถยืนยันตัวตนได้")
    assert set(files) == {"answer.html", "answer.pdf"}
    assert "ไม่สามารถยืนยันตัวตนได้" in files["answer.html"].decode()


def test_time_is_extended_once_and_what_is_late_shows(site: Site) -> None:
    officer = site.signed_in("dora", Role.PRIVACY_OFFICER)
    case = opened(officer, "objection", received="2025-01-31")
    page = officer.get("/office")
    assert "2025-02-28" in page
    assert "overdue" in page
    officer.post(f"/office/{case}/extend", 400, reason=" ")
    page = officer.post(f"/office/{case}/extend", reason="many records")
    assert "2025-04-28" in page
    officer.post(f"/office/{case}/extend", 400, reason="again")


def test_a_request_is_its_officers_and_ends(site: Site, tmp_path: Path) -> None:
    officer = site.signed_in("dora", Role.PRIVACY_OFFICER)
    case = opened(officer, "access")
    other = site.signed_in("dina", Role.PRIVACY_OFFICER)
    assert "DSR-1" in other.get("/office")
    for path in ("", "/find", "/answer", "/erase", "/ask", "/end"):
        (other.get if not path else other.post)(f"/office/{case}{path}", 403)
    officer.post(f"/office/{case}/find")
    officer.post(f"/office/{case}/answered", outcome="nothing held")
    site.world.now += timedelta(days=29)
    again = site.browser()
    again.post("/sign-in", data={"name": "dora", "password": "correct horse battery"})
    assert HER in Browser(again).get(f"/office/{case}")
    site.world.now += timedelta(days=1)
    again.post("/sign-in", data={"name": "dora", "password": "correct horse battery"})
    assert "ended" in Browser(again).get("/office")
    assert HER not in Browser(again).get(f"/office/{case}")
    with site.service.database.begin() as session:
        assert session.execute(text("SELECT count(*) FROM case_entries")).scalar() == 0
    assert not list(tmp_path.rglob(f"*case.{case}*.key"))


def test_nothing_of_a_person_lies_in_the_database_in_clear(site: Site, tmp_path: Path) -> None:
    officer = site.signed_in("dora", Role.PRIVACY_OFFICER)
    case = opened(officer, "access")
    officer.post(f"/office/{case}/find")
    answered(officer, case, refused="yes", words="a word to her")
    site.service.database.engine.dispose()
    for file in tmp_path.rglob("service.db*"):
        data = file.read_bytes()
        assert HER[1:].encode() not in data
        assert b"a word to her" not in data


@pytest.mark.parametrize("role", [r for r in Role if r is not Role.PRIVACY_OFFICER])
def test_requests_are_the_offices_alone(site: Site, role: Role) -> None:
    browser = site.signed_in("somebody", role)
    browser.get("/office", 403)
    browser.post("/office", 403, reference="DSR-1", kind="access", about=HER, language="en")


def test_what_cannot_be_a_request_is_refused(site: Site) -> None:
    officer = site.signed_in("dora", Role.PRIVACY_OFFICER)
    good = {"reference": "DSR-1", "kind": "access", "about": HER, "language": "en"}
    for wrong in (
        {"kind": "revenge"}, {"language": "xx"}, {"about": " "}, {"about": "\n".join(map(str, range(11)))},
        {"received": "2026-01-01"}, {"received": "yesterday"}, {"due": "2024-01-01"},
    ):  # fmt: skip
        officer.post("/office", 400, **{**good, **wrong})
    officer.post("/office", **good)
    officer.post("/office", 400, **good)


def test_an_answered_request_ends_although_nobody_opens_a_page(site: Site) -> None:
    """Real rounds of the service: the first is at its start."""
    officer = site.signed_in("dora", Role.PRIVACY_OFFICER)
    case = opened(officer, "access")
    officer.post(f"/office/{case}/answered", outcome="nothing held")
    site.world.now += timedelta(days=30)

    def closed() -> bool:
        with site.service.database.begin() as session:
            return bool(session.execute(text("SELECT count(*) FROM cases WHERE closed IS NOT NULL")).scalar())

    assert not closed()
    with TestClient(make_app(site.service)):
        until = time.monotonic() + 120
        while not closed() and time.monotonic() < until:
            time.sleep(0.05)
    assert closed()
    ended = [e for e in site.world.runtime.audit.entries() if e["action"] == "request.end"]
    assert [e["case"] for e in ended] == ["DSR-1"]


def test_auditors_read_who_looked_at_a_person_and_not_at_whom(site: Site) -> None:
    officer, auditor = site.signed_in("dora", Role.PRIVACY_OFFICER), site.signed_in("carl", Role.AUDITOR)
    amal = site.signed_in("amal", Role.INVESTIGATOR)
    assert "A question belongs to a case" in officer.get("/disclosures")
    assert "Nothing is shared" in auditor.get("/disclosures")
    amal.get("/disclosures", 403)
    auditor.post("/disclosures", 403, value=HER, case="1")
    fraud = (
        amal.post("/cases", reference="F-7", title="", purpose="fraud")
        .split('action="/cases/')[1]
        .split("/")[0]
    )
    amal.post("/search", values=HER, case=fraud)
    case = (
        officer.post("/cases", reference="DSR-9", title="", purpose="person")
        .split('action="/cases/')[1]
        .split("/")[0]
    )
    page = officer.post("/disclosures", value=HER, case=case)
    assert "F-7" in page
    assert "Nothing is shared" in auditor.get("/disclosures"), "only what is meant for them"
    officer.post("/disclosures", value=HER, case=case, share="yes")
    shared = auditor.get("/disclosures")
    assert "F-7" in shared
    assert "asked by dora" in shared
    assert HER[1:] not in shared
    officer.post(f"/cases/{case}/close", typed="DSR-9")
    assert "F-7" not in auditor.get("/disclosures")


def _opened_case(browser: Browser, reference: str, purpose: str) -> str:
    page = browser.post("/cases", reference=reference, title="", purpose=purpose)
    return page.split('action="/cases/')[1].split("/")[0]
