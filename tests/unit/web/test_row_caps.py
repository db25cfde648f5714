"""Row caps: no face tells of more records than its grant has rows for, and a face that nobody has judged fails here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy import select
from test_web_office import opened
from test_web_pages import case_of
from web_site import HER, Browser, Site

from lethe.console.web.app import make_app
from lethe.operations.access import gate, tables
from lethe.operations.access.accounts import Person
from lethe.operations.access.gate import Wish
from lethe.operations.access.grants import Action, RefusedError
from lethe.operations.access.roles import Role
from lethe.operations.detection import detect as detection
from lethe.operations.office import office
from lethe.operations.rights import export

CAPPED = {
    "/search", "/cases/{case_id}/search", "/api/search", "/api/lookup", "/api/lookup/held", "/disclosures",
    "/api/disclosures", "/cases/{case_id}/analysis", "/api/cases/{case_id}/analysis", "/cases/{case_id}/case-file",
    "/api/cases/{case_id}/case-file", "/detection", "/api/detection", "/api/detections", "/api/exports",
    "/api/exports/files", "/api/holds/export", "/api/reveals",
    "/cases/{case_id}/grants/{grant}/reveal", "/office/{case_id}/answer",
}  # fmt: skip
ONE_RECORD = {"/cases/{case_id}/reveal", "/api/cases/{case_id}/reveal", "/api/reveal", "/api/evidence"}
NO_RECORD = {
    "/account/password", "/account/second-factor", "/account/sessions", "/accounts", "/accounts/{account}",
    "/approvals/{grant}", "/billing/dispute", "/cases", "/cases/{case_id}/close", "/cases/{case_id}/entries",
    "/cases/{case_id}/grants", "/cases/{case_id}/grants/{grant}/revoke", "/integrity",
    "/office", "/office/{case_id}/answered", "/office/{case_id}/ask", "/office/{case_id}/end",
    "/office/{case_id}/erase", "/office/{case_id}/extend", "/office/{case_id}/find",
    "/office/{case_id}/restrict", "/recoveries/{account}",
    "/reviews/{grant}", "/sign-in", "/sign-out", "/terminal",
    "/api/account/second-factor", "/api/approvals/{grant}", "/api/audit/entries", "/api/audit/verify", "/api/cases",
    "/api/certificates/verify",
    "/api/cases/{case_id}/close", "/api/cases/{case_id}/entries", "/api/cases/{case_id}/grants",
    "/api/cases/{case_id}/grants/{grant}/revoke", "/api/erasures", "/api/erasures/preview", "/api/grants", "/api/holds",
    "/api/holds/extend", "/api/holds/release", "/api/holds/release/preview", "/api/holds/show", "/api/policy",
    "/api/restrictions", "/api/restrictions/lift", "/api/sessions", "/api/terminals", "/api/terminals/answer",
    "/api/verify",
}  # fmt: skip
"""Faces that tell of no record: they change something, or count."""


def routes(owner: Any) -> Iterator[APIRoute]:
    """Give the routes of an application, those of the routers it includes too."""
    for route in owner.routes:
        if isinstance(route, APIRoute):
            yield route
        elif (included := getattr(route, "original_router", None)) is not None:
            yield from routes(included)


def test_every_face_is_judged(site: Site) -> None:
    posts = {r.path for r in routes(make_app(site.service)) if "POST" in r.methods}
    assert posts == CAPPED | ONE_RECORD | NO_RECORD


class Desk:
    """An investigator who is an officer too, in a browser and with a token; what weighs is approved by another."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.bela = site.person("bela", Role.APPROVER)
        self.browser: Browser = site.signed_in("amal", Role.INVESTIGATOR, Role.PRIVACY_OFFICER)
        self.api = TestClient(make_app(site.service), base_url="https://lethe.test")
        self.api.headers["Authorization"] = f"Bearer {site.service.sessions.start(self.amal.id)}"
        self.case = case_of(self.browser.post("/cases", reference="F-1", title="", purpose="fraud"))
        self.browser.post(f"/cases/{self.case}/entries", targets=HER)
        for reference, purpose in (("R-1", "person"), ("A-1", "authority")):
            assert (
                self.api.post("/api/cases", json={"reference": reference, "purpose": purpose}).status_code
                == 200
            )

    @property
    def amal(self) -> Person:
        return next(p for p in self.site.service.accounts.all() if p.name == "amal")

    def approve(self) -> None:
        for asked in self.site.service.desk.waiting(self.bela):
            self.site.service.desk.approve(self.bela, asked.grant.id, asked.digest)

    def leave(self, rows: int) -> None:
        """Leave so many rows to every grant there is."""
        with self.site.service.database.begin() as session:
            for row in session.scalars(select(tables.GrantRow)):
                row.rows = row.used + rows

    def rows(self, action: Action) -> list[tuple[int, int]]:
        with self.site.service.database.begin() as session:
            found = session.scalars(select(tables.GrantRow).where(tables.GrantRow.action == action.value))
            return [(row.used, row.rows) for row in found]

    def call(self, path: str, **body: Any) -> Any:
        return self.api.post(path, json=body)


@pytest.fixture
def desk(site: Site) -> Desk:
    return Desk(site)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/lookup", {"case": "F-1", "texts": [HER]}),
        ("/api/cases/{case}/analysis", {}),
        ("/api/disclosures", {"case": "R-1", "text": HER}),
    ],
)
def test_a_look_gives_nothing_beyond_the_rows_of_its_grant(
    desk: Desk, path: str, body: dict[str, Any]
) -> None:
    desk.call("/api/lookup", case="R-1", texts=[HER])  # two looks at her, to be disclosed
    path = path.replace("{case}", desk.case)
    desk.leave(2)
    assert desk.call(path, **body).status_code == 200
    desk.leave(1)
    refused = desk.call(path, **body)
    assert refused.status_code == 403
    assert "more than the grant has rows for" in refused.json()["error"]
    assert all(used <= rows for used, rows in desk.rows(Action.LOOKUP))


