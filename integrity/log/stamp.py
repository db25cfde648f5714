"""Time stamps (RFC 3161) on checkpoints: a third party's word that a log was this long at that time.

What is stamped is the signed note, byte for byte, so the signatures are proven as old as the log. The stamped
note is kept with its stamp, because the log's checkpoint moves on.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.x509 import Certificate
from rfc3161_client import TimestampRequestBuilder

from lethe.integrity.evidence.verify_evidence import Der, EvidenceError, verify_stamp
from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.entries import CHECKPOINT
from lethe.integrity.log.note import Note
from lethe.integrity.log.store import Reader, Store
from lethe.integrity.log.tiles import number_path
from lethe.schemas.errors import ConfigurationError, IntegrityError, TransientError

FOLDER = "stamps"
MAX_RESPONSE = 1 << 20

Authority = Callable[[bytes], bytes]
"""Takes the bytes to stamp, returns a verified RFC 3161 response in DER; raises `TransientError`."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """A signed checkpoint and the RFC 3161 response (DER) that stamps it."""

    path: str
    note: bytes
    response: bytes

    @staticmethod
    def folder(size: int) -> str:
        """Where the stamped checkpoint of a log of that size is kept."""
        return f"{FOLDER}/{number_path(size)}"


def http_authority(url: str, roots: Sequence[Certificate], timeout: float) -> Authority:
    """A time-stamp authority at a URL, spoken to as RFC 3161, section 3.4, says.

    `roots` are the certificates its answers must lead to, `timeout` is in seconds. Raises
    `ConfigurationError` for another scheme than http and https and without roots.
    """
    if not url.startswith(("https://", "http://")):
        raise ConfigurationError("a time-stamp authority has an http or https URL")
    if not roots:
        raise ConfigurationError(
            "a time-stamp authority is trusted by its root certificate: none is configured"
        )

    def authority(data: bytes) -> bytes:
        # Without nonce: an older stamp of the same note, replayed, would be as good.
        request = TimestampRequestBuilder().data(data).nonce(nonce=False).cert_request(cert_request=True)
        post = urllib.request.Request(  # noqa: S310 - the scheme was checked above
            url,
            data=request.build().as_bytes(),
            headers={"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"},
        )
        try:
            with urllib.request.urlopen(post, timeout=timeout) as reply:  # noqa: S310
                response: bytes = reply.read(MAX_RESPONSE + 1)
        except (urllib.error.URLError, OSError) as error:
            raise TransientError(f"the time-stamp authority {url} does not answer: {error}") from error
        try:
            stamped_at(response, data, roots)
        except IntegrityError as error:
            raise TransientError(f"the time-stamp authority {url} sent no valid stamp: {error}") from error
        return response

    return authority


def token(response: bytes) -> bytes:
    """The time-stamp token (DER) of an RFC 3161 response; raises `IntegrityError` when it was not granted."""
    try:
        (outer,) = Der.all(response)
        status, *tokens = outer.parts()
        granted = status.parts()[0].content in (b"\x00", b"\x01")
    except (ValueError, IndexError):
        raise IntegrityError("time stamp: the response is malformed") from None
    if not granted or len(tokens) != 1:
        raise IntegrityError("time stamp: the authority has not granted it")
    return tokens[0].whole


def stamped_at(response: bytes, data: bytes, roots: Sequence[Certificate]) -> datetime:
    """Verify that an RFC 3161 response stamps `data` and return the time it attests, in UTC.

    The signer's certificate and those between it and one of `roots` come with the response, and must have
    been valid at that time. Raises `IntegrityError` when anything of this does not hold.
    """
    if len(response) > MAX_RESPONSE:
        raise IntegrityError("time stamp: the response is too long")
    if not roots:
        raise IntegrityError("time stamp: without a root certificate nothing is known of its authority")
    try:
        return verify_stamp(token(response), data, list(roots))
    except EvidenceError as error:
        raise IntegrityError(f"{error}") from None


def stamp(store: Store, authority: Authority) -> Stamped | None:
    """Have the log's current checkpoint stamped, unless one of its size is; returns the new stamp.

    1. Put the signed note aside. A crash here leaves a note without stamp, which the next run stamps.
    2. Ask the authority and put its response beside the note.

    Raises `TransientError` when the authority does not answer; nothing else is affected by that.
    """
    current = store.get(CHECKPOINT)
    if current is None:
        return None
    folder = Stamped.folder(Checkpoint.parse(Note.parse(current).text).size)
    if store.get(f"{folder}/response") is not None:
        return None

    # 1
    # The note of an interrupted run is kept, even when another signature of the same size is current by now.
    note = store.get(f"{folder}/checkpoint") or current
    store.put(f"{folder}/checkpoint", note)

    # 2
    response = authority(note)
    try:
        store.put(f"{folder}/response", response)
    except IntegrityError:
        return None  # another worker had it stamped meanwhile: one stamp is enough
    return Stamped(folder, note, response)


def stamps(reader: Reader) -> Iterator[Stamped]:
    """All stamped checkpoints of a log, the smallest size first. Nothing of them is verified yet."""
    suffix = "/response"
    for path in sorted(reader.list(FOLDER), key=lambda path: (len(path), path)):
        if path.endswith(suffix):
            folder = path.removesuffix(suffix)
            note, response = reader.get(f"{folder}/checkpoint"), reader.get(path)
            if note is None or response is None:
                raise IntegrityError(f"{folder} has a time stamp without its checkpoint")
            yield Stamped(folder, note, response)
