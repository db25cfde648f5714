"""Holds: what the law says must be kept although its time has come. The one place that every deletion asks.

A hold is a sealed definition (authority, reference, and whom or what it covers) under a key of its own, `hold.ID`.
Before anything is deleted, `Holds.preserve` puts what a hold covers into the hold's store, sealed under the same key:
there it outlives the month's key. Releasing a hold destroys its key and with it every copy.

    _holds/ID/hold.json             when it was placed, its review date and end, the sealed definition
    _holds/ID/extension.N.json      another review date and end
    _holds/ID/covers.json           how many records it covers by month (`lethe.tiers.holds.coverage`)
    _holds/ID/records/NAME.sealed   records preserved; the name is a month, a window and a digest of the sealed bytes
    _holds/ID/waiting/NAME.json     a deletion that waits for the release; no identifier in it
    _holds/ID/released.json         when it was released, sealed too: from here on it covers nothing
"""

from __future__ import annotations

import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, Literal

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import zstandard

from lethe.integrity.rows.hashes import salt
from lethe.keys.monthkeys import MonthKeys
from lethe.keys.ring import KeyRing
from lethe.keys.sealing import open_value, seal_value
from lethe.schemas.errors import ExpiredKeyError, IntegrityError, LetheError
from lethe.schemas.retention.calendar import window_end
from lethe.tiers.holds._once import each_once
from lethe.tiers.holds.definition import (
    Hold,
    Known,
    opened_definition,
    opened_extension,
    read_time,
    sealed_definition,
    sealed_extension,
)
from lethe.tiers.holds.scope import Scope, covered, mentioning
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.store.objects import Objects
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.lookup import position_of
from lethe.tiers.window.positions import Positions
from lethe.tiers.window.records import Part, gather, plain

_FOLDER: Final = "_holds"
_ID: Final = re.compile(r"h[0-9a-f]{12}")
_CHUNK: Final = 20_000
_MOST_BYTES: Final = 1 << 30


