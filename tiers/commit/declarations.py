"""The declarations that archive rows were made by, kept by their SHA-256 beside the log: what fields of a record mean.

_log/=declarations/<SHA-256>   the canonical form of a declaration, immutable

An entry of the log names those of its commit, so that what an original says of origin and destination is proven too. A
declaration is put there before the commit that counts: nothing refers to it until then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from lethe.schemas.compute import pc
from lethe.schemas.errors import ConfigurationError, IntegrityError
from lethe.tiers.store.objects import Objects

if TYPE_CHECKING:  # a look-up opens the warehouse and reads no declaration
    from lethe.schemas.declaration.format import Format

FOLDER: Final = "_log/=declarations"

Declarations = Mapping[bytes, bytes]
"""Canonical forms by their SHA-256."""


def declared_of(rows: pa.Table) -> Declarations:
    """Return the declarations that archive rows were made by; nothing for a format that is not known here."""
    return dict(found for name, version in _formats(rows) if (found := _canonical(name, version)) is not None)


def keep(objects: Objects, every: Iterable[Declarations], known: set[bytes]) -> None:
    """Put declarations where evidence finds them, unless they are `known` to be there; adds to that.

    Raises `IntegrityError` when another one is there in the place of one of them.
    """
    for digest, text in {d: t for one in every for d, t in one.items() if d not in known}.items():
        path = f"{FOLDER}/{digest.hex()}"
        if not objects.create(path, text) and objects.get(path) != text:
            raise IntegrityError(
                f"{path} is not the declaration it is named by: bring it back from the backup"
            )
        known.add(digest)


def restore(objects: Objects, wanted: Iterable[bytes], known: set[bytes]) -> None:
    """Put those declarations again that are gone, as far as this release has them; others `lethe verify` names."""
    missing = {d for d in wanted if d not in known and objects.get(f"{FOLDER}/{d.hex()}") is None}
    if missing:
        from lethe.schemas.declaration import format as formats

        here = dict(_digested(one) for one in formats.known().values() if isinstance(one, formats.Format))
        keep(objects, [{digest: here[digest] for digest in missing & here.keys()}], known)
    known.update(set(wanted) - missing)


def read(objects: Objects, digest: bytes) -> bytes:
    """Return a declaration by its SHA-256; raises `IntegrityError` when it is missing or altered."""
    path = f"{FOLDER}/{digest.hex()}"
    text = objects.get(path)
    if text is None or sha256(text).digest() != digest:
        what = "missing" if text is None else "altered"
        raise IntegrityError(f"{path} is {what}: bring it back from the backup")
    return text


def _formats(rows: pa.Table) -> list[tuple[str, int]]:
    if not rows.num_rows:
        return []
    names, versions = rows.column("format"), rows.column("format_version")
    first = names[0], versions[0]
    if pc.all(pc.and_(pc.equal(names, first[0]), pc.equal(versions, first[1]))).as_py():
        return [(first[0].as_py(), first[1].as_py())]
    distinct = rows.group_by(["format", "format_version"]).aggregate([]).to_pylist()
    return sorted((one["format"], one["format_version"]) for one in distinct)


def _canonical(name: str, version: int) -> tuple[bytes, bytes] | None:
    from lethe.schemas.declaration import format as formats

    try:
        declared = formats.get(name)
    except ConfigurationError:
        return None
    if not isinstance(declared, formats.Format) or declared.version != version:
        return None
    return _digested(declared)


@cache
def _digested(declared: Format) -> tuple[bytes, bytes]:
    from lethe.schemas.declaration.format import canonical

    text = canonical(declared)
    return sha256(text).digest(), text
