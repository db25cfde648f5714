"""Ask use cases of the service instead of doing them here: the same function, the same typed answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Protocol, TypeVar, get_type_hints

from lethe.operations.asker import Asker
from lethe.operations.window.communications import Communications
from lethe.schemas.errors import ConfigurationError, InputError

if TYPE_CHECKING:
    from lethe.console.cli.remote.server import Server
    from lethe.operations.runtime import Runtime

P = ParamSpec("P")
T = TypeVar("T")


class Invocation(Protocol):
    """What a call needs of the shell of a command."""

    @property
    def server(self) -> Server | None:
        """The service that commands go through; None: they are done here."""

    @property
    def runtime(self) -> Runtime:
        """What use cases are done with here."""


ROUTES: Final[Mapping[str, tuple[str, str]]] = {
    "window.lookup.lookup_each": ("POST", "/api/lookup"),
    "window.lookup.reveal_each": ("POST", "/api/reveals"),
    "window.lookup.lookup_held": ("POST", "/api/lookup/held"),
    "window.reveal.reveal": ("POST", "/api/reveal"),
    "detection.detect.detect": ("POST", "/api/detections"),
    "proof.evidence.evidence": ("POST", "/api/evidence"),
    "rights.erase.preview_all": ("POST", "/api/erasures/preview"),
    "rights.erase.erase_all": ("POST", "/api/erasures"),
    "rights.export.export": ("POST", "/api/exports"),
    "rights.restrict.restrict": ("POST", "/api/restrictions"),
    "rights.restrict.lift": ("POST", "/api/restrictions/lift"),
    "retention.hold.place": ("POST", "/api/holds"),
    "retention.hold.every": ("GET", "/api/holds"),
    "retention.hold.show": ("POST", "/api/holds/show"),
    "retention.hold.extend": ("POST", "/api/holds/extend"),
    "retention.hold.before_release": ("POST", "/api/holds/release/preview"),
    "retention.hold.release": ("POST", "/api/holds/release"),
    "retention.certificates.every": ("GET", "/api/certificates"),
    "retention.certificates.read": ("GET", "/api/certificates/{number}"),
    "proof.verify.verify": ("POST", "/api/verify"),
    "retention.policy.explain": ("POST", "/api/policy"),
    "oversight.verify.verify": ("POST", "/api/audit/verify"),
    "health.ledger.by_partition": ("GET", "/api/ledger"),
}
"""Use case in `lethe.operations` -> the call of the API that does it. A parameter is a field of the call's body."""

_WITHOUT_CASE: Final = frozenset({"retention.hold.show", "retention.policy.explain"})


def ask(
    invocation: Invocation, use_case: Callable[Concatenate[Runtime, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Do a use case here, or have the service do it where `LETHE_SERVER` names one."""
    if invocation.server is None:
        return use_case(invocation.runtime, *args, **kwargs)
    name = f"{use_case.__module__.removeprefix('lethe.operations.')}.{use_case.__name__}"
    method, path = ROUTES[name]
    given = inspect.signature(use_case).bind(None, *args, **kwargs).arguments
    body = _body(given, name not in _WITHOUT_CASE)
    if "{" in path:
        path = path.format(**body)
        body = {}
    answer = invocation.server.ask(method, path, body or None)
    found: T = _read(get_type_hints(use_case)["return"], answer)
    return found


def communications(
    server: Server, use_case: str, asker: Asker, given: Mapping[str, Any]
) -> list[Communications]:
    """Have the service look up: `use_case` is one of `ROUTES` that answers with communications, one or several.

    Read without the validator of other answers, which takes as long to bring in as the rest of a client.
    """
    method, path = ROUTES[use_case]
    answer = server.ask(method, path, with_case(asker) | _body(given, has_case=False))
    try:
        names = [f.name for f in fields(Communications)]
        each = answer if isinstance(answer, list) else [answer]
        found = [Communications(**{name: one[name] for name in names if name in one}) for one in each]
        for one in found:
            if not isinstance(one.records, list) or not isinstance(one.missing, dict):
                raise TypeError
            for record in one.records:
                times = {n: record[n] for n in _TIMES if isinstance(record.get(n), str)}
                record.update({n: datetime.fromisoformat(text) for n, text in times.items()})
    except (TypeError, ValueError, AttributeError):
        raise _unreadable() from None
    return found


def entries(
    server: Server, path: str, wanted: Any, asker: Asker | None = None, **more: Any
) -> tuple[list[dict[str, Any]], list[str]]:
    """Ask for entries of the audit; return them and what of it could not be read."""
    body = _plain(wanted) | ({} if asker is None else with_case(asker))
    answer = server.ask("POST", path, {**body, **more})
    return answer["entries"], answer["damage"]


def _body(given: Mapping[str, Any], has_case: bool) -> dict[str, Any]:
    """Write a use case's arguments as a call's body: who asks is the session's, what is told on the way stays here."""
    body: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or callable(value):
            continue
        if isinstance(value, Asker):
            body |= with_case(value) if has_case else {}
        else:
            body[name] = _plain(value)
    return body


def with_case(asker: Asker) -> dict[str, Any]:
    """Write for which case and why something is asked; raises `InputError` where the service could not take it."""
    if asker.law:
        raise InputError(
            "--law counts where the keys are: the service shows the records of a restricted person to nobody"
        )
    if not asker.case:
        raise InputError(
            "--case: name a case of yours; lethe case list shows them, lethe case open makes one"
        )
    return {"case": asker.case, **({"purpose": asker.purpose} if asker.purpose else {})}


def _plain(value: Any) -> Any:
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, bytes):  # a checkpoint, or evidence: text
        return value.decode("utf-8", "replace")
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if is_dataclass(value) and type(value).__str__ is object.__str__:
        return {
            f.name: _plain(getattr(value, f.name))
            for f in fields(value)
            if getattr(value, f.name) is not None
        }
    return str(value)  # a position, a month: its name


def _read(kind: Any, answer: Any) -> Any:
    from pydantic import TypeAdapter

    try:
        return TypeAdapter(kind).validate_python(answer)
    except ValueError:
        raise _unreadable() from None


def _unreadable() -> ConfigurationError:
    return ConfigurationError(
        "the service's answer cannot be read: is it of the same release as this command?"
    )


_TIMES: Final = ("event_time", "done_time", "received_time")
