"""The boards: integrity, ledger, health, holds, certificates, approvals, audit; and what is not in them."""

from __future__ import annotations

import html
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from retention_world import World, report
from web_site import HER, HIM, Browser, Site

from lethe.operations.access.roles import Role
from lethe.operations.asker import Asker
from lethe.operations.health.boards import Reason, feeds, rejections, topic_days
from lethe.operations.oversight import entries
from lethe.operations.retention.hold import Order, place
from lethe.operations.rights.erase import erase
from lethe.schemas.errors import TransientError

ASKER = Asker.of("dora", "DSR-1", "asked by the person")


def again(site: Site, name: str) -> Browser:
    """Somebody signs in once more: a session does not outlast a day."""
    client = site.browser()
    client.post("/sign-in", data={"name": name, "password": "correct horse battery"})
    return Browser(client)


def test_an_auditor_verifies_and_the_board_remembers(site: Site) -> None:
    auditor = site.signed_in("carl", Role.AUDITOR)
    page = auditor.get("/integrity")
    assert page.count("not yet") == 5
    assert len(re.findall(r'class="value">[0-9a-f]{16}…', page)) == 1
    for what in ("newest", "archive", "ledger", "audit", "certificates"):
        page = auditor.post("/integrity", what=what)
    assert page.count(">verified<") == 5
    assert "3 rows in 1 logs" in page
    assert HER[1:] not in page
    auditor.post("/integrity", 400, what="everything")
    said = [(e["what"], e["ok"]) for e in site.world.runtime.audit.entries() if e["action"] == "verify"]
    assert said == [(w, True) for w in ("newest", "archive", "ledger", "audit", "certificates")]


def test_what_was_altered_is_found_from_the_page(site: Site) -> None:
    erase(site.world.runtime, ASKER, HER)
    path = next(iter((site.world.root / "_certificates").glob("*.json")), None)
    assert path is not None
    text = path.read_text().replace('"identifiers": 2', '"identifiers": 1')
    assert text != path.read_text()
    path.write_text(text)
    auditor = site.signed_in("carl", Role.AUDITOR)
    assert ">wrong<" in auditor.post("/integrity", what="certificates")
    assert "It does not verify" in auditor.get("/retention/certificates/0")


def test_a_certificate_is_opened_verified_and_downloaded(site: Site) -> None:
    number = erase(site.world.runtime, ASKER, HER).certificate
    keeper = site.signed_in("dora", Role.PRIVACY_OFFICER)
    assert f"/retention/certificates/{number}" in keeper.get("/retention")
    page = keeper.get(f"/retention/certificates/{number}")
    assert "Verified just now" in page
    assert HER[1:] not in page
    file = keeper.client.get(f"/retention/certificates/{number}/file")
    assert file.headers["content-disposition"].startswith("attachment")
    assert b"checkpoint" in file.content
    keeper.get("/retention/certificates/99", 400)


def test_a_hold_past_its_review_is_overdue_and_auditors_read_no_reference(site: Site) -> None:
    site.person("carl", Role.AUDITOR)
    site.person("dora", Role.PRIVACY_OFFICER)
    order = Order("District court", "C-9", site.world.now + timedelta(days=5), [HER])
    place(site.world.runtime, ASKER, order)
    page = again(site, "dora").get("/retention")
    assert "in force" in page
    assert re.search(r'<td>2025</td><td class="num">3</td><td>2036-01-01</td>', page)
    site.world.now += timedelta(days=6)
    officer, auditor = again(site, "dora").get("/retention"), again(site, "carl").get("/retention")
    for page in (officer, auditor):
        assert "1 overdue for review" in page
        assert HER[1:] not in page
    assert "C-9" in officer
    assert "C-9" not in auditor
    site.person("fay", Role.OPERATOR)
    operator = again(site, "fay").get("/health")
    assert "1 overdue for review" in operator
    assert re.search(r"review h[0-9a-f]{12};", operator), "by its id"
    assert "C-9" not in operator


def test_rejections_have_a_reason_and_a_trend(site: Site) -> None:
    site.world.ingest([b'{"messageId":"x","to":"+923001234567","sentAt":"never"}'])
    assert [(r.week, r.week_before, r.trend) for r in rejections(site.world.runtime)] == [(1, 0, "new")]
    days = topic_days(site.world.runtime)
    assert sum(d.records for d in days) == 4
    assert sum(d.rejected for d in days) == 1
    operator = site.signed_in("fay", Role.OPERATOR)
    page = operator.get("/ledger")
    assert ">new<" in page
    assert "a time cannot be read" in page, "in words, not by its code alone"
    assert HER[1:] not in page
    assert "never" not in page


@pytest.mark.parametrize(
    ("week", "before", "trend"),
    [(5, 5, "steady"), (6, 5, "steady"), (7, 5, "rising"), (3, 5, "falling"), (0, 5, "gone"), (1, 0, "new")],
)
def test_a_trend_is_more_than_a_quarter(week: int, before: int, trend: str) -> None:
    assert Reason("cdr", "bad_time", week + before, week, before, ()).trend == trend


def test_an_operator_sees_how_it_is_and_no_value(site: Site) -> None:
    operator = site.signed_in("fay", Role.OPERATOR)
    page = operator.get("/health")
    assert "retention" in page
    assert "none yet" in page
    assert HER[1:] not in page
    (feed, *_) = feeds(site.world.runtime).feeds
    assert (feed.last_offset, feed.waiting) == (2, None)
    site.world.sweep()
    assert "seconds ago" in operator.get("/health")


