"""The pages: each role's, what they refuse, and what they never show."""

from __future__ import annotations

import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from web_site import HER, HIM, PASSWORD, Browser, Site

from lethe.console.web.tries import Tries
from lethe.operations.access.roles import Role
from lethe.schemas.errors import ConfigurationError, TransientError

PAGES = {
    "/cases": {Role.INVESTIGATOR, Role.PRIVACY_OFFICER},
    "/office": {Role.PRIVACY_OFFICER},
    "/detection": {Role.INVESTIGATOR},
    "/approvals": {Role.APPROVER},
    "/billing": {Role.BILLING_ANALYST},
    "/retention": {Role.PRIVACY_OFFICER, Role.AUDITOR},
    "/ledger": {Role.AUDITOR, Role.OPERATOR},
    "/integrity": {Role.AUDITOR, Role.OPERATOR},
    "/health": {Role.OPERATOR},
    "/audit": {Role.AUDITOR},
    "/disclosures": {Role.PRIVACY_OFFICER, Role.AUDITOR},
    "/accounts": {Role.ADMINISTRATOR},
}


def case_of(page: str) -> str:
    found = re.search(r"/cases/([0-9a-f-]{36})", page)
    assert found
    return found[1]


@pytest.mark.parametrize("role", list(Role))
def test_each_role_has_its_pages_and_no_other(site: Site, role: Role) -> None:
    browser = site.signed_in("somebody", role)
    for path, roles in PAGES.items():
        browser.get(path, 200 if role in roles else 403)


@pytest.mark.parametrize("role", list(Role))
def test_the_start_is_a_page_of_ones_own(site: Site, role: Role) -> None:
    """The mark in the corner and *Back to the start* lead there, whatever somebody's roles are."""
    browser = site.signed_in("somebody", role)
    start = browser.client.get("/")
    assert start.status_code == 200
    assert start.url.path in ("/", *(path for path, roles in PAGES.items() if role in roles))
    assert start.url.path != "/" or role in (Role.INVESTIGATOR, Role.PRIVACY_OFFICER)


def test_whoever_has_no_role_starts_at_their_account(site: Site) -> None:
    browser = site.signed_in("nobody")
    assert browser.client.get("/").url.path == "/account"


def test_an_error_leaves_the_way_on_beside_it(site: Site) -> None:
    egon = site.signed_in("egon", Role.BILLING_ANALYST)
    page = egon.get("/billing?month=march", 400)
    assert "Sign out" in page
    assert 'href="/billing"' in page
    page = egon.get("/audit", 403)
    assert "it is for auditor" in page
    assert 'href="/billing"' in page
    assert "Sign out" not in site.browser().get("/nowhere").text


def test_whoever_was_signed_out_is_told_so_and_led_back(site: Site) -> None:
    egon = site.signed_in("egon", Role.BILLING_ANALYST, Role.AUDITOR)
    token = egon.client.get("/account").text.split('name="csrf" value="')[1].split('"')[0]
    site.world.now += timedelta(minutes=31)
    lost = egon.client.post("/billing/dispute", data={"csrf": token, "reason": "billed twice"})
    assert "Your session had ended, and what you have just sent was not done" in lost.text
    back = egon.client.post("/sign-in", data={"name": "egon", "password": PASSWORD})
    assert back.url.path == "/billing"
    site.world.now += timedelta(minutes=31)
    page = egon.client.get("/audit?who=amal")
    assert page.url.path == "/sign-in"
    assert "your session has ended" in page.text
    assert "your session" not in site.browser().get("/sign-in").text
    site.person("fay", Role.OPERATOR)  # at the same browser, whose roles open another page
    assert egon.client.post("/sign-in", data={"name": "fay", "password": PASSWORD}).url.path == "/ledger"


def test_nothing_is_shown_to_nobody(site: Site) -> None:
    client = site.browser()
    for path in PAGES:
        answer = client.get(path, follow_redirects=False)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/sign-in"
    assert client.get("/api/cases").status_code == 401
    assert client.post("/search", data={"values": HER}, follow_redirects=False).status_code == 303


