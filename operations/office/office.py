"""What the privacy office does for a person, a step each: find, restrict, erase, answer. Each under a grant, audited.

Erasure and the copy of what is held need a second person, who approves them for exactly the addresses of the request;
what is approved for one person opens nothing of another.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, Final

from lethe.operations.access.accounts import Person
from lethe.operations.access.cases import Case
from lethe.operations.access.desk import Desk
from lethe.operations.access.gate import window_months
from lethe.operations.access.grants import MOST_ROWS, Action, Grant, Read
from lethe.operations.asker import Asker, record
from lethe.operations.documents.packed import Content, pack
from lethe.operations.office import answer as letters
from lethe.operations.office.requests import Dossier, Requests
from lethe.operations.rights import erase, export, restrict
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import InputError, LetheError
from lethe.schemas.retention.calendar import Month

_SPACED: Final = 4
"""How much larger a copy is as people read it than as it is kept, at most."""


@dataclass(frozen=True, slots=True)
class Office:
    """The office of one instance: its requests, and the desk that grants what each step needs."""

    runtime: Runtime
    requests: Requests
    desk: Desk
    asker: Callable[[Person, Case], Asker]

    def find(self, person: Person, case_id: str) -> Dossier:
        """Count what the window holds of the person, and the holds in the way. Changes nothing of it."""
        dossier = self.requests.get(person, case_id)
        self._use(person, dossier, Action.LOOKUP)  # one row: of no record is told, they are counted
        found = erase.preview_all(self.runtime, self.asker(person, dossier.case), dossier.about)
        self.requests.keep(
            person,
            case_id,
            "found",
            {
                "at": self._now(),
                "months": found.months,
                "entries": found.total("identifiers"),
                "mentioned": found.total("mentioned"),
                "evidence": found.total("evidence"),
                "held": found.total("held"),
                "holds": [
                    {"reference": h.reference, "authority": h.authority, "review": h.review.isoformat()}
                    for h in found.holds
                ],
            },
        )
        return self.requests.get(person, case_id)

    def restrict(self, person: Person, case_id: str, reason: str, lift: bool = False) -> None:
        """Keep the person's records from being shown, those to come too; or show them again."""
        dossier = self.requests.get(person, case_id)
        self._ask(person, dossier, Action.RESTRICT, reason)
        self._use(person, dossier, Action.RESTRICT)
        asker = self.asker(person, dossier.case)
        for address in dossier.about:
            (restrict.lift if lift else restrict.restrict)(self.runtime, asker, address)
        kept = {} if dossier.restricted is None or not lift else {"since": dossier.restricted["since"]}
        self.requests.keep(
            person, case_id, "restricted", {**kept, ("lifted" if lift else "since"): self._now()}
        )

    def ask(self, person: Person, case_id: str, action: Action, reason: str) -> Grant:
        """Ask a second person for an erasure, or for the copy of what is held, of exactly this person."""
        if action not in (Action.ERASE, Action.EXPORT):
            raise InputError("a second person is asked for an erasure or an export")
        return self._ask(person, self.requests.get(person, case_id), action, reason)

    def erase(self, person: Person, case_id: str) -> Dossier:
        """Erase the person from the window, once it is approved.

        1. Take the grant.
        2. Note that it begins, with the count of the preview. A crash from here on is mended by asking again: an
           erasure that finds nothing then has been done, and its certificate is in the audit.
        3. Erase and certify.
        4. Keep what came of it.
        """
        dossier = self.requests.get(person, case_id)
        if dossier.found is None:
            raise InputError("look first at what would be erased")
        # Step 1
        self._use(person, dossier, Action.ERASE)
        # Step 2
        begun = dossier.erased or {"begun": self._now(), "entries": dossier.found["entries"]}
        self.requests.keep(person, case_id, "erased", begun)
        # Step 3
        done = erase.erase_all(self.runtime, self.asker(person, dossier.case), dossier.about)
        # Step 4
        known = done.found or dossier.erased is None
        self.requests.keep(
            person,
            case_id,
            "erased",
            {
                "at": self._now(),
                "entries": done.total("identifiers") if known else begun["entries"],
                "mentioned": done.total("mentioned"),
                "held": done.total("held"),
                "certificate": done.certificate,
                "nothing": not done.found and known,
            },
        )
        return self.requests.get(person, case_id)

    def answer(
        self,
        person: Person,
        case_id: str,
        language: str,
        words: str = "",
        refused: bool = False,
        names: bool = False,
    ) -> IO[bytes]:
        """Make the answer in a language: a ZIP of the letter and, of an access request, the data beside it.

        It is a file without a name on the disk of the installation, as a hold's is that is handed over, which ends with
        its being closed: there may be more data than memory holds. Raises `LetheError` when the disk refuses.

        The copy needs an approved grant; a letter about what was done needs none, and holds nothing of the window.
        `names`: tell whose each look was. It is in the audit before it is returned.
        """
        words = words.strip()[:4000]
        dossier = self.requests.get(person, case_id)
        asker, content, most = self.asker(person, dossier.case), None, 0
        files: dict[str, Content] = {}
        if dossier.request.kind == "access" and not refused:
            grant = self._use(person, dossier, Action.EXPORT)
            copy = export.export_all(self.runtime, asker, dossier.about, names=names)
            self.desk.took_all(grant.id, copy.records, "have more rows approved")
            content, most = copy.content, _SPACED * copy.size
            files |= copy.parts()
        if words != dossier.words:
            self.requests.keep(person, case_id, "words", words)
        facts = letters.Facts(
            dossier.request.kind,
            dossier.request.reference,
            dossier.request.received,
            dossier.about,
            _done(dossier, refused),
            words,
        )
        now = self.runtime.clock()
        files |= letters.files(content, facts, language, self.runtime.settings.office, now)
        record(self.runtime, asker, "request.answer", what=dossier.request.kind, language=language)
        return self._packed(files, most)

    def _packed(self, files: Mapping[str, Content], most: int) -> IO[bytes]:
        place = self.runtime.exports
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            out = tempfile.TemporaryFile(dir=place)  # noqa: SIM115  (closed by who sends it)
            pack(files, out, most)
            out.seek(0)
        except OSError as error:
            raise LetheError(f"{place} cannot be written: {error.strerror}") from None
        return out

    def may(self, person: Person, dossier: Dossier, action: Action) -> str | None:
        """Say how far a grant of weight is: its state, `ended` where it has, or None where none was asked for."""
        grant = self.desk.newest(person, dossier.case.id, action)
        if grant is None:
            return None
        return "ended" if grant.ends <= self.runtime.clock() else grant.state.value

    def reach(self) -> tuple[str, str]:
        """Give the months a person's data may lie in: those that have keys, and the present ones."""
        now = self.runtime.clock()
        months = [*window_months(now), *(str(key.month) for key in self.runtime.ring.list(now))]
        return min(months), max(months)

    def _ask(self, person: Person, dossier: Dossier, action: Action, reason: str) -> Grant:
        return self.desk.ask(person, action, dossier.case.id, self.reach(), MOST_ROWS, dossier.about, reason)

    def _use(self, person: Person, dossier: Dossier, action: Action) -> Grant:
        present = str(Month.of(self.runtime.clock()))
        read = Read(person.id, action, dossier.case.id, present, present)
        return self.desk.use(person, read, dossier.about)

    def _now(self) -> str:
        return self.runtime.clock().isoformat(timespec="seconds")


def _done(dossier: Dossier, refused: bool) -> letters.Done:
    erased: dict[str, Any] = dossier.erased or {}
    restricted: dict[str, Any] = dossier.restricted or {}
    held = int(erased.get("held", 0))
    when = None if not erased or erased.get("nothing") else erased.get("at", erased.get("begun"))
    return letters.Done(
        None if when is None else datetime.fromisoformat(when).date(),
        int(erased.get("entries", 0)),
        erased.get("certificate"),
        held,
        bool(erased.get("nothing")),
        None
        if "since" not in restricted or "lifted" in restricted
        else datetime.fromisoformat(restricted["since"]).date(),
        refused,
    )
