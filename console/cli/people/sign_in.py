"""Signing in at a service from a terminal, over SSH too: a code typed at a browser, or a password here."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import Annotated, Any

import typer

from lethe.console.cli.remote import session_file
from lethe.console.cli.remote.server import Server
from lethe.console.cli.shell import Shell, needs_server, secret, shell
from lethe.schemas.errors import LetheError


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("login")(login_command)
    app.command("logout")(logout_command)
    app.command("whoami")(whoami_command)


def login_command(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Option("--name", help="A local account: its password, and code, are asked for here."),
    ] = None,
) -> None:
    """Sign in at the service that LETHE_SERVER names; commands go through it from then on.

    Without --name it shows a code to be typed at a browser where you are signed in, with whatever signs you in there:
    a password and a second factor, or an identity provider. The session lasts ten hours, half an hour when idle.

    Example: lethe login --name amal
    """
    invocation = shell(context)
    server = _server(invocation)
    token = _by_code(server) if name is None else _by_password(server, name)
    answer = _me(server, token)
    path = session_file.write(session_file.Session(server.url, answer["name"], token))
    answer["file"] = str(path)
    invocation.answer(answer, lambda: invocation.say(_told(server, answer), "green"))


def logout_command(context: typer.Context) -> None:
    """End the session at the service, there and here.

    Example: lethe logout
    """
    invocation = shell(context)
    server = _server(invocation)
    if session_file.read(server.url) is None:
        invocation.answer(
            {"signed_in": False}, lambda: invocation.say(f"nobody was signed in at {server.url}")
        )
        return
    try:
        server.ask("DELETE", "/api/sessions/current")
    finally:
        session_file.forget(server.url)
    invocation.answer({"signed_in": False}, lambda: invocation.say(f"signed out at {server.url}"))


def whoami_command(context: typer.Context) -> None:
    """Say who is signed in at the service, as what, and until when at the latest.

    Example: lethe whoami
    """
    invocation = shell(context)
    server = _server(invocation)
    answer = server.ask("GET", "/api/me")
    invocation.answer(answer, lambda: invocation.say(_told(server, answer)))


def _server(invocation: Shell) -> Server:
    return needs_server(invocation, "at which service?")


def _by_password(server: Server, name: str) -> str:
    """Ask for a password, and for a code if the account has one; without a terminal, each a line of standard input."""
    password = secret("Password: ").rstrip("\r\n")
    code = secret("Code, if you have a second factor: ").strip()
    answer = server.ask(
        "POST", "/api/sessions", {"name": name, "password": password, "code": code}, signed_in=False
    )
    return str(answer["token"])


def _by_code(server: Server) -> str:
    """Show a code, and wait until somebody has typed it at a browser."""
    waiting = server.ask("POST", "/api/terminals", {}, signed_in=False)
    # On standard error: with --json too somebody has to see it.
    sys.stderr.write(f"Open {waiting['page']} and type {waiting['shown']}\n")
    sys.stderr.flush()
    ends = datetime.fromisoformat(waiting["ends"])
    while datetime.now(ends.tzinfo) < ends:
        answer = server.ask("POST", "/api/terminals/answer", {"code": waiting["code"]}, signed_in=False)
        if answer["state"] == "allowed":
            return str(answer["token"])
        if answer["state"] == "denied":
            raise LetheError("the sign-in was refused at the browser")
        time.sleep(waiting["interval"])
    raise LetheError("nobody typed the code in time: give lethe login again")


def _me(server: Server, token: str) -> dict[str, Any]:
    server.session = session_file.Session(server.url, "", token)
    found: dict[str, Any] = server.ask("GET", "/api/me")
    return found


def _told(server: Server, me: dict[str, Any]) -> str:
    roles = ", ".join(me["roles"]) or "no role: ask an administrator"
    return (
        f"{me['name']} at {server.url}: {roles}; until {me['ends'][:16].replace('T', ' ')} UTC at the latest"
    )
