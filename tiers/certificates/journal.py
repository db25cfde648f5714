"""What is being forgotten just now: written before the first destructive step, removed after the certificate.

A crash in between leaves the journal, and with it what the certificate has to say of files that are gone already.
No identifier is in it: a month and the names of files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import orjson

from lethe.schemas.errors import IntegrityError
from lethe.tiers.certificates import certificates
from lethe.tiers.delta.rewrite import digest_of
from lethe.tiers.store.objects import Objects

_FOLDER: Final = "_forgetting"
ERASURE: Final = "erasure-"
"""How the journals of erasures begin."""


@dataclass(frozen=True, slots=True)
class Journal:
    """One piece of forgetting. `name` says what (a key id, an archive month), `begun` when it was begun."""

    objects: Objects
    name: str
    begun: str
    since: int  # certificates there were when it was begun

    @property
    def work(self) -> str:
        """What the certificate is known by."""
        return f"{self.name}@{self.begun}"

    @classmethod
    def open(cls, objects: Objects, name: str, now: datetime) -> Journal:
        """Return the journal of that name, begun now unless it has been begun before; racing callers get the same."""
        begun = now.astimezone(UTC).isoformat(timespec="microseconds")
        since = len(certificates.numbers(objects))
        head = {"name": name, "begun": begun, "since": since}
        objects.create(f"{_FOLDER}/{name}/head.json", orjson.dumps(head))
        data = objects.get(f"{_FOLDER}/{name}/head.json")
        if data is None:  # another process has just finished it
            return cls(objects, name, begun, since)
        try:
            head = orjson.loads(data)
            return cls(objects, name, head["begun"], int(head["since"]))
        except (ValueError, KeyError, TypeError):
            raise IntegrityError(
                f"the journal {_FOLDER}/{name} is damaged; remove its head.json to go on"
            ) from None

    def note(self, kind: str, entries: Iterable[dict[str, Any]]) -> None:
        """Add entries of a kind, durably. The same entries again add nothing."""
        data = orjson.dumps(list(entries), option=orjson.OPT_SORT_KEYS)
        if data != b"[]":
            self.objects.create(f"{_FOLDER}/{self.name}/{kind}-{sha256(data).hexdigest()[:16]}.json", data)

    def noted(self, kind: str) -> list[dict[str, Any]]:
        """Return every entry of a kind, each once."""
        prefix = f"{_FOLDER}/{self.name}/{kind}-"
        found: dict[bytes, dict[str, Any]] = {}
        for path in self.objects.list(f"{_FOLDER}/{self.name}"):
            if path.startswith(prefix):
                for entry in orjson.loads(self.objects.get(path) or b"[]"):
                    found[orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)] = entry
        return list(found.values())

    def close(self) -> None:
        """Remove the journal, its head last: a crash before leaves it open."""
        for path in sorted(
            self.objects.list(f"{_FOLDER}/{self.name}"), key=lambda p: p.endswith("/head.json")
        ):
            self.objects.delete(path)


def open_names(objects: Objects) -> list[str]:
    """Return the names of what was begun and is not finished."""
    return sorted({p.split("/")[1] for p in objects.list(_FOLDER) if p.count("/") >= 2})


def file_entry(table: str, path: str, size: int | None, rows: int | None) -> dict[str, Any]:
    """Return a file as a journal and a certificate name it; the digest is the one it was named by when it was
    written.
    """
    return {"path": f"{table}/{path}", "bytes": size, "rows": rows, "sha256_64": digest_of(path)}
