"""One's own account: a password changes by the present one, sessions are seen and ended, cookies keep to one host."""

from __future__ import annotations

import pytest
from web_site import PASSWORD, Browser, Site

from lethe.operations.access.roles import Role

NEW = "a much longer battery"


def test_a_password_is_changed_by_the_present_one_and_ends_other_sessions(site: Site) -> None:
    amal = site.signed_in("amal", Role.AUDITOR)
    other = Browser(site.browser())
    other.client.post("/sign-in", data={"name": "amal", "password": PASSWORD})
    amal.post("/account/password", status=403, password="wrong battery staple", new=NEW)
    amal.post("/account/password", password=PASSWORD, new=NEW)
    assert amal.client.get("/account").status_code == 200
    assert "Sign in" in other.client.get("/audit").text
    assert site.browser().post("/sign-in", data={"name": "amal", "password": PASSWORD}).status_code == 403
    assert site.browser().post("/sign-in", data={"name": "amal", "password": NEW}).status_code == 200


@pytest.mark.parametrize(
    "new", ["short", "x" * 201, "aaaaaaaaaaaaaaaa", "amal-is-my-name-9", "LETHE forgets it all"]
)
def test_passwords_that_are_easily_guessed(site: Site, new: str) -> None:
    amal = site.signed_in("amal", Role.AUDITOR)
    amal.post("/account/password", status=400, password=PASSWORD, new=new)


@pytest.mark.parametrize(
    "new", ["9876 aBcDeF 54", "    spaces and more  ", "パスワードはとても長いです", "y1z2x3w4" * 25]
)
def test_passwords_of_any_characters_count_as_they_are(site: Site, new: str) -> None:
    amal = site.signed_in("amal", Role.AUDITOR)
    amal.post("/account/password", password=PASSWORD, new=new)
    assert site.browser().post("/sign-in", data={"name": "amal", "password": new}).status_code == 200
    for other in {new[:-1], new + "x", new.swapcase(), new.strip() + "!"} - {new}:
        assert site.browser().post("/sign-in", data={"name": "amal", "password": other}).status_code == 403


def test_wrong_passwords_count_here_as_at_the_sign_in(site: Site) -> None:
    amal = site.signed_in("amal", Role.AUDITOR)
    for _ in range(10):
        amal.post("/account/password", status=403, password="wrong", new=NEW)
    amal.post("/account/password", status=403, password=PASSWORD, new=NEW)
    assert site.browser().post("/sign-in", data={"name": "amal", "password": PASSWORD}).status_code == 403


def test_sessions_are_seen_and_ended_by_whoever_gives_the_password(site: Site) -> None:
    amal = site.signed_in("amal", Role.AUDITOR)
    token = site.service.sessions.start(next(p.id for p in site.service.accounts.all() if p.name == "amal"))
    page = amal.get("/account")
    assert page.count("<code>") == 2
    assert page.count("this one") == 1
    amal.post("/account/sessions", status=403, password="wrong")
    assert site.service.sessions.who(token) is not None
    amal.post("/account/sessions", password=PASSWORD)
    assert site.service.sessions.who(token) is None
    assert amal.get("/account").count("<code>") == 1


def test_a_second_factor_is_set_up_by_whoever_gives_the_password(site: Site) -> None:
    amal = site.signed_in("amal", Role.AUDITOR)
    amal.post("/account/second-factor", status=403)
    assert "authenticator app" in amal.post("/account/second-factor", password=PASSWORD)


def test_cookies_over_tls_keep_to_their_host_and_sign_out_clears_the_browser(site: Site) -> None:
    site.person("amal", Role.AUDITOR)
    browser = site.browser()
    answer = browser.post("/sign-in", data={"name": "amal", "password": PASSWORD}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-lethe_session=")
    assert "Domain" not in cookie
    assert "includeSubDomains" in answer.headers["strict-transport-security"]
    signed = Browser(browser)
    token = signed.get("/account").split('name="csrf" value="')[1].split('"')[0]
    out = browser.post("/sign-out", data={"csrf": token}, follow_redirects=False)
    assert out.headers["clear-site-data"] == '"cache", "storage"'
    assert browser.cookies == {}
