"""The administrator's day: accounts made, changed, locked out and let in again, and never the last administrator."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from web_site import PASSWORD, Browser, Site

from lethe.operations.access.roles import Role
from lethe.operations.oversight.entries import Filter, listed


@pytest.fixture
def admin(site: Site) -> Browser:
    return site.signed_in("gus", Role.ADMINISTRATOR)


def entries(site: Site, action: str) -> list[dict[str, object]]:
    return list(listed(site.world.runtime, Filter(action=action), lambda _: None))


def row_of(page: str, name: str) -> str:
    return next(row for row in page.split("<tr>") if f'<span class="muted">{name}</span>' in row)


def handed(page: str) -> str:
    found = re.search(r"shown once: <code>([^<]+)</code>", page)
    assert found
    return found[1]


def test_roles_are_changed_on_the_page_and_said_by_name_in_the_audit(site: Site, admin: Browser) -> None:
    carl = site.person("carl", Role.AUDITOR)
    assert 'name="role:auditor" value="1" checked' in row_of(admin.get("/accounts"), "carl")
    page = admin.post(f"/accounts/{carl.id}", what="roles", **{"role:operator": "1"})
    assert "carl has the roles that were chosen" in page
    assert {p.name: p.roles for p in site.service.accounts.all()}["carl"] == {Role.OPERATOR}
    [said] = entries(site, "account.roles")
    assert (said["who"], said["account"], said["roles"]) == ("gus", "carl", ["operator"])
    admin.post(f"/accounts/{carl.id}", what="close")
    [said] = entries(site, "account.close")
    assert said["account"] == "carl", "an id says nothing to an auditor"


def test_a_locked_account_is_seen_and_unlocked(site: Site, admin: Browser) -> None:
    egon = site.person("egon", Role.BILLING_ANALYST)
    stranger = site.browser()
    for _ in range(10):
        stranger.post("/sign-in", data={"name": "egon", "password": "wrong"})
    assert stranger.post("/sign-in", data={"name": "egon", "password": PASSWORD}).status_code == 403
    assert ">locked<" in row_of(admin.get("/accounts"), "egon")
    page = admin.post(f"/accounts/{egon.id}", what="unlock")
    assert ">open<" in row_of(page, "egon")
    assert stranger.post("/sign-in", data={"name": "egon", "password": PASSWORD}).status_code == 200
    assert [e["account"] for e in entries(site, "account.unlock")] == ["egon"]


def test_a_first_password_that_was_not_used_in_time_is_made_anew(site: Site, admin: Browser) -> None:
    first = handed(admin.post("/accounts", name="dora", display="Dora", **{"role:operator": "1"}))
    assert ">first password<" in row_of(admin.get("/accounts"), "dora")
    site.world.now += timedelta(hours=25)
    admin = Browser(site.browser())
    admin.client.post("/sign-in", data={"name": "gus", "password": PASSWORD})
    assert ">first password ended<" in row_of(admin.get("/accounts"), "dora")
    dora = next(p for p in site.service.accounts.all() if p.name == "dora")
    second = handed(admin.post(f"/accounts/{dora.id}", what="password"))
    client = site.browser()
    assert client.post("/sign-in", data={"name": "dora", "password": first}).status_code == 403
    assert client.post("/sign-in", data={"name": "dora", "password": second}).url.path == "/account"


def test_an_account_of_the_identity_provider_is_given_no_password(site: Site, admin: Browser) -> None:
    page = admin.post("/accounts", name="prov", sign_in="provider", **{"role:auditor": "1"})
    assert "New first password" not in row_of(page, "prov")
    prov = next(p for p in site.service.accounts.all() if p.name == "prov")
    page = admin.post(f"/accounts/{prov.id}", status=400, what="password")
    assert "signs in through the identity provider" in page
    assert not site.service.accounts.has_password(prov.id)


def test_what_was_typed_stays_when_an_account_cannot_be_added(site: Site, admin: Browser) -> None:
    page = admin.post(
        "/accounts", status=400, name="two words", display="Björk 日本", sign_in="provider",
        **{"role:auditor": "1"},
    )  # fmt: skip
    assert "Not done." in page
    assert "up to 120 of a-z, 0-9" in page
    assert 'value="two words"' in page
    assert 'value="Björk 日本"' in page
    assert page.split('action="/accounts/')[0].count(" checked") == 1
    assert 'value="provider" selected' in page
    assert [p.name for p in site.service.accounts.all()] == ["gus"]
    assert "of that name already" in admin.post("/accounts", status=400, name="GUS")
    assert "up to 60 characters" in admin.post("/accounts", status=400, name="long", display="A" * 61)


def test_nobody_takes_the_last_administrator_away(site: Site, admin: Browser) -> None:
    other = site.signed_in("ada", Role.ADMINISTRATOR, Role.OPERATOR)
    people = {p.name: p.id for p in site.service.accounts.all()}
    admin.post(f"/accounts/{people['ada']}", what="roles", **{"role:operator": "1"})
    assert "your roles do not open this" in other.get("/accounts", 403)
    site.service.accounts.set_roles(people["ada"], [Role.ADMINISTRATOR])
    admin.post(f"/accounts/{people['ada']}", what="close")
    assert other.client.get("/accounts").url.path == "/sign-in"


def test_a_closed_account_is_signed_out_and_is_told_so(site: Site, admin: Browser) -> None:
    amal = site.signed_in("amal", Role.INVESTIGATOR)
    token = amal.client.get("/account").text.split('name="csrf" value="')[1].split('"')[0]
    account = next(p for p in site.service.accounts.all() if p.name == "amal").id
    admin.post(f"/accounts/{account}", what="close")
    answer = amal.client.post("/cases", data={"csrf": token, "reference": "F-9", "purpose": "fraud"})
    assert answer.status_code == 403
    assert "what you have just sent was not done" in answer.text
    assert ">closed<" in row_of(admin.get("/accounts"), "amal")
    page = admin.post(f"/accounts/{account}", what="open")
    assert ">open<" in row_of(page, "amal")
