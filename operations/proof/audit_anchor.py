"""Anchors of the audit: what was last signed of each of its journals, written into a log of the warehouse.

The audit lies in a place of its own and is signed with keys of its own. Whoever puts back an older copy of that place
and of the key directory at once would still have to change the warehouse's log of anchors, which other keys sign and
an authority may have time-stamped. The public keys of the audit lie beside them, anchored in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson
from cryptography.x509 import Certificate

from lethe.integrity.journal import Journal, JournalRead, check_continues, read_journal
from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.signing import KeyHistory, Signer
from lethe.integrity.log.stamp import Authority, Stamped, stamp, stamped_at, stamps
from lethe.integrity.log.store import CHECKPOINT, open_checkpoint
from lethe.operations.audit import keys as audit_keys
from lethe.operations.audit.log import origin_of
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import FencedError, IntegrityError
from lethe.tiers.evidence.log_store import LogStore

FOLDER: Final = "_audit"


def anchor(runtime: Runtime, signer: Signer) -> int:
    """Write down what was signed of the audit since the last anchors; returns how many journals have grown.

    `signer` is that of the integrity log. Raises as `Journal.append` does; others that do the same are no error.
    """
    keys = runtime.audit.signer()
    if keys is None:
        return 0
    read = read_anchors(runtime, signer.history)
    known = {} if read is None else newest(read)
    made = 0
    audit_keys.publish(_store(runtime), keys.history)
    journal = Journal(_store(runtime), signer, runtime.audit.memory, _origin(signer.history))
    chain = audit_keys.newest(keys.history)
    if chain.origin not in known or known[chain.origin].size < chain.size:
        _write(runtime, journal, chain)
    for number in runtime.audit.numbers(keys):
        noted = runtime.audit.memory.signed(origin_of(keys, number))
        if noted is None:
            continue
        now = open_checkpoint(noted, keys.history, origin_of(keys, number))[1]
        before = known.get(now.origin)
        if before is not None and before.size >= now.size:
            continue
        if not _write(runtime, journal, now):
            return made
        made += 1
    return made


def _write(runtime: Runtime, journal: Journal, now: Checkpoint) -> bool:
    """Write an anchor; False when others write all the time."""
    text = {"origin": now.origin, "size": now.size, "root": now.root.hex()}
    try:
        journal.append(orjson.dumps(text, option=orjson.OPT_SORT_KEYS), int(runtime.clock().timestamp()))
    except FencedError:
        return False
    return True


def check_keys(runtime: Runtime, history: KeyHistory, known: Checkpoint) -> list[str]:
    """Say what of the audit's keys is not as it was anchored, or not where a verifier of the warehouse looks for it."""
    found = list(audit_keys.not_continued(history, known, "the anchor in the warehouse"))
    return found + list(audit_keys.missing(history, _store(runtime), min(known.size, len(history.notes))))


def stamp_anchors(runtime: Runtime, authority: Authority) -> Stamped | None:
    """Have the log of anchors time-stamped if it has grown since; raises `TransientError` without an answer."""
    store = _store(runtime)
    return None if store.get(CHECKPOINT) is None else stamp(store, authority)


def check_stamps(runtime: Runtime, read: JournalRead, roots: Sequence[Certificate]) -> int:
    """Verify that the log of anchors continues what was time-stamped, and by whom; returns how many stamps there are.

    `roots` are the certificates of the authority; without them a stamp is counted, and whose it is is not known. Raises
    `IntegrityError` when the log does not, or a stamp is not by that authority.
    """
    found = 0
    for one in stamps(_store(runtime)):
        if roots:
            stamped_at(one.response, one.note, roots)
        check_continues(read.log, open_checkpoint(one.note, read.history, read.log.origin)[1])
        found += 1
    return found


def read_anchors(runtime: Runtime, history: KeyHistory) -> JournalRead | None:
    """Read the log of anchors, None when there never was one; raises `IntegrityError` as `read_journal` does."""
    origin = _origin(history)
    noted = runtime.audit.memory.signed(origin)
    return read_journal(_store(runtime), history, origin, noted)


def newest(read: JournalRead) -> dict[str, Checkpoint]:
    """Return the newest anchor of each journal and of the log of keys, by its origin."""
    found: dict[str, Checkpoint] = {}
    for number, text in read.texts():
        try:
            said = orjson.loads(text)
            found[said["origin"]] = Checkpoint(said["origin"], said["size"], bytes.fromhex(said["root"]))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise IntegrityError(f"entry {number} of the log {read.log.origin} is no anchor") from None
    return found


def _store(runtime: Runtime) -> LogStore:
    return LogStore(runtime.objects, FOLDER, "anchor")


def _origin(history: KeyHistory) -> str:
    return f"{history.name}/=anchors/0"
