"""A form that is refused is shown again as it was typed, whichever it is; passwords and codes never, nor anywhere else.

The walk below finds the forms in the pages and compares them with the addresses there are: a new one that does not keep
what was typed, or stands on no page that the walk comes to, fails here.
"""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser

import pyotp
import pytest
from test_row_caps import routes
from test_web_office import opened
from test_web_pages import case_of
from web_site import HER, PASSWORD, Browser, Site

from lethe.console.web.app import make_app
from lethe.operations.access.roles import Role

STRANGER = "+4915119998877"
"""What is typed in the forms: it may stand in the answer, and nowhere else."""
SECRET = "a secret of mine 1234"
HERE = {"sec-fetch-site": "same-origin"}


class Forms(HTMLParser):
    """The forms of a page, each with its addresses, what it would send, and what may be typed into it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[set[str]] = []
        self.fixed: list[dict[str, str]] = []
        self.typed: list[dict[str, str]] = []
        self.secret: list[set[str]] = []
        self._open = False
        self._area: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {n: v or "" for n, v in attributes}
        name = given.get("name", "")
        if tag == "form" and given.get("method") == "post":
            self._open = True
            self.addresses.append({given["action"]})
            self.fixed.append({})
            self.typed.append({})
            self.secret.append(set())
        elif not self._open:
            return
        elif tag == "button":
            self.addresses[-1] |= {given[n] for n in ("formaction",) if n in given}
            if name:
                self.fixed[-1].setdefault(name, given["value"])
        elif tag == "input" and given.get("type") == "hidden":
            self.fixed[-1][name] = given["value"]
        elif tag == "input" and (given.get("type") == "password" or name == "code"):
            self.secret[-1].add(name)
        elif tag == "input" and given.get("type", "text") in ("text", "number", "date"):
            self.typed[-1][name] = given.get("value", "")
        elif tag == "textarea":
            self.typed[-1][name] = ""
            self._area = name

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self.typed[-1][self._area] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = False
        elif tag == "textarea":
            self._area = None


@pytest.fixture
def everybody(site: Site) -> Browser:
    """Somebody of every role, with something in each of their places."""
    her = site.signed_in("everybody", *Role)
    amal = site.signed_in("amal", Role.INVESTIGATOR)
    case = case_of(amal.post("/cases", reference="F-9", title="", purpose="fraud"))
    asked = {"action": "bulk reveal", "rows": "9", "values": HER, "reason": "a ring of SIMs"}
    amal.post(f"/cases/{case}/grants", **asked)
    amal.post(f"/cases/{case}/grants", **asked, break_glass="yes")
    mine = case_of(her.post("/cases", reference="F-1", title="", purpose="fraud"))
    her.post(f"/cases/{mine}/entries", targets=HER)
    her.post(f"/cases/{mine}/grants", **asked)
    requests = {
        kind: opened(her, kind, reference=f"DSR-{kind}") for kind in ("access", "erasure", "objection")
    }
    for request in requests.values():
        her.post(f"/office/{request}/find")
    her.post(f"/office/{requests['erasure']}/ask", what="erase", reason="she asked")
    her.post(f"/office/{requests['access']}/answered", outcome="done")
    bela = site.person("bela", Role.APPROVER)
    for one in site.service.desk.waiting(bela):
        if one.person == "everybody":
            site.service.desk.approve(bela, one.grant.id, one.digest)
    her.post("/search", values=HER, case=mine)
    gus = site.person("gus", Role.ADMINISTRATOR)
    ada = site.person("ada", Role.AUDITOR)
    secret = site.service.accounts.new_totp(ada.id)
    site.service.accounts.confirm_totp(ada.id, pyotp.TOTP(secret).at(site.world.now))
    site.service.recoveries.ask(gus, ada.id, "she came with her passport")
    return her


ON_ANSWERS = {"/sign-out"}
"""Addresses of forms that nobody types anything into, wherever they stand."""


def pages(her: Browser) -> dict[str, str]:
    """Open every page there is for somebody, by the links of the pages before."""
    found: dict[str, str] = {}
    ahead = ["/", "/account", "/terminal"]
    while ahead:
        path = ahead.pop()
        if path in found or "/download" in path or path.endswith("/file"):
            continue
        found[path] = her.get(path)
        links = re.findall(r'href="(/[a-z0-9/-]*)"', found[path])
        ahead += [link for link in links if not link.startswith("/static/")]
    return found


def route_of(site: Site, address: str) -> str:
    [found] = {
        r.path for r in routes(make_app(site.service)) if "POST" in r.methods and r.path_regex.match(address)
    }
    return found


def test_every_form_keeps_what_was_typed_and_no_secret(
    site: Site, everybody: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    kept = set(ON_ANSWERS)
    for path, page in pages(everybody).items():
        forms = Forms(page)
        for addresses, fixed, typed, secret in zip(
            forms.addresses, forms.fixed, forms.typed, forms.secret, strict=True
        ):
            for address in addresses - ON_ANSWERS:
                kept.add(route_of(site, address))
                given = {n: "2024-02-29" if "date" in n else f"{STRANGER} \u202b<b>{n}</b>" for n in typed}
                sent = {**fixed, **given, **dict.fromkeys(secret, SECRET), "csrf": "of an earlier session"}
                answer = everybody.client.post(address, data=sent, headers=HERE)
                assert answer.status_code == 403, (path, address)
                assert answer.history == []
                assert SECRET not in answer.text, (path, address)
                assert STRANGER not in str(answer.headers)
                if given:
                    shows(answer.text, address, given)
    posts = {r.path for r in routes(make_app(site.service)) if "POST" in r.methods}
    assert {p for p in posts if not p.startswith("/api/")} - kept == {"/sign-in"}, "no page shows these forms"
    assert STRANGER not in caplog.text
    assert STRANGER not in str(list(site.world.runtime.audit.entries()))
    for page in pages(everybody).values():
        assert STRANGER not in page, "it was in the one answer alone"


def shows(page: str, address: str, given: dict[str, str]) -> None:
    """See that a page has the form as it was typed, open, with what was wrong before it and the focus there."""
    forms = Forms(page)
    assert any(
        address in addresses and all(typed.get(n, "").removeprefix("\n") == v for n, v in given.items())
        for addresses, typed in zip(forms.addresses, forms.typed, strict=True)
    ), (address, given)
    note, _, after = page.partition('role="alert" id="refused" tabindex="-1" autofocus>')[2].partition(
        "</div>"
    )
    assert "Not done." in unescape(note)
    assert after.startswith('<form method="post"')
    around: list[str] = []
    for tag in re.findall("</?details[^>]*>", page.partition('id="refused"')[0]):
        if tag == "</details>":
            around.pop()
        else:
            around.append(tag)
    assert all(tag.endswith(" open>") for tag in around), "what is folded around it was opened"


def test_what_is_refused_by_a_rule_stays_beside_what_was_wrong(site: Site, everybody: Browser) -> None:
    case = case_of(everybody.get("/cases"))
    request = re.findall(r"/office/[0-9a-f-]{36}", everybody.get("/office"))[0]
    for address, status, wrong, given in (
        (
            "/cases",
            400,
            "A reference has up to 80",
            {"reference": STRANGER, "title": "مرحبا", "purpose": "fraud"},
        ),
        (f"/cases/{case}/entries", 400, "1 to 4,000 characters", {"note": "ä" * 4001}),
        (
            f"/cases/{case}/grants",
            400,
            "how many rows",
            {"action": "lookup", "rows": "many", "reason": "ring"},
        ),
        (f"/cases/{case}/search", 400, "dates are written", {"since": "yesterday", "until": "2024-03-01"}),
        (f"/cases/{case}/close", 400, "type the reference", {"typed": "F-2"}),
        (f"/cases/{case}/reveal", 400, "record", {"record": "a/0/1/0", "reason": "ring"}),
        ("/search", 400, "dates are written", {"values": STRANGER, "case": case, "since": "yesterday"}),
        (
            "/detection",
            400,
            "reason is needed",
            {"case": case, "kind": "ait", "month": "2025-03", "reason": " "},
        ),
        ("/disclosures", 403, "no such case", {"value": STRANGER, "case": "another"}),
        ("/billing/dispute", 400, "choose the investigator", {"messages": "a\nb", "reason": "twice"}),
        ("/office", 400, "dates are written", {"reference": "D", "about": STRANGER, "received": "yesterday"}),
        (f"{request}/restrict", 400, "eason", {"reason": " "}),
        (f"{request}/extend", 400, "without anybody", {"reason": f"{STRANGER} is abroad"}),
        ("/accounts", 400, "up to 120", {"name": "two words", "display": "Björk"}),
    ):
        page = everybody.post(address, status, **given)
        assert wrong.lower() in unescape(page).lower(), address
        names = {n: v for n, v in given.items() if n not in ("case", "kind", "month", "purpose", "action")}
        shows(page, address, names)


def test_a_form_that_is_gone_meanwhile_leaves_what_was_typed_to_be_copied(everybody: Browser) -> None:
    case = case_of(everybody.get("/cases"))
    everybody.post(f"/cases/{case}/close", typed="F-1")
    page = everybody.post(f"/cases/{case}/entries", 403, note="a long note")
    assert "The case is closed." in page
    assert ">a long note</dd>" in page


def test_a_form_of_another_site_is_never_filled(everybody: Browser) -> None:
    for headers in ({}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}):
        sent = {"csrf": "guessed", "reference": "F-77"}
        answer = everybody.client.post("/cases", data=sent, headers=headers)
        assert answer.status_code == 403
        assert "F-77" not in answer.text


def test_the_name_stays_at_the_sign_in_and_the_password_does_not(site: Site) -> None:
    page = site.browser().post("/sign-in", data={"name": "amal", "password": SECRET, "code": "123123"})
    assert page.status_code == 403
    shows(page.text, "/sign-in", {"name": "amal"})
    assert SECRET not in page.text
    assert "123123" not in page.text


def test_what_was_sent_when_the_session_was_over_is_sent_once_more_after_the_sign_in(site: Site) -> None:
    amal = site.signed_in("amal", Role.INVESTIGATOR)
    case = case_of(amal.post("/cases", reference="F-1", title="", purpose="fraud"))
    token = re.findall('name="csrf" value="([^"]+)"', amal.get("/account"))[0]
    site.world.now += timedelta(minutes=31)
    lost = amal.client.post(f"/cases/{case}/entries", data={"csrf": token, "note": f"she of {STRANGER}"})
    assert lost.url.path == f"/cases/{case}/entries"
    assert f">she of {STRANGER}</dd>" in lost.text
    carried = Forms(lost.text).fixed[0]
    assert token not in carried.values()
    wrong = amal.client.post("/sign-in", data={"name": "amal", "password": SECRET, **carried})
    assert Forms(wrong.text).fixed[0] == carried, "a wrong password loses nothing"
    again = amal.client.post("/sign-in", data={"name": "amal", "password": PASSWORD, **carried})
    assert again.url.path == "/sign-in"
    assert STRANGER not in str(again.headers)
    assert STRANGER not in amal.get(f"/cases/{case}"), "nothing was done so far"
    form = Forms(again.text)
    assert form.addresses[1] == {f"/cases/{case}/entries"}
    done = amal.client.post(f"/cases/{case}/entries", data=form.fixed[1])
    assert f"she of {STRANGER}" in done.text
    assert case_of(done.text) == case


def test_what_was_carried_leads_nowhere_else(site: Site) -> None:
    site.person("amal", Role.INVESTIGATOR)
    for address in ("https://example.net/", "//example.net", "/cases?x=1", "javascript:1", "/../x", ""):
        sent = {"name": "amal", "password": PASSWORD, "sent-to": address, "sent.note": "n"}
        page = site.browser().post("/sign-in", data=sent)
        assert page.url.path == "/"
