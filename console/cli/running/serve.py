"""Commands of the service people use: served, and its accounts."""

from __future__ import annotations

import secrets
import signal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lethe.console.cli._root import new_app
from lethe.console.cli.running._service import account_of, service_of
from lethe.console.cli.running.request_keys import (
    keys_add,
    keys_list,
    keys_new,
    keys_revoke,
    keys_sign,
)
from lethe.console.cli.shell import shell
from lethe.console.cli.who import who
from lethe.schemas.errors import ConfigurationError, InputError
from lethe.schemas.words import counted

if TYPE_CHECKING:
    from lethe.operations.access.roles import Role

NAME = Annotated[str, typer.Argument(help="What they sign in with, such as amal.")]
ROLES = Annotated[
    list[str] | None,
    typer.Option(
        "--role",
        help="investigator, approver, privacy officer, billing analyst, auditor, operator or administrator; "
        "may be given several times.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("serve")(serve_command)
    users = new_app("Accounts of the service.")
    users.command("add")(add_command)
    users.command("list")(list_command)
    users.command("close")(close_command)
    users.command("open")(open_command)
    users.command("password")(password_command)
    users.command("recover")(recover_command)
    keys = new_app("Keys that sign requests on the control topic in the name of an account.")
    keys.command("new")(keys_new)
    keys.command("add")(keys_add)
    keys.command("list")(keys_list)
    keys.command("revoke")(keys_revoke)
    keys.command("sign")(keys_sign)
    users.add_typer(keys, name="keys")
    app.add_typer(users, name="users")


def serve_command(
    context: typer.Context,
    host: Annotated[str | None, typer.Option("--host", help="Address; default: serve.host.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65_535, help="Port; default: serve.port.")
    ] = None,
) -> None:
    """Serve the console and its API: it holds the keys, so that nobody who uses it must.

    Example: lethe serve --port 9465
    """
    invocation = shell(context)
    settings = invocation.settings.serve
    if (settings.certificate is None) != (settings.private_key is None):
        raise ConfigurationError("serve.certificate and serve.private_key are set together, or not at all")
    address = host or settings.host
    if settings.certificate is None and address not in ("127.0.0.1", "::1", "localhost"):
        invocation.say(
            "Without serve.certificate the service speaks plain HTTP: put a proxy with TLS in front of it."
        )
    service = service_of(invocation)
    import uvicorn  # only now: where it is not installed, the line above has said so

    from lethe.console.web.app import make_app

    if not service.accounts.all():
        invocation.say("There are no accounts yet: lethe users add NAME --role administrator")
    scheme = "http" if settings.certificate is None else "https"
    chosen = settings.port if port is None else port
    # No access log: it would say who looked when, beside the audit log and without its protection.
    config = uvicorn.Config(
        make_app(service),
        host=address,
        port=chosen,
        log_level="warning",
        access_log=False,
        server_header=False,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.private_key,
        timeout_graceful_shutdown=10,
    )
    server = uvicorn.Server(config)

    def stop(*_: object) -> None:
        server.should_exit = True

    # Being told to stop is no failure, nor is it forgotten where it comes before the server listens to signals itself;
    # when it is done it raises the one that ended it once more.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    invocation.say(f"Serving on {scheme}://{address}:{chosen} until interrupted.")
    server.run()


def add_command(
    context: typer.Context,
    name: NAME,
    role: ROLES = None,
    display: Annotated[str, typer.Option("--display", help="How they are shown; default: the name.")] = "",
    provider: Annotated[
        bool, typer.Option("--provider", help="They sign in through the identity provider: no password.")
    ] = False,
) -> None:
    """Add an account and show its first password, once.

    Example: lethe users add amal --role investigator
    """
    invocation = shell(context)
    service = service_of(invocation)
    password = None if provider else secrets.token_urlsafe(12)
    roles = _roles(role or [])
    person = service.accounts.add(name, display, roles, password, first=True)
    service.audit({"who": who(), "action": "account.add", "account": person.name, "roles": sorted(roles)})
    answer = {"name": person.name, "roles": sorted(person.roles), "password": password}
    told = (
        "signs in through the identity provider"
        if password is None
        else f"first password, for a day: {password}"
    )
    invocation.answer(answer, lambda: invocation.say(f"{person.name} was added; {told}"))


def list_command(context: typer.Context) -> None:
    """List the accounts.

    Example: lethe users list
    """
    invocation = shell(context)
    people = service_of(invocation).accounts.all()
    rows: list[dict[str, Any]] = [
        {"name": p.name, "roles": sorted(p.roles), "closed": p.disabled, "second_factor": p.enrolled}
        for p in people
    ]
    invocation.answer(
        rows,
        lambda: invocation.table(
            counted(len(rows), "account"),
            ["name", "roles", "closed", "second factor"],
            [[r["name"], ", ".join(r["roles"]), r["closed"], r["second_factor"]] for r in rows],
        ),
    )


def close_command(context: typer.Context, name: NAME) -> None:
    """Close an account: its sessions end at once.

    Example: lethe users close amal
    """
    _set(context, name, closed=True)


def open_command(context: typer.Context, name: NAME) -> None:
    """Open an account that was closed.

    Example: lethe users open amal
    """
    _set(context, name, closed=False)


def password_command(context: typer.Context, name: NAME) -> None:
    """Give an account a new first password, shown once, and end its sessions.

    Example: lethe users password amal
    """
    invocation = shell(context)
    service = service_of(invocation)
    account = account_of(service, name)
    password = secrets.token_urlsafe(12)
    service.audit({"who": who(), "action": "account.password", "account": name})
    service.accounts.set_password(account, password)
    invocation.answer(
        {"name": name, "password": password}, lambda: invocation.say(f"first password, for a day: {password}")
    )


def recover_command(context: typer.Context, name: NAME) -> None:
    """Take a lost second factor off an account, once an administrator has asked for it in the console.

    You are the second person: make sure who it is, and hand the first password over in person.

    Example: lethe users recover amal
    """
    invocation = shell(context)
    service = service_of(invocation)
    password = service.recoveries.perform(None, account_of(service, name), who())
    invocation.answer(
        {"name": name, "password": password},
        lambda: invocation.say(f"the second factor is off; first password, for a day: {password}"),
    )


def _set(context: typer.Context, name: str, closed: bool) -> None:
    invocation = shell(context)
    service = service_of(invocation)
    account = account_of(service, name)
    word = "close" if closed else "open"
    service.audit({"who": who(), "action": f"account.{word}", "account": name})
    service.accounts.disable(account, closed)
    invocation.answer(
        {"name": name, "closed": closed},
        lambda: invocation.say(f"{name}: {word}d" if closed else f"{name}: open"),
    )


def _roles(names: list[str]) -> list[Role]:
    from lethe.operations.access.roles import Role

    try:
        return [Role(name.strip().lower()) for name in names]
    except ValueError:
        raise InputError(f"--role: one of {', '.join(Role)}") from None
