"""Cases and detection by the API: the same grants and audit entries as by the pages."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
from fastapi.testclient import TestClient
from web_site import HER, HIM, Site

from lethe.operations.access.roles import Role
from lethe.schemas.errors import ConfigurationError


@dataclass
class Program:
    """A program with a session of somebody's."""

    client: TestClient
    token: str

    def ask(self, method: str, path: str, status: int = 200, **body: Any) -> Any:
        answer = self.client.request(
            method, f"/api{path}", json=body or {}, headers={"Authorization": f"Bearer {self.token}"}
        )
        assert answer.status_code == status, answer.text
        return answer.json() if answer.headers["content-type"] == "application/json" else answer


def program(site: Site, name: str, *roles: Role) -> Program:
    return Program(site.browser(), site.service.sessions.start(site.person(name, *roles).id))


def actions(site: Site) -> list[str]:
    return [entry["action"] for entry in site.world.runtime.audit.entries()]


def with_targets(who: Program, purpose: str = "fraud") -> str:
    case = who.ask("POST", "/cases", reference="F-1", purpose=purpose)["id"]
    who.ask("POST", f"/cases/{case}/entries", targets=[HER, HIM, HER], notes=["three texts"])
    return str(case)


def test_a_case_is_worked_on_from_targets_to_its_end(site: Site) -> None:
    amal = program(site, "amal", Role.INVESTIGATOR)
    case = with_targets(amal)
    held = amal.ask("GET", f"/cases/{case}")
    assert [(e["kind"], e["text"]) for e in held["entries"]] == [
        ("target", HER), ("target", HIM), ("note", "three texts"),
    ]  # fmt: skip
    analysed = amal.ask("POST", f"/cases/{case}/analysis", kinds=["business", "account"])
    assert [(s["target"], s["count"]) for s in analysed["seen"]] == [(1, 2), (2, 1)]
    assert {n["name"] for n in analysed["graph"]["nodes"]} == set(analysed["places"])
    assert len(analysed["presets"]) >= 12
    assert actions(site).count("case.analyse") == 1
    amal.ask("DELETE", f"/cases/{case}/entries/{held['entries'][1]['id']}")
    assert amal.ask("GET", f"/cases/{case}")["grants"][0]["used"] == 3
    amal.ask("POST", f"/cases/{case}/close", 400, reference="F-2")
    closed = amal.ask("POST", f"/cases/{case}/close", reference="F-1")
    assert closed["closed"]
    assert closed["entries"] == []


def test_one_communication_is_revealed_for_a_reason(site: Site) -> None:
    amal = program(site, "amal", Role.INVESTIGATOR)
    case = with_targets(amal)
    [row] = amal.ask("POST", "/search", case=case, values=[HIM])["records"]
    record = f"{row['stream']}/{row['partition']}/{row['offset']}"
    amal.ask("POST", f"/cases/{case}/reveal", 422, record=record, reason="")
    found = amal.ask("POST", f"/cases/{case}/reveal", record=record, reason="named in a complaint")
    assert HIM.removeprefix("+") in {p["value"] for p in found["parties"]}
    assert actions(site).count("reveal") == 1


def test_a_case_file_waits_for_a_second_person(site: Site) -> None:
    amal = program(site, "amal", Role.INVESTIGATOR)
    case = with_targets(amal)
    amal.ask("POST", f"/cases/{case}/case-file", 403)
    held = amal.ask(
        "POST", f"/cases/{case}/grants", action="case file", values=[HER, HIM], rows=1000, reason="for court"
    )
    [asked] = [g for g in held["grants"] if g["action"] == "case file"]
    assert (asked["state"], asked["weighty"]) == ("requested", True)
    amal.ask("POST", f"/cases/{case}/case-file", 403)
    boss = site.person("bo", Role.APPROVER)
    site.service.desk.approve(boss, asked["id"], site.service.desk.waiting(boss)[0].digest)
    answer = amal.ask("POST", f"/cases/{case}/case-file")
    assert "report.html" in zipfile.ZipFile(BytesIO(answer.content)).namelist()
    amal.ask("POST", f"/cases/{case}/grants/{asked['id']}/revoke")
    amal.ask("POST", f"/cases/{case}/case-file", 403)


def test_nobody_reads_a_case_of_somebody_else(site: Site) -> None:
    amal, omar = (program(site, name, Role.INVESTIGATOR) for name in ("amal", "omar"))
    case = with_targets(amal)
    omar.ask("GET", f"/cases/{case}", 403)
    omar.ask("POST", f"/cases/{case}/analysis", 403)
    omar.ask("POST", f"/cases/{case}/entries", 403, notes=["mine now"])
    auditor = program(site, "ann", Role.AUDITOR)
    auditor.ask("GET", f"/cases/{case}", 403)
    auditor.ask("POST", "/detection", 403, case=case, kind="otp", month="2025-03", reason="curious")
    assert actions(site).count("refused") == 5


def test_detection_belongs_to_a_case_of_fraud_and_to_the_audit(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    amal = program(site, "amal", Role.INVESTIGATOR)
    case = with_targets(amal)
    asked = {"kind": "otp", "month": "2025-03", "reason": "a complaint"}
    assert [p["kind"] for p in amal.ask("GET", "/detection")] == ["ait", "otp", "grey", "burst", "recycled"]
    assert amal.ask("POST", "/detection", case=case, **asked)["rows"] == []
    assert actions(site).count("detect") == 1
    dispute = amal.ask("POST", "/cases", reference="D-1", purpose="dispute")["id"]
    amal.ask("POST", "/detection", 403, case=dispute, **asked)

    def full(*_: object) -> None:
        raise ConfigurationError("the audit log cannot be written")

    monkeypatch.setattr("lethe.operations.audit.log.AuditLog.append_all", full)
    amal.ask("POST", "/detection", 400, case=case, **asked)
