"""Somebody at a browser, and the service they are at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from playwright.sync_api import Page

from lethe.console.web.service import Service
from lethe.operations.access.roles import Role

PASSWORD = "correct horse battery"
NOW = datetime(2026, 3, 28, 12, tzinfo=UTC)
PEOPLE = {
    "amal": [Role.INVESTIGATOR],
    "bela": [Role.APPROVER],
    "carl": [Role.AUDITOR],
    "dora": [Role.PRIVACY_OFFICER],
    "egon": [Role.BILLING_ANALYST],
    "fay": [Role.OPERATOR],
    "gus": [Role.ADMINISTRATOR],
}


@dataclass
class Site:
    url: str
    service: Service
    numbers: list[str]  # those that occur most often, in the traffic's own spelling


@dataclass
class Walker:
    """Somebody at a browser. Whatever the page asks of other hosts, and every error on its console, is kept."""

    page: Page
    site: Site
    strays: list[str]

    def go(self, path: str) -> None:
        self.page.goto(self.site.url + path)

    def sign_in(self, name: str) -> None:
        self.go("/sign-in")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_load_state()  # a click waits only until the answer begins

    def sign_out(self) -> None:
        self.page.wait_for_load_state()
        self.page.get_by_role("button", name="Sign out").click()
        self.page.wait_for_url(self.site.url + "/sign-in")
