"""What commands ask of the service: nothing without an entry, a grant, a role; no identifier where it is not due."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from web_site import HER, HIM, PASSWORD, Site

from lethe.console.cli.remote.calls import ROUTES
from lethe.console.web.app import make_app
from lethe.operations.access.grants import Action
from lethe.operations.access.roles import Role
from lethe.operations.audit.log import AuditLog
from lethe.schemas.errors import ConfigurationError

LOOKS: list[tuple[str, dict[str, Any]]] = [
    ("/api/lookup", {"case": "F-1", "texts": [HER]}),
    ("/api/reveal", {"case": "F-1", "position": "{record}"}),
    ("/api/reveals", {"case": "F-1", "texts": [HER]}),
    ("/api/evidence", {"case": "F-1", "position": "{record}"}),
    ("/api/detections", {"case": "F-1", "kinds": ["ait"], "month": "2025-03"}),
    ("/api/search", {"case": "{case}", "values": [HER]}),
    ("/api/erasures/preview", {"case": "R-1", "texts": [HER]}),
    ("/api/erasures", {"case": "R-1", "texts": [HER]}),
    ("/api/exports", {"case": "R-1", "text": HER}),
    ("/api/restrictions", {"case": "R-1", "text": HER}),
    ("/api/disclosures", {"case": "R-1", "text": HER}),
    ("/api/holds", {"case": "A-1", "order": {"authority": "Court", "reference": "HC-1",
                                             "review": "2025-06-01T00:00:00Z", "people": [HER]}}),
]  # fmt: skip
ROLES = (Role.INVESTIGATOR, Role.PRIVACY_OFFICER)


class Caller:
    """Somebody with a token, cases, and what weighs approved."""

    def __init__(self, site: Site) -> None:
        self.case = self.record = ""
        person = site.person("amal", *ROLES)
        bela = site.person("bela", Role.APPROVER)
        self.client = TestClient(make_app(site.service), base_url="https://lethe.test")
        self.client.headers["Authorization"] = f"Bearer {site.service.sessions.start(person.id)}"
        for reference, purpose in (("F-1", "fraud"), ("R-1", "person"), ("A-1", "authority")):
            body = {"reference": reference, "purpose": purpose}
            opened = self._json("POST", "/api/cases", body)["id"]
            self.case = self.case or opened
        [found] = self._json("POST", "/api/lookup", {"case": "F-1", "texts": [HER]})
        self.record = found["records"][0]["record"]
        for path, body in LOOKS:
            if path in ("/api/erasures", "/api/exports", "/api/holds", "/api/reveals"):
                assert self.ask(path, body).status_code == 202
        for asked in site.service.desk.waiting(bela):
            site.service.desk.approve(bela, asked.grant.id, asked.digest)

    def _json(self, method: str, path: str, body: Any) -> Any:
        answer = self.client.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ask(self, path: str, body: dict[str, Any]) -> Any:
        return self.client.post(path, json={k: self._filled(v) for k, v in body.items()})

    def _filled(self, value: Any) -> Any:
        known = {"{case}": self.case, "{record}": self.record}
        return known.get(value, value) if isinstance(value, str) else value


def read_only(_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ConfigurationError("the audit log cannot be written: Read-only file system")

    monkeypatch.setattr(AuditLog, "append_all", fails)


def full(_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fails)
    monkeypatch.setattr("os.replace", fails)
    monkeypatch.setattr("os.link", fails)


def gone(site: Site, _monkeypatch: pytest.MonkeyPatch) -> None:
    place = site.world.keys / "audit"
    shutil.rmtree(place)
    place.write_text("in the way")


@pytest.mark.parametrize("how", [read_only, full, gone])
def test_no_call_answers_without_a_durable_entry(
    site: Site, monkeypatch: pytest.MonkeyPatch, how: Callable[[Site, pytest.MonkeyPatch], None]
) -> None:
    caller = Caller(site)
    before = site.world.found(HER)
    with monkeypatch.context() as broken:
        how(site, broken)
        for path, body in LOOKS:
            answer = caller.ask(path, body)
            assert answer.status_code in (400, 500, 503), (path, answer.text)
            assert set(answer.json()) == {"error"}
            assert HER[1:] not in answer.text
    assert site.world.found(HER) == before, "and nothing was erased"


def test_a_slow_audit_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    caller, order = Caller(site), list[str]()
    append = AuditLog.append_all

    def slow(self: AuditLog, *what: Any) -> None:
        append(self, *what)
        order.append("durable")

    monkeypatch.setattr(AuditLog, "append_all", slow)
    for path, body in LOOKS:
        order.clear()
        assert caller.ask(path, body).status_code == 200, path
        order.append("answered")
        assert order[-2:] == ["durable", "answered"], path


def test_a_session_ends_however_its_token_is_announced(site: Site) -> None:
    """The name of the scheme has no case (RFC 9110): who is let in by it is signed out by it, too."""
    person = site.person("amal", *ROLES)
    client = TestClient(make_app(site.service), base_url="https://lethe.test")
    client.headers["Authorization"] = f"bearer {site.service.sessions.start(person.id)}"
    assert client.get("/api/me").status_code == 200
    assert client.delete("/api/sessions/current").status_code == 204
    assert client.get("/api/me").status_code == 401


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"])
def test_a_time_that_no_record_has_is_refused_wherever_it_stands(site: Site, time: str) -> None:
    caller = Caller(site)
    who = site.person("carl", Role.AUDITOR)
    auditor = {"Authorization": f"Bearer {site.service.sessions.start(who.id)}"}
    order = {"authority": "Court", "reference": "HC-2", "review": time, "people": [HER]}
    for path, body, headers in (
        ("/api/policy", {"text": HER, "when": time}, {}),
        ("/api/lookup", {"case": "F-1", "texts": [HER], "since": time}, {}),
        ("/api/lookup", {"case": "F-1", "texts": [HER], "until": time}, {}),
        ("/api/holds", {"case": "A-1", "order": order}, {}),
        ("/api/verify", {"wanted": {"since": time}}, auditor),
        ("/api/verify", {"wanted": {"until": time}}, auditor),
    ):
        assert caller.client.post(path, json=body, headers=headers).status_code == 422, path
    answer = caller.client.post(
        "/api/search", json={"case": caller.case, "values": [HER], "since": "", "until": time[:10]}
    )
    assert answer.status_code == 400


def test_calls_are_refused_without_session_role_or_case(site: Site) -> None:
    caller = Caller(site)
    stranger = TestClient(make_app(site.service), base_url="https://lethe.test")
    emil = site.person(
        "emil", Role.AUDITOR, Role.OPERATOR, Role.ADMINISTRATOR, Role.BILLING_ANALYST, Role.APPROVER
    )
    carl = site.person("carl", *ROLES)
    tokens = {p: site.service.sessions.start(p.id) for p in (emil, carl)}
    for path, body in LOOKS:
        body = {k: caller._filled(v) for k, v in body.items()}
        assert stranger.post(path, json=body).status_code == 401, path
        for person, token in tokens.items():
            answer = stranger.post(path, json=body, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 403, (path, person.name)
            assert HER[1:] not in answer.text


def test_no_address_log_or_error_says_whom_was_asked_for(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caller = Caller(site)
    for path, body in LOOKS:
        for wrong in ({}, {"extra": HER}, {"case": HIM}, {"texts": [HER] * 2000}, {"text": HER * 400}):
            answer = caller.ask(path, {**body, **wrong})
            assert answer.status_code == 200 or HER[1:] not in answer.text, path
            assert HER[1:] not in str(answer.url)
            assert HER[1:] not in str(answer.headers)
    mine = [r for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))]
    assert all(HER[1:] not in r.getMessage() for r in mine)
    paths = make_app(site.service).openapi()["paths"]
    queries = {
        parameter["name"]
        for path in paths.values()
        for call in path.values()
        for parameter in call.get("parameters", ())
        if parameter["in"] == "query"
    }
    assert not queries & {"value", "values", "text", "texts", "subject", "number", "q"}


def test_a_fault_is_answered_and_logged_by_its_kind_and_place_alone(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = Caller(site)

    def fails(*_: object) -> None:
        raise ValueError(f"cannot parse {HER}")

    monkeypatch.setattr("lethe.operations.window.lookup.lookup_each", fails)
    answer = caller.ask("/api/lookup", {"case": "F-1", "texts": [HER]})
    assert (answer.status_code, answer.json()) == (
        500,
        {"error": "unexpected ValueError; nothing more was done"},
    )
    assert answer.headers["cache-control"] == "no-store"
    [logged] = [r.getMessage() for r in caplog.records if r.name == "lethe.web"]
    assert logged.startswith("unexpected ValueError at test_calls.py:")
    assert HER[1:] not in caplog.text


def test_each_use_case_that_goes_through_the_service_has_its_call(site: Site) -> None:
    paths = make_app(site.service).openapi()["paths"]
    for method, path in ROUTES.values():
        assert method.lower() in paths[path], path


def test_what_was_granted_is_what_is_counted(site: Site) -> None:
    caller = Caller(site)
    amal = next(p for p in site.service.accounts.all() if p.name == "amal")
    [grant] = [
        a.grant
        for a in site.service.desk.of(amal)
        if a.case == "F-1" and a.grant.scope.action is Action.LOOKUP
    ]
    caller.ask("/api/lookup", {"case": "F-1", "texts": [HER, HIM]})
    [later] = [a.grant for a in site.service.desk.of(amal) if a.grant.id == grant.id]
    assert later.used == grant.used + 3
    assert PASSWORD not in str(later)
