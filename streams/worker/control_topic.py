"""The control topic: requests of persons that arrive as messages, and what the leader does by the clock.

`lethe.requests` takes JSON objects: `id` (a UUID, by which a request is done once), `command` (export, erase,
erase.preview, restrict, lift), `subject`, `case`, and `time`, `key` and `signature` of a registered key; where the site
takes unsigned ones (`requests.signed`), `case` and `who` are optional. Answers go to `lethe.responses` with the
request's id. Requests name people, so their topic is made with a short retention; an answer names nobody, and neither
does anything that is stored about a request.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
from confluent_kafka.cimpl import NewTopic

from lethe.operations.access.grants import RefusedError, WaitingError
from lethe.operations.asker import Asker, record
from lethe.operations.retention.sweep import run_sweep
from lethe.operations.rights import erase, export, restrict
from lethe.operations.rights.requests import COMMANDS, SOURCE, Door
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.operations.window.identify import identify
from lethe.schemas.errors import InputError, LetheError, TransientError
from lethe.schemas.words import counted
from lethe.streams.broker.topics import create
from lethe.streams.worker._memory import give_back
from lethe.streams.worker.metrics import Metrics
from lethe.tiers.holds.holds import Holds
from lethe.tiers.retention import clock_guard as clockguard

if TYPE_CHECKING:
    from lethe.operations.access.accounts import Person

log = logging.getLogger("lethe.requests")

REQUESTS: Final = "lethe.requests"
RESPONSES: Final = "lethe.responses"
RETENTION_MS: Final = 24 * 3_600_000
"""How long the broker may keep a request: long enough for a worker to be down over night, and no longer."""

_SEGMENT_MS: Final = 3_600_000
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MOST_BYTES: Final = 16_384
_HOUR: Final = 3_600.0
_FIELDS: Final = frozenset({"id", "command", "subject", "case", "who", "purpose", "time", "key", "signature"})
_FOLDER: Final = "_requests"


@dataclass(frozen=True)
class Desk:
    """Answers requests from the use cases of an installation."""

    runtime: Runtime

    @cached_property
    def _door(self) -> Door:
        return Door(self.runtime)

    def answer(self, data: bytes | None) -> dict[str, Any]:
        """Answer a request; the same again for a request that was answered before.

        1. Read the request; a bad one is answered with what is wrong with it.
        2. Find who signed it. What nobody did who may is refused; where the site takes unsigned ones, it is nobody.
        3. Look whether it was answered before. A crash before step 6 ends here without an answer: it is done again,
           which finds nothing left to do.
        4. Take it through the gate. What weighs waits for a second person: the same request is sent again after that.
        5. Do it; what is done is in the audit log before the answer.
        6. Store the answer, under a keyed digest of the id.
        """
        # Step 1
        request = _read(data)
        if isinstance(request, str):
            return {"id": None, "state": "refused", "reason": request}
        if (wrong := _wrong(request)) is not None:
            known = str(request.get("id"))
            return {
                "id": known.lower() if _UUID.fullmatch(known) else None,
                "state": "refused",
                "reason": wrong,
            }
        request_id = request["id"].lower()
        objects = self.runtime.objects
        key = self.runtime.ring.named("requests", create=True).salt_key
        path = f"{_FOLDER}/{hmac.new(key.reveal(), request_id.encode(), sha256).hexdigest()[:32]}.json"
        signer = None
        try:
            # Step 2
            signer = self._door.signer(request)
            # Step 3
            if (known_answer := objects.get(path)) is not None:
                return {"id": request_id, **orjson.loads(known_answer)}
            # Step 4
            asker = self._door.asker(request, request_id, signer)
            # Step 5
            done = self._do(request, request_id, asker)
        except TransientError:
            raise  # it is asked again
        except LetheError as error:
            if isinstance(error, RefusedError):
                self._note_refusal(request, request_id, signer, error)
            return {"id": request_id, "state": _state_of(error), "reason": str(error)}
        # Step 6
        objects.create(path, orjson.dumps(done))
        return {"id": request_id, **done}

    def _note_refusal(
        self, request: Mapping[str, Any], request_id: str, signer: Person | None, error: RefusedError
    ) -> None:
        """Note in the audit that a request was refused, and whose key had signed it. It stays refused anyway.

        Of what it says only the command is noted: nobody who may has said the rest.
        """
        who = "nobody whose signature counts" if signer is None else signer.name
        asker = Asker.of(who, request=request_id, source=SOURCE)
        try:
            record(self.runtime, asker, "refused", what=request["command"], reason=str(error))
        except LetheError as also:
            log.error("a refusal is not in the audit: %s", also)

    def _do(self, request: Mapping[str, Any], request_id: str, asker: Asker) -> dict[str, Any]:
        runtime, command, text = self.runtime, request["command"], request["subject"]
        if command in ("restrict", "lift"):
            done = (restrict.lift if command == "lift" else restrict.restrict)(runtime, asker, text)
            return {"state": "done", "changed": done.changed}
        if command == "erase.preview":
            preview = erase.preview(runtime, asker, text)
            return {"state": _found(preview.found), "months": preview.months}
        if command == "erase":
            erased = erase.erase(runtime, asker, text)
            return {
                "state": _found(erased.found),
                "months": erased.months,
                "certificate": erased.certificate,
            }
        copy = export.export(runtime, asker, text)
        try:
            files = export.write_files(runtime.exports / request_id, copy.parts())
        except LetheError as error:
            raise LetheError(
                f"{error}; exports_dir names the folder: set one that workers may write to"
            ) from None
        return {
            "state": _found(copy.found),
            "records": copy.records,
            "files": [Path(f).name for f in files],
            "folder": request_id,
        }


def _state_of(error: LetheError) -> str:
    """Name the state of a request that was not done: refused, waiting for a second person, or failed."""
    if isinstance(error, WaitingError):
        return "waiting"
    return "refused" if isinstance(error, RefusedError) else "failed"


def _found(found: bool) -> str:
    """Name the state of an answer: one that found nothing of the person must not read as one that did its work."""
    return "done" if found else "nothing found"


def _read(data: bytes | None) -> dict[str, Any] | str:
    if not data or len(data) > _MOST_BYTES:
        return f"a request is a JSON object of at most {_MOST_BYTES} bytes"
    try:
        request = orjson.loads(data)
    except orjson.JSONDecodeError:
        return "a request is a JSON object"
    return request if isinstance(request, dict) else "a request is a JSON object"


def _wrong(request: Mapping[str, Any]) -> str | None:
    """Say what is wrong with a request; never with anything of its values."""
    if not isinstance(request.get("id"), str) or not _UUID.fullmatch(request["id"]):
        return "id: a UUID is needed"
    if request.get("command") not in COMMANDS:
        return "command: export, erase, erase.preview, restrict or lift"
    subject = request.get("subject")
    if not isinstance(subject, str):
        return "subject: a phone number or an address is needed"
    try:
        identify(subject)
    except InputError as error:
        return f"subject: {error}"
    if unknown := set(request) - _FIELDS:
        return f"{counted(len(unknown), 'field')} that no request has; there are {', '.join(sorted(_FIELDS))}"
    if not all(isinstance(value, str) for value in request.values()):
        return "all fields are texts"
    return None


def make_topics(runtime: Runtime) -> None:
    """Make the control topics that are not there; raises what `lethe.streams.broker.topics.create` raises."""
    create(runtime.settings, own_topics(runtime.settings))


def own_topics(settings: Settings) -> list[NewTopic]:
    """Describe the topics Lethe has for itself: requests, which name people and are kept a day, answers, the leader."""
    replicas = settings.kafka.replication
    short = {"retention.ms": str(RETENTION_MS), "segment.ms": str(_SEGMENT_MS), "cleanup.policy": "delete"}
    leader = f"{settings.kafka.control_group}-__assignor-__leader"  # Faust's name for it
    return [
        NewTopic(REQUESTS, 1, replicas, config=short), NewTopic(RESPONSES, 1, replicas), NewTopic(leader, 1, replicas)
    ]  # fmt: skip


def attach(app: Any, runtime: Runtime, metrics: Metrics, desk: Desk) -> None:
    """Give a Faust application the agent that answers requests and the leader's timer."""
    requests = app.topic(
        REQUESTS, key_type=bytes, value_type=bytes, value_serializer="raw", key_serializer="raw"
    )
    responses = app.topic(RESPONSES, value_type=bytes, value_serializer="raw")
    swept = [-_HOUR]

    async def answer(stream: Any) -> None:
        """Answer requests, one after the other."""
        async for value in stream:
            try:
                reply = await asyncio.to_thread(desk.answer, value)
            except TransientError as error:
                # Not stored as done: whoever asked asks again with the same id.
                log.warning("a request could not be answered: %s", error)
                reply = {"id": None, "state": "failed", "reason": "try again later"}
            await responses.send(value=orjson.dumps(reply))

    async def sweep() -> None:
        """Sweep when the last one, of whatever process, is an hour ago. Leaders may overlap."""
        if time.monotonic() - swept[0] >= _HOUR and await asyncio.to_thread(_is_due, runtime):
            swept[0] = time.monotonic()
            await asyncio.to_thread(_sweep, runtime, metrics)

    app.agent(requests, name="lethe.requests")(answer)
    app.timer(interval=15.0, on_leader=True, name="lethe.sweep")(sweep)


def _is_due(runtime: Runtime) -> bool:
    last = clockguard.last_run(runtime.objects)
    return last is None or not 0 <= (runtime.clock() - last).total_seconds() < _HOUR


def _sweep(runtime: Runtime, metrics: Metrics) -> None:
    try:
        outcomes = run_sweep(runtime)
        now = runtime.clock()
        held = Holds(runtime.objects, runtime.ring).known()
        in_force = [h for h in held if h.released is None]
        differing = sum(o.state == "differs" for o in outcomes or ())
        metrics.holds(len(in_force), sum(h.review <= now for h in in_force), differing)
        metrics.swept(None if outcomes is None else sum(o.state == "forgotten" for o in outcomes))
    except Exception as error:  # noqa: BLE001  (the worker goes on; the next sweep tries again)
        log.error("sweep: %s", type(error).__name__)
        metrics.swept(None)
    finally:
        give_back()  # its merges took hundreds of megabytes
