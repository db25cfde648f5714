"""Keys that sign requests on the control topic: made, registered for an account, revoked; and signing with one."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer

from lethe.console.cli.shell import read_file, shell, write_private
from lethe.console.cli.who import who
from lethe.schemas.errors import InputError
from lethe.schemas.words import counted

NAME = Annotated[str, typer.Argument(help="The account that requests are signed for, such as dsr-desk.")]
_COLUMNS = ("id", "account", "title", "added", "revoked")


def keys_new(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option("--out", help="A new file for the private key (PEM); it is not shown.")
    ],
) -> None:
    """Make a key pair where requests are signed: the private key stays there, the public one is registered.

    Needs no installation. Example: lethe users keys new --out request-key.pem
    """
    from lethe.operations.access.signed_requests import new_key

    invocation = shell(context)
    private, public = new_key()
    write_private(out, private)
    invocation.answer(
        {"file": str(out), "public": public},
        lambda: invocation.line(f"public key, to be registered: {public}"),
    )


def keys_add(
    context: typer.Context,
    name: NAME,
    public: Annotated[str, typer.Argument(help="The public key, as lethe users keys new shows it.")],
    title: Annotated[str, typer.Option("--title", help="Where it signs, such as the ticket system.")] = "",
) -> None:
    """Register a key: requests it signs are done in the name of the account, under its roles, cases and grants.

    Example: lethe users keys add dsr-desk ed25519:3q2+7w… --title "ticket system"
    """
    from lethe.console.cli.running._service import account_of, service_of
    from lethe.operations.access.signed_requests import public_key

    invocation = shell(context)
    service = service_of(invocation)
    account = account_of(service, name)
    key = service.request_keys.add(account, public_key(public), title)
    service.audit({"who": who(), "action": "account.key.add", "account": key.account, "key": key.id})
    invocation.answer(asdict(key), lambda: invocation.say(f"key {key.id} signs for {key.account}"))


def keys_list(context: typer.Context) -> None:
    """List the keys that are registered, revoked ones too.

    Example: lethe users keys list
    """
    from lethe.console.cli.running._service import service_of

    invocation = shell(context)
    rows = [asdict(key) for key in service_of(invocation).request_keys.all()]
    invocation.answer(
        rows,
        lambda: invocation.table(
            counted(len(rows), "key"), _COLUMNS, [[r[c] for c in _COLUMNS] for r in rows]
        ),
    )


def keys_revoke(
    context: typer.Context, key: Annotated[str, typer.Argument(help="The number of the key.")]
) -> None:
    """Revoke a key: what it has signed and is not done yet is refused, too. It never comes back.

    Example: lethe users keys revoke 9f2c1ab0d4e57733
    """
    from lethe.console.cli.running._service import service_of

    invocation = shell(context)
    service = service_of(invocation)
    service.audit({"who": who(), "action": "account.key.revoke", "key": key})
    service.request_keys.revoke(key)
    invocation.answer({"id": key, "revoked": True}, lambda: invocation.say(f"key {key} is revoked"))


def keys_sign(
    context: typer.Context,
    key: Annotated[Path, typer.Option("--key", help="The private key (PEM).")],
) -> None:
    """Sign a request: JSON on standard input, the signed one on a line of standard output, to be produced as it is.

    Needs no installation; gives it an id and the time where it has none.

    Example: lethe users keys sign --key request-key.pem
    """
    from lethe.operations.access.signed_requests import private_key, sign
    from lethe.operations.runtime import system_clock

    shell(context)
    secret = private_key(read_file(key))
    try:
        request = orjson.loads(sys.stdin.buffer.read(65_536))
    except orjson.JSONDecodeError:
        request = None
    if not isinstance(request, dict):
        raise InputError("give the request as a JSON object on standard input")
    typer.echo(orjson.dumps(sign(request, secret, system_clock())).decode())
