"""The service's own state, for commands on its machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lethe.console.cli.shell import Shell
from lethe.schemas.errors import ConfigurationError, InputError

if TYPE_CHECKING:
    from lethe.console.web.service import Service


def service_of(invocation: Shell) -> Service:
    """Open the service's state; `ConfigurationError` where its packages are missing."""
    try:
        from lethe.console.web.service import Service
    except ImportError:
        raise ConfigurationError("the service is an extra: pip install 'lethe[serve]'") from None
    return Service.open(invocation.runtime)


def account_of(service: Service, name: str) -> str:
    """Find an account by its name."""
    for person in service.accounts.all():
        if person.name == name.strip().lower():
            return person.id
    raise InputError("there is no account of that name; lethe users list shows them")
