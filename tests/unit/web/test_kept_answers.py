"""Pages, orders and views of an answer that was just given: no second look, and nothing that may no longer be shown."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from retention_world import report
from web_site import HER, HIM, Browser, Site

from lethe.console.web.pages import search
from lethe.console.web.service import Service
from lethe.operations.access.roles import Role
from lethe.operations.asker import Asker
from lethe.operations.rights.erase import erase
from lethe.operations.rights.restrict import restrict

MARCH = datetime(2025, 3, 10, 12, tzinfo=UTC)


def looks(site: Site) -> list[dict[str, Any]]:
    return [e for e in site.world.runtime.audit.entries() if e["action"] == "lookup"]


def open_case(browser: Browser, reference: str = "F-1") -> str:
    page = browser.post("/cases", reference=reference, title="", purpose="fraud")
    return page.split('action="/cases/')[1].split("/")[0]


def hidden(page: str) -> dict[str, str]:
    """Give what the form of pages, orders and views carries."""
    form = page.split('id="again"')[1].split("</form>")[0]
    return {n: v for n, v in re.findall(r'name="(\w+)" value="([^"]*)"', form) if n != "csrf"}


def asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> tuple[Browser, str, dict[str, str]]:
    """Ask once, on pages of two lines, and give the browser, the case and the form of what comes after."""
    monkeypatch.setattr(search, "PAGE_LINES", 1)
    amal = site.signed_in("amal", Role.INVESTIGATOR)
    case = open_case(amal)
    page = amal.post("/search", values=HER, case=case)
    assert "page 1 of 2" in page
    assert "Written down under F-1" in page
    assert len(looks(site)) == 1
    return amal, case, hidden(page)


def test_a_page_an_order_and_a_view_are_no_look(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    amal, _, form = asked(site, monkeypatch)
    before = site.service.desk.of(next(p for p in site.service.accounts.all() if p.name == "amal"))
    monkeypatch.setattr(search, "lookup_each", None)  # whoever looked now would fail
    second = amal.post("/search", **form, page="2")
    assert "page 2 of 2" in second
    assert "nothing more was read" in second
    assert "delivered" in second
    assert 'aria-sort="ascending"' in amal.post("/search", **{**form, "order": "time"})
    assert "line-of-time" in amal.post("/search", **{**form, "view": "time line"})
    assert len(looks(site)) == 1
    after = site.service.desk.of(next(p for p in site.service.accounts.all() if p.name == "amal"))
    assert [a.grant.used for a in after] == [a.grant.used for a in before]


def restricts(site: Site, *_: Any) -> None:
    restrict(site.world.runtime, Asker.of("dora", "DSR-1", "objection"), HER)


def erases(site: Site, *_: Any) -> None:
    erase(site.world.runtime, Asker.of("dora", "DSR-1", "erasure"), HER)


def expires(site: Site, *_: Any) -> None:
    site.world.now = datetime(2026, 4, 1, tzinfo=UTC)


def revokes(site: Site, amal: Browser, case: str) -> None:
    page = amal.get(f"/cases/{case}")
    for grant in re.findall(r"/grants/([0-9a-f-]+)/revoke", page):
        amal.post(f"/cases/{case}/grants/{grant}/revoke")


def loses_the_role(site: Site, *_: Any) -> None:
    amal = next(p for p in site.service.accounts.all() if p.name == "amal")
    site.service.accounts.set_roles(amal.id, [Role.AUDITOR])


def closes(site: Site, amal: Browser, case: str) -> None:
    amal.post(f"/cases/{case}/close", typed="F-1")


def takes_long(site: Site, *_: Any) -> None:
    site.world.now += timedelta(minutes=16)


def sets_back(site: Site, *_: Any) -> None:
    site.world.now -= timedelta(hours=1)


def signs_out(site: Site, amal: Browser, _case: str) -> None:
    amal.post("/sign-out")


@pytest.mark.parametrize(
    ("what", "status", "shown"),
    [
        (restricts, 200, "Restricted."), (erases, 200, "Nothing inside the window"), (expires, None, None),
        (revokes, 403, "The grant is revoked"), (loses_the_role, 403, None), (closes, 403, "The case is closed"),
        (takes_long, 200, None), (sets_back, None, None), (signs_out, 200, "Password"),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)  # fmt: skip
def test_what_was_kept_ends_with_what_let_it_be_shown(
    site: Site, monkeypatch: pytest.MonkeyPatch, what: Any, status: int | None, shown: str | None
) -> None:
    amal, case, form = asked(site, monkeypatch)
    what(site, amal, case)
    answer = amal.client.post("/search", data={"csrf": _token(amal), **form, "page": "2"})
    assert status is None or answer.status_code == status
    assert shown is None or shown in answer.text
    assert "nothing more was read" not in answer.text
    if what not in (takes_long, sets_back):
        assert "delivered" not in answer.text
    if what is takes_long:
        assert len(looks(site)) == 2, "a look again, written down again"


def _token(browser: Browser) -> str:
    page = browser.client.get("/account").text
    return page.split('name="csrf" value="')[1].split('"')[0] if 'name="csrf"' in page else ""


def test_an_answer_is_its_sessions_and_its_questions(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    amal, _, form = asked(site, monkeypatch)
    # Another question under the name of the answer is looked up.
    assert "Written down" in amal.post("/search", **{**form, "values": HIM})
    assert len(looks(site)) == 2
    # So is the same question in another session of the same person, and in a case of somebody else's it is refused.
    other = Browser(site.browser())
    other.client.post("/sign-in", data={"name": "amal", "password": "correct horse battery"})
    assert "Written down" in other.post("/search", **form, page="2")
    assert len(looks(site)) == 3
    site.signed_in("eve", Role.INVESTIGATOR).post("/search", 403, **form)
    assert len(looks(site)) == 3
    # The first session still has its own.
    assert "nothing more was read" in amal.post("/search", **form, page="2")


def test_another_instance_looks_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    amal, _, form = asked(site, monkeypatch)
    beside = Site(site.world, Service.open(site.world.runtime))
    browser = Browser(beside.browser())
    browser.client.cookies = amal.client.cookies
    page = browser.post("/search", **form, page="2")
    assert "page 2 of 2" in page
    assert "Written down under F-1" in page
    assert len(looks(site)) == 2
    beside.service.database.engine.dispose()


def test_new_records_do_not_end_an_answer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    amal, _, form = asked(site, monkeypatch)
    site.world.ingest([report(9, HER, MARCH)])
    assert "page 2 of 2" in amal.post("/search", **form, page="2")


def test_no_kept_answer_lies_in_the_clear(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked(site, monkeypatch)
    (kept,) = site.service.answers._kept.values()
    assert b"event_time" not in kept.sealed
    assert HER not in repr(kept)


def test_a_grants_rows_are_the_most_that_is_shown(site: Site) -> None:
    amal = site.signed_in("amal", Role.INVESTIGATOR)
    case = open_case(amal)
    revokes(site, amal, case)
    amal.post(f"/cases/{case}/grants", action="lookup", rows="1", reason="one is enough", values="")
    page = amal.post("/search", values=HER, case=case)
    assert "1 communication" in page
    assert "The grant&#39;s rows are used up" in page or "The grant's rows are used up" in page
    assert page.count("<tr>") == 2, "a heading and one line"
    assert "rows are used up" in amal.post("/search", 403, values=HER, case=case)


def test_reports_of_a_message_are_one_line_with_its_ladder(site: Site) -> None:
    site.world.ingest([report(0, HER, MARCH), report(0, HER, MARCH + timedelta(minutes=1))])
    amal = site.signed_in("amal", Role.INVESTIGATOR)
    page = amal.post("/search", values=HER, case=open_case(amal))
    assert "2 communications <small>in 4 records</small>" in page
    assert "3 reports" in page


def test_ones_own_look_ups_are_listed_and_gone_with_the_case(site: Site) -> None:
    amal = site.signed_in("amal", Role.INVESTIGATOR)
    case = open_case(amal)
    assert "None yet" in amal.get("/")
    amal.post("/search", values=HER, case=case)
    amal.post("/search", values=HER, case=case)
    page = amal.get("/")
    assert page.count(">Look again<") == 1, "the same question stands once"
    assert HER in page
    amal.post(f"/cases/{case}/close", typed="F-1")
    assert HER not in amal.get("/")


def test_a_period_that_is_forgotten_is_called_so(site: Site) -> None:
    amal = site.signed_in("amal", Role.INVESTIGATOR)
    case = open_case(amal)
    part = amal.post("/search", values=HER, case=case, since="2024-01-01")
    assert "Part of this period is forgotten" in part
    assert "2 communications" in part
    whole = amal.post("/search", values=HER, case=case, since="2023-05-01", until="2023-06-30")
    assert "<b>Forgotten.</b>" in whole
    assert "forgotten for good" in amal.post(
        "/search", 400, values=HER, case=case, since="2019-05-01", until="2019-06-30"
    )
