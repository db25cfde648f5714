"""Do what a request of a person asks for: as nobody in particular, or as the account that signed it, under its grants.

Both know the same commands. Signed ones pass the gate that commands and calls pass: the account needs the role, an open
case of its own, and for what weighs a second person, until whose approval the request waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from lethe.operations.access.grants import Action, RefusedError
from lethe.operations.access.roles import Permission
from lethe.operations.asker import Asker
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import ConfigurationError, InputError

if TYPE_CHECKING:  # an extra: only who demands signatures needs it
    from lethe.operations.access.accounts import Person
    from lethe.operations.access.gate import Gate
    from lethe.operations.access.signed_requests import RequestKeys

_ACTIONS: Final = {
    "export": Action.EXPORT,
    "erase": Action.ERASE,
    "erase.preview": Action.LOOKUP,
    "restrict": Action.RESTRICT,
    "lift": Action.RESTRICT,
}
COMMANDS: Final = tuple(_ACTIONS)
SOURCE: Final = "control topic"
"""Where such a request comes from, as the audit says it."""
_CASE: Final = "data subject request"


@dataclass(frozen=True)
class Door:
    """Says in whose name requests are done. Raises what refuses one before anything is done."""

    runtime: Runtime

    @cached_property
    def _office(self) -> tuple[RequestKeys, Gate]:
        return _office(self.runtime)

    def signer(self, request: Mapping[str, Any]) -> Person | None:
        """Return who signed a request; None for an unsigned one where the site takes those.

        Raises `RefusedError` for a signature that is not right, and for none where one is demanded.
        """
        if not {"key", "signature"} & set(request) and not self.runtime.settings.requests.signed:
            return None
        return self._office[0].signer(request)

    def asker(self, request: Mapping[str, Any], request_id: str, signer: Person | None) -> Asker:
        """Return in whose name a request is done, once it has passed the gate.

        Raises `RefusedError`, `WaitingError` while a second person has to approve it, and `InputError` for a case that
        names somebody.
        """
        if signer is None:
            said = Asker.of(request.get("who") or SOURCE, request.get("case") or _CASE, request=request_id)
            return said.names_nobody()
        return _passed(self._office[1], signer, request, request_id)


def _office(runtime: Runtime) -> tuple[RequestKeys, Gate]:
    try:
        from lethe.operations.access.cases import Cases
        from lethe.operations.access.database import Database
        from lethe.operations.access.desk import Desk
        from lethe.operations.access.gate import Gate
        from lethe.operations.access.signed_requests import RequestKeys
        from lethe.operations.health.watermark import Watermark
    except ImportError:
        raise ConfigurationError(
            "requests are signed here (requests.signed), which needs the service's packages: pip install 'lethe[serve]'"
        ) from None
    serve, ring, clock = runtime.settings.serve, runtime.ring, runtime.clock
    database = Database(serve.url(runtime.settings.keys_dir))
    database.upgrade()
    Watermark(database, runtime.settings.keys_dir, ring, clock).check()

    def audit(entry: Mapping[str, Any]) -> None:
        runtime.audit.append({"source": SOURCE, **entry}, clock())

    cases = Cases(database, ring, clock)
    desk = Desk(database, ring, clock, audit, serve.daily_subjects)
    return RequestKeys(database, ring, clock), Gate(cases, desk, clock)


def _passed(gate: Gate, person: Person, request: Mapping[str, Any], request_id: str) -> Asker:
    from lethe.operations.access.gate import Wish

    if request.get("who", person.name) != person.name:
        raise RefusedError("who: the key says who asks; leave it out")
    if not request.get("case"):
        raise InputError("case: the reference of an open case of the account that signs is needed")
    command, subject = request["command"], request["subject"]
    if command == "erase.preview" and Permission.ERASE not in person.may():
        raise RefusedError("your roles do not include erase")
    wish = Wish(_ACTIONS[command], [subject], request.get("purpose", ""))
    return gate.enter(person, request["case"], wish, SOURCE, request_id).asker