class Holds:
    """The holds of a warehouse."""

    def __init__(self, objects: Objects, ring: KeyRing) -> None:
        self._objects = objects
        self._ring = ring
        self._over: set[str] = set()
        """Holds that were released by whoever had their keys."""

    @property
    def objects(self) -> Objects:
        """The objects of the warehouse."""
        return self._objects

    def place(
        self,
        authority: str,
        reference: str,
        review: datetime,
        scope: Scope,
        now: datetime,
        ends: datetime | None = None,
        basis: Literal["order", "claims"] = "order",
        tell: bool = False,
    ) -> Hold:
        """Place a hold; it is in force when this returns.

        1. Make its key. A crash here leaves a key that seals nothing.
        2. Write the sealed definition: from here on every deletion sees it.
        """
        if not (scope.subjects or scope.accounts or scope.messages):
            raise LetheError("a hold covers a subject, an account or a message; name at least one")
        if any(h.reference == reference for h in self.active()):
            raise LetheError(
                "there is a hold with this reference already; release it first or choose another one"
            )
        hold = Hold(
            f"h{secrets.token_hex(6)}",
            now.astimezone(UTC),
            review,
            authority,
            reference,
            scope,
            ends,
            basis,
            tell,
        )
        # Step 1
        keys = self._ring.named(hold.key, create=True)
        # Step 2
        document = sealed_definition(hold, keys)
        if not self._objects.create(f"{_FOLDER}/{hold.id}/hold.json", orjson.dumps(document)):
            raise LetheError("the hold could not be written; try again")
        return hold

    def extend(self, hold: Hold, review: datetime, ends: datetime | None) -> Hold:
        """Give a hold another review date and end; in force when it returns. What it covers never changes."""
        keys = self._ring.named(hold.key)
        extended = replace(hold, review=review.astimezone(UTC), ends=ends)
        number = len(self._extensions(hold.id))
        document = orjson.dumps(sealed_extension(extended, number, keys))
        if not self._objects.create(f"{_FOLDER}/{hold.id}/extension.{number:04d}.json", document):
            raise LetheError("somebody else has just extended this hold; look at it and try again")
        return extended

    def known(self) -> list[Known]:
        """Return every hold there ever was, oldest first."""
        found = []
        for path in self._objects.list(_FOLDER):
            if path.endswith("/hold.json"):
                d = self._document(path)
                done = self._objects.get(f"{_FOLDER}/{d['id']}/released.json")
                released = None if done is None else datetime.fromisoformat(orjson.loads(done)["released"])
                newest = self._document(e[-1], d["id"]) if (e := self._extensions(d["id"])) else d
                placed, review = datetime.fromisoformat(d["placed"]), datetime.fromisoformat(newest["review"])
                found.append(Known(d["id"], placed, review, released, read_time(newest.get("ends"))))
        return sorted(found, key=lambda k: (k.placed, k.id))

    def active(self) -> list[Hold]:
        """Return the holds in force. Raises rather than leave one out: then nothing may be deleted."""
        known = self.known()
        self._refuse_forged([k.id for k in known if k.released is not None and k.id not in self._over])
        return [self._opened(k) for k in known if k.released is None]

    def find(self, name: str) -> Hold:
        """Return the hold in force with that reference or id; raises `LetheError` when there is none."""
        for hold in self.active():
            if name in (hold.reference, hold.id):
                return hold
        raise LetheError("no hold in force has this reference; `lethe hold list` shows those there are")

    def preserve(
        self,
        warehouse: Warehouse,
        part: Part,
        positions: Positions | None = None,
        waiting: str | None = None,
    ) -> dict[str, int]:
        """Preserve what holds cover among the records of a partition (all, or those at the given positions).

        Returns how many by hold id. Durable when it returns; doing it again sets the same aside again, under
        the same names. Raises whatever keeps a hold from being honoured: then nothing may be deleted.
        `waiting` names the deletion that waits for the release of these holds.
        """
        kept: dict[str, int] = {}
        for hold, theirs in self._covering(warehouse, part, positions):
            keys = self._ring.named(hold.key)
            for chunk in theirs.chunks(_CHUNK):
                self._put(hold, keys, part.key_id, with_salts(gather(warehouse, part, set(chunk)), part))
                fail_point("hold.kept")
            kept[hold.id] = len(theirs)
            if waiting is not None:
                self._objects.create(
                    f"{_FOLDER}/{hold.id}/waiting/{waiting}.{part.key_id}.json",
                    orjson.dumps({"deletion": waiting, "month": str(part.month), "records": len(theirs)}),
                )
        return kept

    def holding(self, key_id: str) -> set[str]:
        """List the ids of the holds that have preserved something of a month, now or before."""
        listed = self._objects.list(_FOLDER)
        return {path.split("/")[1] for path in listed if f"/records/{key_id}." in path}

    def covering(self, warehouse: Warehouse, part: Part, positions: Positions) -> dict[str, int]:
        """Count how many of the records at the positions each hold covers, by hold id. Preserves nothing."""
        return {hold.id: len(theirs) for hold, theirs in self._covering(warehouse, part, positions)}

    def _covering(
        self, warehouse: Warehouse, part: Part, positions: Positions | None
    ) -> Iterator[tuple[Hold, Positions]]:
        # The window was over before there was a hold: what has ended is not brought back.
        holds = [h for h in self.active() if h.placed < window_end(part.month, part.window_months)]
        named = mentioning(warehouse, part, [h.scope for h in holds], positions)
        for hold, naming in zip(holds, named, strict=True):
            found = covered(warehouse, part, hold.scope) | naming
            if positions is not None:
                found &= positions
            if found:
                yield hold, found

    def preserve_archive(self, rows: pa.Table, month: str) -> int:
        """Preserve the archive rows of accounts under a hold, before the rows are deleted; returns how many."""
        kept = 0
        for hold in self.active():
            if not hold.scope.accounts or not rows.num_rows:
                continue
            mask = pc.is_in(
                rows.column("account"), pa.array(hold.scope.accounts, rows.schema.field("account").type)
            )
            for time, compare in ((hold.scope.since, pc.greater_equal), (hold.scope.until, pc.less)):
                if time is not None:
                    mask = pc.and_(
                        mask, compare(rows.column("event_time"), pa.scalar(time, pa.timestamp("us", "UTC")))
                    )
            theirs = rows.filter(mask)
            for batch in theirs.to_batches(max_chunksize=_CHUNK):
                records = [
                    {"record": str(position_of(row)), "month": month, "metadata": plain(row), "identifiers": [],
                     "entries": []}
                    for row in batch.to_pylist()
                ]  # fmt: skip
                if records:
                    self._put(hold, self._ring.named(hold.key), f"{month}.archive", records)
            kept += theirs.num_rows
        return kept

    def records(self, hold: Hold, key_id: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the records a hold has preserved, of all months or of one, each once.

        What the window still holds of it is not among them.
        """
        keys = self._ring.named(hold.key)
        prefix = f"{_FOLDER}/{hold.id}/records"
        names = [p.removeprefix(prefix + "/").removesuffix(".sealed") for p in self._objects.list(prefix)]
        chosen = [name for name in names if key_id is None or name.startswith(f"{key_id}.")]

        def read() -> Iterator[list[dict[str, Any]]]:
            for name in chosen:
                sealed = self._objects.get(f"{prefix}/{name}.sealed") or b""
                packed = open_value(keys, "holds", "records", f"{hold.id}/{name}", sealed)
                unpacked = zstandard.ZstdDecompressor().decompress(packed, max_output_size=_MOST_BYTES)
                yield orjson.loads(unpacked)

        # Preserved again after half an erasure, or with the archive, a record says less than before.
        yield from each_once(read, _said)

    def release(self, hold_id: str, now: datetime, why: str) -> tuple[str, Known, list[dict[str, Any]]]:
        """Release a hold: its key is destroyed, and with it all that was preserved. Restartable.

        1. Mark it as released. From here on it covers nothing: the sweep forgets what it held back in the window.
        2. Destroy its key. Nothing that was preserved opens any more.
        3. Remove what was preserved, then what says that deletions have waited.

        Returns why it was released at first, the hold, and the deletions that had waited for it and are done now.
        """
        known = next((k for k in self.known() if k.id == hold_id), None)
        if known is None or not _ID.fullmatch(hold_id):
            raise LetheError("there is no such hold")
        waited = [
            orjson.loads(self._objects.get(p) or b"{}")
            for p in self._objects.list(f"{_FOLDER}/{hold_id}/waiting")
        ]
        # Step 1
        if known.released is not None:
            self._refuse_forged([hold_id])
        released = {"released": now.astimezone(UTC).isoformat(), "why": why}
        mark = orjson.dumps(released | self._sealed_release(hold_id, released["released"]))
        self._objects.create(f"{_FOLDER}/{hold_id}/released.json", mark)
        why = orjson.loads(self._objects.get(f"{_FOLDER}/{hold_id}/released.json") or mark).get("why", why)
        fail_point("hold.released")
        # Step 2
        self._ring.destroy_named(f"hold.{hold_id}")
        fail_point("hold.destroyed")
        # Step 3
        for path in self._objects.list(f"{_FOLDER}/{hold_id}/records"):
            self._objects.delete(path)
        fail_point("hold.emptied")
        return why, known, waited

    def forget_waiting(self, hold_id: str) -> None:
        """Remove what says that deletions have waited, once their certificates are there."""
        for path in self._objects.list(f"{_FOLDER}/{hold_id}/waiting"):
            self._objects.delete(path)

    def unfinished(self) -> list[str]:
        """Return the released holds of which something is left: a crash came in between."""
        paths = self._objects.list(_FOLDER)
        released = {p.split("/")[1] for p in paths if p.endswith("/released.json")}
        return sorted({p.split("/")[1] for p in paths if p.count("/") >= 3} & released)

    def waiting(self, hold: Hold) -> int:
        """Count how many deletions wait for the release of a hold."""
        return len(self._objects.list(f"{_FOLDER}/{hold.id}/waiting"))

    def _sealed_release(self, hold_id: str, released: str) -> dict[str, str]:
        """Seal when a hold was released under its own key, so that nobody without it can say so."""
        keys = self._ring.still_held([f"hold.{hold_id}"]).get(f"hold.{hold_id}")
        if keys is None:
            return {}  # it is destroyed already
        sealed = seal_value(keys, "holds", "released", hold_id, released.encode())
        return {"sealed": b64encode(sealed).decode()}

    def _refuse_forged(self, hold_ids: Sequence[str]) -> None:
        """Raise `IntegrityError` where a hold is said to be released by somebody who had not its key.

        The key is asked for and not its mark of destruction, which is as easily forged as this one. Where it is gone,
        nothing of the hold opens any more.
        """
        try:
            keys = self._ring.still_held(f"hold.{hold_id}" for hold_id in hold_ids)
        except IntegrityError as error:
            raise IntegrityError(
                f"{error}: bring it back from the backup; nothing is deleted until then"
            ) from None
        for key_id, of_hold in keys.items():
            hold_id = key_id.removeprefix("hold.")
            path = f"{_FOLDER}/{hold_id}/released.json"
            try:
                mark = orjson.loads(self._objects.get(path) or b"")
                told = open_value(of_hold, "holds", "released", hold_id, b64decode(mark["sealed"]))
            except (ValueError, KeyError, TypeError, IntegrityError):
                told, mark = b"", {}
            if not told or told != str(mark.get("released")).encode():
                raise IntegrityError(
                    f"{path} was not written with the hold's key, which still exists: remove it, and if there is one "
                    f"_keys/{key_id}.destroyed.json, and the hold is in force again; nothing is deleted until then"
                )
        self._over.update(hold_ids)

    def _put(self, hold: Hold, keys: MonthKeys, prefix: str, records: list[dict[str, Any]]) -> None:
        packed = zstandard.compress(orjson.dumps(records, option=orjson.OPT_SORT_KEYS))
        # The digest is of sealed bytes: one of the records themselves could be guessed from them.
        probe = seal_value(keys, "holds", "name", f"{hold.id}/{prefix}", sha256(packed).digest())
        name = f"{prefix}.{sha256(probe).hexdigest()[:16]}"
        sealed = seal_value(keys, "holds", "records", f"{hold.id}/{name}", packed)
        self._objects.put(f"{_FOLDER}/{hold.id}/records/{name}.sealed", sealed)

    def _opened(self, known: Known) -> Hold:
        document = self._document(f"{_FOLDER}/{known.id}/hold.json")
        try:
            keys = self._ring.named(f"hold.{known.id}")
        except ExpiredKeyError:
            raise IntegrityError(
                f"the key of hold {known.id} was destroyed, but the hold was not released"
            ) from None
        hold = opened_definition(known, document, keys)
        if paths := self._extensions(known.id):
            newest = self._document(paths[-1], known.id)
            review, ends = opened_extension(known.id, len(paths) - 1, newest, keys)
            hold = replace(hold, review=review, ends=ends)
        return hold

    def _extensions(self, hold_id: str) -> list[str]:
        prefix = f"{_FOLDER}/{hold_id}/extension."
        return sorted(p for p in self._objects.list(f"{_FOLDER}/{hold_id}") if p.startswith(prefix))

    def _document(self, path: str, hold_id: str | None = None) -> dict[str, Any]:
        """Read a document; that of a hold says its id, an extension lies in the folder of its hold."""
        try:
            document = dict(orjson.loads(self._objects.get(path) or b""))
            if not _ID.fullmatch(hold_id or document["id"]):
                raise ValueError
            datetime.fromisoformat(document["review"])
        except (ValueError, KeyError, TypeError):
            raise IntegrityError(
                f"{path} is damaged: bring it back from the backup; nothing is deleted until then"
            ) from None
        return document


def with_salts(records: list[dict[str, Any]], part: Part) -> list[dict[str, Any]]:
    """Add to records in integrity scope the salt of their hash: with it the original stays evidence after the month."""
    for record in records:
        if (record["metadata"] or {}).get("integrity_hash") and record["entries"]:
            record["salt"] = salt(part.keys.salt_key.reveal(), record["record"]).hex()
    return records


def _said(record: dict[str, Any]) -> int:
    """Say how much a record that was preserved says."""
    parts = len(record["entries"]) + len(record["identifiers"])
    return parts + ("quarantine" in record) + ("salt" in record) + bool(record["metadata"])