def test_boards_of_an_empty_installation_say_what_to_do(tmp_path_factory: pytest.TempPathFactory) -> None:
    from lethe.console.web.service import Service

    world = World(tmp_path_factory.mktemp("empty"), serve={"second_factor": "choice"})
    site = Site(world, Service.open(world.runtime))
    carl = site.signed_in("carl", Role.AUDITOR, Role.OPERATOR, Role.BILLING_ANALYST, Role.PRIVACY_OFFICER)
    for path, told in (
        ("/integrity", "There is no log yet"), ("/ledger", "Nothing has been taken in yet"),
        ("/health", "Nothing was ever committed"), ("/retention", "None was ever placed"),
        ("/billing", "The archive is empty"), ("/office", "No request yet"),
    ):  # fmt: skip
        assert told in carl.get(path)
    site.service.database.engine.dispose()


def test_entries_are_filtered(site: Site) -> None:
    auditor = site.signed_in("carl", Role.AUDITOR)
    site.world.ingest([report(9, HIM, datetime(2025, 3, 11, tzinfo=UTC))])
    erase(site.world.runtime, ASKER, HER)
    page = auditor.get("/audit?action=erase")
    assert "2 entries" in page
    assert "sign-in" not in page.split("</form>")[-1]
    assert "No entry is like that" in auditor.get("/audit?who=nobody")
    assert "No entry is like that" in auditor.get("/audit?since=2030-01-01")
    assert "2 entries" in auditor.get("/audit?case=DSR-1&until=2025-03-31")
    for wrong in ("since=soon", "after=0", "after=x.y", "after=1.2.3"):
        auditor.get(f"/audit?{wrong}", 400)


def test_the_audit_is_turned_over_page_by_page(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    auditor = site.signed_in("carl", Role.AUDITOR)
    said = [{"who": "amal", "action": "lookup", "case": f"C-{n}"} for n in range(450)]
    site.world.runtime.audit.append_all(said, site.world.runtime.clock())
    asked, pages, link = "/audit?who=amal", [], "/audit?who=amal"
    while link:
        pages.append(auditor.get(link))
        found = re.search(r'href="([^"]*)" rel="next"', pages[-1])
        link = html.unescape(found.group(1)) if found else ""
    assert [p.count("<td>lookup</td>") for p in pages] == [200, 200, 50]
    assert [f"C-{n}<" in "".join(pages) for n in (0, 449)] == [True, True]
    assert ">Newest<" not in pages[0]
    assert f'href="{asked}">Newest<' in pages[2]
    monkeypatch.setattr(entries, "MOST_LOOKED_AT", 300)
    page = auditor.get("/audit?case=C-5")
    assert "No entry is like that so far." in page
    assert "300 entries were looked at, back to 2025-03-31" in page
    assert "Look further back" in page


def test_who_approved_what_is_there_for_approvers_and_auditors(site: Site) -> None:
    officer = site.signed_in("dora", Role.PRIVACY_OFFICER)
    officer.post("/office", reference="DSR-1", kind="access", about=HER, language="en")
    found = re.search(r"/office/([0-9a-f-]{36})", officer.get("/office"))
    assert found
    officer.post(f"/office/{found[1]}/ask", what="export", reason="she asked in person")
    approver = site.signed_in("bela", Role.APPROVER)
    page = approver.get("/approvals")
    grant, digest = (
        re.search(r"/approvals/([0-9a-f-]+)", page),
        re.search(r'name="digest" value="(\w+)"', page),
    )
    assert grant is not None
    assert digest is not None
    page = approver.post(f"/approvals/{grant[1]}", digest=digest[1], answer="approve")
    assert "What you have decided" in page
    assert "she asked in person" in page
    page = site.signed_in("carl", Role.AUDITOR).get("/audit")
    assert "What needed a second person" in page
    assert "bela" in page
    assert "she asked in person" not in page
    assert HER[1:] not in page


def test_an_operator_sees_what_waits_and_which_workers_are_ready(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Worker(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(b"no partition is assigned yet")

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr("lethe.operations.health.boards._SECONDS", 60.0)
    answering = ThreadingHTTPServer(("127.0.0.1", 0), Worker)
    threading.Thread(target=answering.serve_forever, daemon=True).start()
    places = (f"http://127.0.0.1:{answering.server_port}", "http://127.0.0.1:1")
    serve = {"workers": places, "second_factor": "choice"}
    settings = World(site.world.folder, serve=serve, sources={"cdr.sms": "infobip/sms-report"}).settings
    ends = {("cdr.sms", 0): 40, ("cdr.sms", 1): 0}
    site.service.runtime = replace(site.service.runtime, settings=settings, ends=lambda _: ends)
    page = site.signed_in("fay", Role.OPERATOR).get("/health")
    answering.shutdown()
    answering.server_close()
    assert "<b>40</b>" in page
    assert "never" in page
    assert "0 of 2" in page
    assert "no partition is assigned yet" in page
    assert "does not answer" in page

    def away(_: object) -> dict[tuple[str, int], int]:
        raise TransientError("the broker does not answer")

    site.service.runtime = replace(site.service.runtime, ends=away)
    page = site.signed_in("faye", Role.OPERATOR).get("/health")
    assert "not known" in page
    assert "the broker does not answer" in page


def test_an_entry_says_what_it_is_of(site: Site) -> None:
    admin = site.signed_in("gus", Role.ADMINISTRATOR)
    admin.post("/accounts", name="fay", display="Fay", **{"role:operator": "1", "role:auditor": "1"})
    auditor = site.signed_in("carl", Role.AUDITOR)
    auditor.post("/integrity", what="ledger")
    auditor.get("/accounts", 403)
    page = auditor.get("/audit")
    assert '<td class="narrow">fay; roles auditor, operator</td>' in page
    assert '<td class="narrow">ledger; as it was signed</td>' in page
    assert '<td class="narrow">GET /accounts</td>' in page