def test_pages_give_nothing_beyond_the_rows_of_their_grant(desk: Desk) -> None:
    desk.call("/api/lookup", case="R-1", texts=[HER])
    desk.leave(1)
    assert "rows are used up" in desk.browser.post("/search", values=HER, case=desk.case)
    desk.leave(1)
    assert "rows are used up" in desk.browser.post(f"/cases/{desk.case}/search")
    desk.leave(1)
    shown = desk.call("/api/search", case=desk.case, values=[HER]).json()
    assert (len(shown["records"]), shown["total"]) == (1, 2)
    desk.leave(1)
    desk.browser.post(f"/cases/{desk.case}/analysis", 403)
    desk.leave(1)
    officer = next(c.id for c in desk.site.service.cases.mine(desk.amal) if c.reference == "R-1")
    assert "more than the grant has rows for" in desk.browser.post(
        "/disclosures", 403, value=HER, case=officer
    )


def test_a_case_file_is_not_made_beyond_its_rows(desk: Desk) -> None:
    desk.browser.post(f"/cases/{desk.case}/case-file", ask="yes", reason="to the court")
    desk.approve()
    desk.leave(1)
    desk.browser.post(f"/cases/{desk.case}/case-file", 403)
    desk.leave(1)
    assert desk.call(f"/api/cases/{desk.case}/case-file").status_code == 403


def flood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a pattern find three blocks: what finds them is tried where detection is."""
    rows = [{"block": f"4915{n}x", "numbers": 20} for n in range(3)]
    made = detection.Found("burst", "2025-03", rows, "", 0)
    monkeypatch.setattr(detection, "_of_traffic", lambda *_: {"burst": made})


def detections(desk: Desk) -> Any:
    return desk.call("/api/detections", case="F-1", kinds=["burst"], month="2025-03")


def board(desk: Desk) -> Any:
    return desk.call("/api/detection", case=desk.case, kind="burst", month="2025-03", reason="a hint")


def exports(desk: Desk) -> Any:
    return desk.call("/api/exports", case="R-1", text=HER)


def letters(desk: Desk) -> Any:
    return desk.call("/api/exports/files", case="R-1", text=HER, answer="fr")


def handed(desk: Desk) -> Any:
    return desk.call("/api/holds/export", case="A-1", reference="HC-1")


def reveals(desk: Desk) -> Any:
    return desk.call("/api/reveals", case="F-1", texts=[HER], rows=1 if not gate.ROWS else 2)


@pytest.mark.parametrize(
    ("ask", "action"),
    [
        (detections, Action.DETECT), (board, Action.DETECT), (exports, Action.EXPORT), (letters, Action.EXPORT),
        (handed, Action.HANDOVER), (reveals, Action.BULK_REVEAL),
    ],
)  # fmt: skip
def test_what_is_done_once_tells_of_no_more_than_was_granted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Desk], Any], action: Action
) -> None:
    flood(monkeypatch)
    order = {"authority": "Court", "reference": "HC-1", "review": "2025-06-01T00:00:00Z", "people": [HER]}
    for _ in range(2):
        desk.call("/api/holds", case="A-1", order=order)
        desk.approve()
    with monkeypatch.context() as few:
        few.setattr(gate, "ROWS", {})
        ask(desk)
        desk.approve()
        refused = ask(desk)
        assert refused.status_code == 403, refused.text
        assert "the grant has rows for 1" in refused.json()["error"]
    ask(desk)
    desk.approve()
    assert ask(desk).status_code == 200
    assert all(used <= rows for used, rows in desk.rows(action))


def test_the_page_of_detection_is_bounded_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    flood(monkeypatch)
    fields = {"case": desk.case, "kind": "burst", "month": "2025-03", "reason": "a hint"}
    assert "491501x" in desk.browser.post("/detection", **fields).replace("49150x", "491501x")
    monkeypatch.setattr(gate, "ROWS", {})
    assert "49150x" not in desk.browser.post("/detection", 403, **fields)


def test_an_answer_of_the_office_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office, "MOST_ROWS", 1)
    request = opened(desk.browser, "access")
    desk.browser.post(f"/office/{request}/ask", what="export", reason="she asked")
    desk.approve()
    refused = desk.browser.post(f"/office/{request}/answer", 403, language="fr")
    assert "more than the grant has rows for" in refused


def test_a_request_of_the_control_topic_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "ROWS", {})
    service, wish = desk.site.service, Wish(Action.EXPORT, [HER])
    for _ in range(2):
        try:
            asker = service.gate.enter(desk.amal, "R-1", wish, "control topic").asker
        except gate.WaitingError:
            desk.approve()
    with pytest.raises(RefusedError, match="rows for 1"):
        export.export(service.runtime, asker, HER)


def test_a_reveal_takes_one_row_of_one(desk: Desk) -> None:
    [found] = desk.call("/api/lookup", case="F-1", texts=[HER]).json()
    record = found["records"][0]["record"]
    for path, body in (
        ("/api/reveal", {"case": "F-1", "position": record}),
        ("/api/evidence", {"case": "F-1", "position": record}),
        (f"/api/cases/{desk.case}/reveal", {"record": record, "reason": "named"}),
    ):
        assert desk.call(path, **body).status_code == 200
    desk.browser.post(f"/cases/{desk.case}/reveal", record=record, reason="named")
    assert desk.rows(Action.REVEAL) == [(1, 1)] * 4
