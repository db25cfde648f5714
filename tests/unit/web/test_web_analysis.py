"""The analysis page: one audited read, counterparts masked, a reveal with its reason."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from test_web_pages import case_of
from web_site import HER, HIM, Browser, Site

from lethe.operations.access.roles import Role
from lethe.operations.asker import Asker
from lethe.operations.oversight import entries
from lethe.operations.rights.restrict import restrict
from lethe.schemas.errors import ConfigurationError

CALLED = "+923217654321"
CALL = {
    "time": int(datetime(2025, 3, 11, 12, tzinfo=UTC).timestamp()), "method": "INVITE", "from_tag": "a",
    "to_tag": "b", "callid": "c1", "sip_code": "200", "sip_reason": "OK", "src_user": HER, "dst_user": CALLED,
    "src_domain": "sip.example.net", "dst_domain": "sip.example.net",
}  # fmt: skip


def case_with(browser: Browser, *targets: str, purpose: str = "fraud") -> str:
    case = case_of(browser.post("/cases", reference="F-1", title="", purpose=purpose))
    browser.post(f"/cases/{case}/entries", targets="\n".join(targets))
    return case


def test_targets_stand_side_by_side_after_one_audited_read(site: Site) -> None:
    browser = site.signed_in("amal", Role.INVESTIGATOR)
    case = case_with(browser, HER, HIM)
    page = browser.post(f"/cases/{case}/analysis")
    assert "3 communications of 2 targets" in page
    for heading in ("First and last seen", "In common", "When", "Bursts", "Presets", "Cannot see"):
        assert heading in page
    assert "GROUP BY account" in page, "what is run is shown"
    entries = [e for e in site.world.runtime.audit.entries() if e["action"] == "case.analyse"]
    assert [(e["case"], e["count"], e["targets"]) for e in entries] == [("F-1", 3, 2)]
    assert "3 of 10,000" in browser.get(f"/cases/{case}"), "its rows are taken from the grant"


def test_the_graph_stays_where_it_was_drawn(site: Site) -> None:
    browser = site.signed_in("amal", Role.INVESTIGATOR)
    case = case_with(browser, HER, HIM)
    first = re.findall(r"<rect class=.node target.[^>]+>", browser.post(f"/cases/{case}/analysis"))
    browser.post(f"/cases/{case}/entries", targets="+923009999999")
    second = re.findall(
        r"<rect class=.node target.[^>]+>", browser.post(f"/cases/{case}/analysis", person="yes")
    )
    assert len(first) == 2
    assert set(first) < set(second)
    assert "layout" not in browser.get(f"/cases/{case}")


def test_a_filter_is_no_second_look(site: Site) -> None:
    browser = site.signed_in("amal", Role.INVESTIGATOR)
    site.world.ingest([json.dumps(CALL).encode()], "kamailio/acc")
    case = case_with(browser, HER, HIM)
    first = browser.post(f"/cases/{case}/analysis")
    answer = re.search(r'name="answer" value="([^"]+)"', first)
    assert answer
    filtered = browser.post(f"/cases/{case}/analysis", answer=answer[1], person="yes")
    assert "nothing more was read" in filtered
    assert first[first.index('id="when"') :] == filtered[filtered.index('id="when"') :]
    looks = [e for e in site.world.runtime.audit.entries() if e["action"] == "case.analyse"]
    assert len(looks) == 1
    assert "4 of 10,000" in browser.get(f"/cases/{case}"), "and no more rows are taken"
    for other in ({"since": "2025-03-01"}, {"until": "2025-03-09"}):
        assert "nothing more was read" not in browser.post(
            f"/cases/{case}/analysis", answer=answer[1], **other
        )
    browser.post(f"/cases/{case}/entries", targets="+923009999999")
    assert "nothing more was read" not in browser.post(f"/cases/{case}/analysis", answer=answer[1])
    restrict(site.world.runtime, Asker.of("dora", "R-1", "asked"), HER)
    assert "nothing more was read" not in browser.post(f"/cases/{case}/analysis", answer=answer[1])


def test_nothing_is_analysed_without_an_entry(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = site.signed_in("amal", Role.INVESTIGATOR)
    case = case_with(browser, HER)

    def full(*_: object) -> None:
        raise ConfigurationError("the audit log cannot be written")

    monkeypatch.setattr("lethe.operations.audit.log.AuditLog.append_all", full)
    page = browser.post(f"/cases/{case}/analysis", 400)
    assert "In common" not in page


def test_a_case_of_somebody_else_is_not_analysed(site: Site) -> None:
    amal, other = site.signed_in("amal", Role.INVESTIGATOR), site.signed_in("omar", Role.INVESTIGATOR)
    case = case_with(amal, HER)
    other.post(f"/cases/{case}/analysis", 403)
    record = str(site.world.found(HER)[0]["offset"])
    other.post(f"/cases/{case}/reveal", 403, record=f"x/0/{record}", reason="no")


def test_a_reveal_needs_a_reason_and_is_written_down(site: Site) -> None:
    browser = site.signed_in("amal", Role.INVESTIGATOR)
    case = case_with(browser, HER)
    found = browser.post("/search", values=HER, case=case)
    record = re.search(r'data-copy="([^"]+)"', found)
    assert record
    assert "A reason of 1 to" in browser.post(f"/cases/{case}/reveal", 400, record=record[1], reason=" ")
    page = browser.post(f"/cases/{case}/reveal", record=record[1], reason="named in a complaint")
    assert HER in page
    assert "named in a complaint" in page
    actions = [e["action"] for e in site.world.runtime.audit.entries()]
    assert actions.count("reveal") == 1


def test_a_dispute_reveals_nobody(site: Site) -> None:
    browser = site.signed_in("amal", Role.INVESTIGATOR)
    case = case_with(browser, HER, purpose="dispute")
    found = browser.post("/search", values=HER, case=case)
    record = re.search(r'data-copy="([^"]+)"', found)
    assert record
    browser.post(f"/cases/{case}/reveal", 403, record=record[1], reason="named in a complaint")
    assert site.world.found(HER)


def test_the_detection_board_runs_under_a_case_of_fraud(site: Site) -> None:
    browser = site.signed_in("amal", Role.INVESTIGATOR)
    assert "belongs to a case of fraud" in browser.get("/detection")
    dispute = case_of(browser.post("/cases", reference="D-1", title="", purpose="dispute"))
    asked = {"kind": "ait", "month": "2025-03", "reason": "a tip"}
    assert "no part of the purpose" in browser.post("/detection", 403, case=dispute, **asked)
    case = case_with(browser, HER)
    assert "Nothing found" in browser.post("/detection", case=case, **asked)
    assert "reason is needed" in browser.post("/detection", 400, case=case, **{**asked, "reason": " "})
    assert "2026-10" in browser.post("/detection", 400, case=case, **{**asked, "month": "x"})
    entries = [e for e in site.world.runtime.audit.entries() if e["action"] == "detect"]
    assert [(e["case"], e["kind"], e["month"]) for e in entries] == [("F-1", "ait", "2025-03")]


def test_all_is_revealed_once_when_a_second_person_has_approved_exactly_that(site: Site) -> None:
    site.world.ingest([json.dumps(CALL).encode()], "kamailio/acc")
    her, other = HER, CALLED
    amal, bela = site.signed_in("amal", Role.INVESTIGATOR), site.signed_in("bela", Role.APPROVER)
    case = case_with(amal, her)
    amal.post(f"/cases/{case}/grants", action="bulk reveal", rows="50", values=her, reason="a ring of SIMs")
    [asked] = site.service.desk.waiting(next(p for p in site.service.accounts.all() if p.name == "bela"))
    path = f"/cases/{case}/grants/{asked.grant.id}/reveal"
    assert other not in amal.post(path, 403)
    assert path not in amal.get(f"/cases/{case}")
    bela.post(f"/approvals/{asked.grant.id}", answer="approve", digest=asked.digest)
    assert path in amal.get(f"/cases/{case}")
    page = amal.post(path)
    assert other in page
    assert "a ring of SIMs" in page
    entry = [e for e in site.world.runtime.audit.entries() if e["action"] == "reveal"][-1]
    assert (entry["who"], entry["case"]) == ("amal", "F-1")
    found = entries.disclosures(
        site.world.runtime, Asker.of("dora", "R-1", "asked"), other, entries.Filter(), print
    )
    assert "reveal" in {e["action"] for e in found}, "whoever was shown beside finds it, too"
    assert other not in amal.post(path, 403), "it is used up"
    assert path not in amal.get(f"/cases/{case}")
    site.signed_in("omar", Role.INVESTIGATOR).post(path, 403)
