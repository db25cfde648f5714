"""Signing in through a real identity provider, in a real browser."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "integration"))

import uvicorn
from client_machine import LETHE, Machine, ended
from identity_provider import provider
from playwright.sync_api import Browser, Page, expect
from service_thread import serving
from test_walks import look

from lethe.console.web.app import make_app
from lethe.console.web.service import Service
from lethe.operations.access.roles import Role
from lethe.operations.oversight.entries import Filter, listed
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Identity, Serve, Settings

SECRET = "a-secret-of-tests-only"


def _through_the_provider(page: Page, url: str, name: str, path: str = "/sign-in") -> None:
    page.goto(url + path)
    page.get_by_role("link", name="Sign in with the office's account").click()
    page.get_by_placeholder("Enter any login").fill(name)
    page.get_by_placeholder("and password").fill("anything")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def test_people_sign_in_with_an_identity_provider(tmp_path: Path, chromium: Browser) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        secret = tmp_path / "client-secret"
        secret.write_text(SECRET + "\n")
        with provider(url + "/sign-in/callback", SECRET) as issuer:
            identity = Identity(
                issuer=issuer, client_id="lethe", client_secret_file=secret, label="the office's account"
            )
            runtime = Runtime(
                Settings(
                    root=str(tmp_path / "warehouse"),
                    keys_dir=tmp_path / "keys",
                    serve=Serve(public_url=url, identity=identity),
                )
            )
            service = Service.open(runtime)
            service.accounts.add("amal", "Amal", [Role.INVESTIGATOR], None)
            server = uvicorn.Server(uvicorn.Config(make_app(service), log_level="error", access_log=False))
            with serving(server, listening):
                _walk(chromium, url)
                _sign_a_terminal_in(chromium, url, Machine(tmp_path / "home", url, None))
            entries = [(e["who"], e["action"]) for e in listed(runtime, Filter(), lambda _: None)]
            assert entries == [
                ("amal", "sign-in"), ("-", "sign-in.refused"), ("amal", "sign-in"), ("amal", "terminal.allow"),
                ("amal", "sign-in"), ("amal", "sign-out"),
            ]  # fmt: skip
            service.database.engine.dispose()


def _walk(chromium: Browser, url: str) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(url + "/sign-in")
    look(page, "sign-in-provider")
    _through_the_provider(page, url, "amal")
    expect(page.get_by_text("A look belongs to a case")).to_be_visible()
    assert page.url == url + "/"
    cookies = {c["name"]: c for c in context.cookies(url)}
    assert {name for name in cookies if name.startswith("lethe")} == {"lethe_session"}, (
        "nothing is left of the way there"
    )
    assert cookies["lethe_session"]["sameSite"] == "Strict"
    context.close()
    context = chromium.new_context()
    page = context.new_page()
    _through_the_provider(page, url, "stranger")
    expect(page.get_by_role("alert")).to_contain_text("no open account for you here")
    assert [c for c in context.cookies(url) if c["name"].startswith("lethe")] == []
    context.close()


def _sign_a_terminal_in(chromium: Browser, url: str, machine: Machine) -> None:
    """Sign a terminal in as somebody who has no password here: they open its page, and come there by the provider."""
    with ended(
        [LETHE, "login"], cwd=machine.home, env=machine.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as login:  # fmt: skip
        assert login.stderr is not None
        shown = re.fullmatch(
            rf"Open {url}(/terminal) and type ([B-Z]{{4}}-[B-Z]{{4}})\n", login.stderr.readline()
        )
        assert shown
        context = chromium.new_context()
        page = context.new_page()
        _through_the_provider(page, url, "amal", shown[1])
        page.wait_for_url(url + "/terminal")
        page.get_by_label("Code").fill(shown[2])
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_text("127.0.0.1")).to_be_visible()
        page.get_by_role("button", name="Allow it").click()
        expect(page.get_by_role("status")).to_contain_text("signed in as you")
        assert login.wait(120) == 0
        assert "lethe_next" not in {c["name"] for c in context.cookies()}
        page.goto(url + "/")
        page.get_by_role("button", name="Sign out").click()
        context.close()
    told = machine.json("whoami")
    assert (told["name"], told["roles"]) == ("amal", ["investigator"])
    machine.type("logout")
    assert "lethe login" in machine.type("whoami", status=1)