def test_a_look_up_under_a_case(site: Site) -> None:
    browser = site.signed_in("amal", Role.INVESTIGATOR)
    assert "Open a case" in browser.get("/")
    case = case_of(browser.post("/cases", reference="F-2041", title="take-over", purpose="fraud"))
    page = browser.post("/search", values="0092 300 1234567", case=case)
    assert "2 communications" in page
    assert page.count("delivered") >= 2
    assert "3 communications" in browser.post("/search", values=f"{HER}\n{HIM}", case=case)
    entry = next(e for e in site.world.runtime.audit.entries() if e["action"] == "lookup")
    assert (entry["who"], entry["case"], entry["purpose"], entry["count"]) == ("amal", "F-2041", "fraud", 2)


def test_entries_say_from_which_address_and_session(site: Site) -> None:
    browser = site.signed_in("amal", Role.INVESTIGATOR)
    case = case_of(browser.post("/cases", reference="F-1", title="", purpose="fraud"))
    browser.post("/search", values=HER, case=case)
    sources = {e["action"]: e["source"] for e in site.world.runtime.audit.entries() if e["who"] == "amal"}
    assert re.fullmatch(r"testclient, session [0-9a-f]{8}", sources["lookup"])
    assert sources["case.open"] == sources["lookup"]
    assert sources["sign-in"].startswith("testclient")


def test_what_somebody_was_refused_is_in_the_audit(site: Site) -> None:
    amal, bela = site.signed_in("amal", Role.INVESTIGATOR), site.signed_in("bela", Role.APPROVER)
    case = case_of(amal.post("/cases", reference="F-1", title="", purpose="fraud"))
    bela.get("/billing", 403)
    bela.get(f"/cases/{case}", 403)
    amal.get("/audit", 403)
    refused = [e for e in site.world.runtime.audit.entries() if e["action"] == "refused"]
    assert [(e["who"], e["what"]) for e in refused] == [
        ("bela", "GET /billing"), ("bela", f"GET /cases/{case}"), ("amal", "GET /audit"),
    ]  # fmt: skip
    assert all("session" in e["source"] for e in refused)


def test_the_audit_page_says_what_was_cut_off(site: Site) -> None:
    carl = site.signed_in("carl", Role.AUDITOR)
    assert "were signed" not in carl.get("/audit")
    audit = Path(site.world.runtime.audit.place)
    shutil.rmtree(audit)
    page = carl.get("/audit")
    assert re.search(r"is gone: \d+ entries were signed", page)


def test_a_number_that_cannot_be_read_is_told_from_nothing_found(site: Site) -> None:
    browser = site.signed_in("amal", Role.INVESTIGATOR)
    case = case_of(browser.post("/cases", reference="F-1", title="", purpose="fraud"))
    assert "needs its country code" in browser.post("/search", values="12", case=case)
    assert "Nothing inside the window" in browser.post("/search", values="+447700900123", case=case)


def test_without_a_durable_audit_entry_there_is_no_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = site.signed_in("amal", Role.INVESTIGATOR)
    case = case_of(browser.post("/cases", reference="F-1", title="", purpose="fraud"))

    def fails(*_: object) -> None:
        raise ConfigurationError("the audit log cannot be written")

    monkeypatch.setattr("lethe.operations.audit.log.AuditLog.append_all", fails)
    page = browser.post("/search", status=400, values=HER, case=case)
    assert "delivered" not in page
    assert "audit log cannot be written" in page


def test_a_form_of_another_site_is_refused(site: Site) -> None:
    browser = site.signed_in("amal", Role.INVESTIGATOR)
    for fields in ({}, {"csrf": ""}, {"csrf": "x" * 43}):
        answer = browser.client.post("/cases", data={"reference": "F-1", "purpose": "fraud", **fields})
        assert answer.status_code == 403
    assert "No cases yet" in browser.get("/cases")


