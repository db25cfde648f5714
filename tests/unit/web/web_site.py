"""A service over a real warehouse, and people who use it."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi.testclient import TestClient
from retention_world import World

from lethe.console.web.app import make_app
from lethe.console.web.service import Service
from lethe.operations.access.accounts import Person
from lethe.operations.access.roles import Role

PASSWORD = "correct horse battery"
HER = "+923001234567"
HIM = "+4915112345678"


@dataclass
class Site:
    world: World
    service: Service

    def person(self, name: str, *roles: Role) -> Person:
        return self.service.accounts.add(name, name.title(), roles, PASSWORD)

    def browser(self) -> TestClient:
        return TestClient(make_app(self.service), base_url="https://lethe.test", follow_redirects=True)

    def signed_in(self, name: str, *roles: Role) -> Browser:
        self.person(name, *roles)
        browser = Browser(self.browser())
        assert browser.client.post("/sign-in", data={"name": name, "password": PASSWORD}).status_code == 200
        return browser


@dataclass
class Browser:
    """A client that sends the token of its session with every form."""

    client: TestClient

    def get(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text
        return answer.text

    def post(self, path: str, status: int = 200, **fields: str) -> str:
        page = self.client.get("/account").text
        token = page.split('name="csrf" value="')[1].split('"')[0]
        answer = self.client.post(path, data={"csrf": token, **fields})
        assert answer.status_code == status, answer.text
        return answer.text