def test_every_answer_carries_the_headers(site: Site) -> None:
    client = site.browser()
    for path in ("/sign-in", "/nowhere", "/api/cases", "/static/lethe.css"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    assert client.get("/sign-in").headers["cache-control"] == "no-store"
    answer = client.get("/sign-in")
    assert "<script>" not in answer.text
    assert " style=" not in answer.text


def test_the_cookie_is_out_of_reach(site: Site) -> None:
    site.person("amal", Role.INVESTIGATOR)
    answer = site.browser().post(
        "/sign-in", data={"name": "amal", "password": PASSWORD}, follow_redirects=False
    )
    cookie = answer.headers["set-cookie"].lower()
    for word in ("httponly", "secure", "samesite=strict", "path=/"):
        assert word in cookie


def test_too_many_sign_ins_from_one_address_wait(site: Site) -> None:
    site.service.tries = Tries(3, 60.0)
    client = site.browser()
    answers = [client.post("/sign-in", data={"name": "x", "password": "y"}).status_code for _ in range(4)]
    assert answers == [403, 403, 403, 429]


def test_what_weighs_goes_through_a_second_person(site: Site) -> None:
    amal = site.signed_in("amal", Role.INVESTIGATOR)
    bela = site.signed_in("bela", Role.APPROVER)
    case = case_of(amal.post("/cases", reference="F-1", title="", purpose="fraud"))
    amal.post(f"/cases/{case}/grants", action="bulk reveal", rows="5", values=HER, reason="a ring of SIMs")
    page = bela.get("/approvals")
    assert HER in page
    assert "a ring of SIMs" in page
    grant, digest = re.search(
        r'/approvals/([0-9a-f-]{36}).*?name="digest" value="(\w{64})"', page, re.S
    ).groups()
    bela.post(f"/approvals/{grant}", status=403, answer="approve", digest="0" * 64)
    bela.post(f"/approvals/{grant}", answer="approve", digest=digest)
    assert "Nothing waits" in bela.get("/approvals")
    assert "approved" in amal.get(f"/cases/{case}")


def test_break_glass_is_on_the_auditors_board_until_reviewed(site: Site) -> None:
    amal = site.signed_in("amal", Role.INVESTIGATOR)
    carl = site.signed_in("carl", Role.AUDITOR)
    case = case_of(amal.post("/cases", reference="F-1", title="", purpose="fraud"))
    amal.post(f"/cases/{case}/grants", action="hold", rows="5", values=HER, reason="now", break_glass="yes")
    page = carl.get("/audit")
    assert "Break-glass to review" in page
    assert HER not in page
    grant = re.search(r"/reviews/([0-9a-f-]{36})", page)[1]
    assert "Break-glass to review" not in carl.post(f"/reviews/{grant}")


def test_a_case_is_closed_only_when_its_reference_is_typed(site: Site) -> None:
    amal = site.signed_in("amal", Role.INVESTIGATOR)
    case = case_of(amal.post("/cases", reference="F-1", title="", purpose="fraud"))
    amal.post(f"/cases/{case}/entries", targets=f"{HER}\n{HIM}\n{HER}")
    assert "2 of 50" in amal.get(f"/cases/{case}")
    assert "3 communications" in amal.post(f"/cases/{case}/search")
    amal.post(f"/cases/{case}/close", status=400, typed="F-2")
    amal.post(f"/cases/{case}/close", typed="F-1")
    assert HER not in amal.get(f"/cases/{case}")
    eve = site.signed_in("eve", Role.INVESTIGATOR)
    eve.get(f"/cases/{case}", 403)


def test_an_administrator_adds_an_account_that_signs_in(site: Site) -> None:
    admin = site.signed_in("root", Role.ADMINISTRATOR)
    page = admin.post("/accounts", name="dora", display="Dora", **{"role:operator": "1"})
    password = re.search(r"shown once: <code>([^<]+)</code>", page)[1]
    dora = Browser(site.browser())
    answer = dora.client.post("/sign-in", data={"name": "dora", "password": password})
    assert answer.url.path == "/account"
    assert "Choose a password of your own first" in answer.text
    assert dora.client.get("/ledger").url.path == "/account", "nothing else opens before"
    dora.post("/account/password", password=password, new="three lanterns of the harbour")
    assert dora.client.get("/ledger").url.path == "/ledger"
    mine = next(p for p in site.service.accounts.all() if p.name == "root")
    admin.post(f"/accounts/{mine.id}", status=403, what="close")


def test_values_that_look_like_markup_are_text(site: Site) -> None:
    amal = site.signed_in("amal", Role.INVESTIGATOR)
    case = case_of(amal.post("/cases", reference="F-1", title="<script>alert(1)</script>", purpose="fraud"))
    amal.post(f"/cases/{case}/entries", note="<img src=x onerror=alert(1)>")
    page = amal.get(f"/cases/{case}")
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_the_api_looks_up_like_the_page(site: Site) -> None:
    amal = site.signed_in("amal", Role.INVESTIGATOR)
    amal.post("/cases", reference="F-1", title="", purpose="fraud")
    client = site.browser()
    token = client.post("/api/sessions", json={"name": "amal", "password": PASSWORD}).json()["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    (case,) = client.get("/api/cases", headers=bearer).json()
    answer = client.post("/api/search", headers=bearer, json={"case": case["id"], "values": [HER]}).json()
    assert answer["total"] == 2
    wrong = client.post("/api/search", headers=bearer, json={"case": case["id"], "values": []})
    assert wrong.status_code == 422
    assert client.get("/api/openapi.json").json()["info"]["title"] == "Lethe"


def test_a_case_is_opened_by_the_api_as_by_the_page(site: Site) -> None:
    site.person("amal", Role.INVESTIGATOR)
    site.person("bela", Role.AUDITOR)
    client = site.browser()

    def bearer(name: str) -> dict[str, str]:
        token = client.post("/api/sessions", json={"name": name, "password": PASSWORD}).json()["token"]
        return {"Authorization": f"Bearer {token}"}

    new = {"reference": "F-9", "purpose": "fraud"}
    case = client.post("/api/cases", headers=bearer("amal"), json=new).json()
    assert (case["reference"], case["purpose"], case["closed"]) == ("F-9", "fraud", None)
    wanted = {"case": case["id"], "values": [HER]}
    assert client.post("/api/search", headers=bearer("amal"), json=wanted).json()["total"] == 2
    refused = client.post("/api/cases", headers=bearer("amal"), json={**new, "purpose": "curiosity"})
    assert (refused.status_code, "purpose: one of" in refused.json()["error"]) == (400, True)
    assert client.post("/api/cases", headers=bearer("bela"), json=new).status_code == 403
    assert client.post("/api/cases", json=new).status_code == 401


def test_a_month_whose_keys_do_not_open_is_named(site: Site) -> None:
    browser = site.signed_in("amal", Role.INVESTIGATOR)
    case = case_of(browser.post("/cases", reference="F-1", title="", purpose="fraud"))
    wrapped = next((site.world.root / "_keys").glob("2025-03*.json"))
    wrapped.write_bytes(b"{}")
    site.service.runtime.ring.evict()
    page = browser.post("/search", values=HER, case=case)
    assert "Not all was looked through" in page
    assert "2025-03.w12" in page
    assert "Nothing inside the window" not in page


def test_who_watches_over_it_needs_no_sign_in_and_hears_of_a_database_that_is_away(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = site.browser()
    assert (browser.get("/live").text, browser.get("/ready").text) == ("alive\n", "ready\n")

    def away() -> object:
        raise TransientError("the service's database does not answer; try again")

    monkeypatch.setattr(site.service.database, "begin", away)
    assert (browser.get("/live").status_code, browser.get("/ready").status_code) == (200, 503)
