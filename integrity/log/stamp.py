"""Time stamps (RFC 3161) on checkpoints: a third party's word that a log was this long at that time.

What is stamped is the signed note, byte for byte, so the signatures are proven as old as the log. The stamped
note is kept with its stamp, because the log's checkpoint moves on.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256, sha384, sha512

from cryptography.x509 import Certificate
from rfc3161_client import (
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.note import Note
from lethe.integrity.log.store import CHECKPOINT, Reader, Store
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
        """Say where the stamped checkpoint of a log of that size is kept."""
        return f"{FOLDER}/{number_path(size)}"


def http_authority(url: str, roots: Sequence[Certificate], timeout: float) -> Authority:
    """Speak to a time-stamp authority at a URL as RFC 3161, section 3.4, says.

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
    """Return the time-stamp token (DER) of an RFC 3161 response; raises `IntegrityError` when it was not granted."""
    found: bytes = _decoded(response).time_stamp_token()
    return found


def stamped_at(response: bytes, data: bytes, roots: Sequence[Certificate]) -> datetime:
    """Verify that an RFC 3161 response stamps `data` and return the time it attests, in UTC.

    The signer's certificate and those between it and one of `roots` come with the response, and must have
    been valid at that time. Raises `IntegrityError` when anything of this does not hold.
    """
    if not roots:
        raise IntegrityError("time stamp: without a root certificate nothing is known of its authority")
    at, decoded = claimed_at(response, data), _decoded(response)
    try:
        VerifierBuilder(roots=list(roots)).build().verify_message(decoded, data)
    except (VerificationError, ValueError) as error:
        raise IntegrityError(f"the time stamp is not by an authority that you trust: {error}") from None
    return at


def claimed_at(response: bytes, data: bytes) -> datetime:
    """Return the time that a response claims for `data`, of whose authority nothing is known.

    Raises `IntegrityError` when it is malformed or of other data.
    """
    decoded = _decoded(response)
    imprint = decoded.tst_info.message_imprint
    digest = _DIGESTS.get(imprint.hash_algorithm.dotted_string)
    if digest is None or digest(data).digest() != imprint.message:
        raise IntegrityError("the time stamp is of another checkpoint")
    return _time(decoded)


_DIGESTS = {
    "2.16.840.1.101.3.4.2.1": sha256,
    "2.16.840.1.101.3.4.2.2": sha384,
    "2.16.840.1.101.3.4.2.3": sha512,
}


def _time(decoded: TimeStampResponse) -> datetime:
    at: datetime = decoded.tst_info.gen_time
    return at.astimezone(UTC)


def _decoded(response: bytes) -> TimeStampResponse:
    if len(response) > MAX_RESPONSE:
        raise IntegrityError("time stamp: the response is too long")
    try:
        decoded = decode_timestamp_response(_in_order(response))
        status = decoded.status
    except (ValueError, IndexError):
        raise IntegrityError("time stamp: the response is malformed, or was not granted") from None
    if status not in (0, 1):
        raise IntegrityError("time stamp: the authority has not granted it")
    return decoded


def _in_order(response: bytes) -> bytes:
    """Put the certificates of a response into the order that DER asks of a set; authorities send them in any.

    Raises `ValueError` or `IndexError` for what is no response. Nothing signs their order.
    """
    start, end = 0, len(response)
    # TimeStampResp, its token (the second element), [0], SignedData, then its fourth element: the certificates.
    for number in (0, 1, 1, 0, 3):
        elements = _elements(response, start, end)
        if len(elements) <= number:
            return response
        _, start, end = elements[number]
    if response[elements[3][0]] != 0xA0:
        return response
    certificates = sorted(response[at:to] for at, _, to in _elements(response, start, end))
    return response[:start] + b"".join(certificates) + response[end:]


def _elements(data: bytes, at: int, end: int) -> list[tuple[int, int, int]]:
    """Return where each DER element from `at` to `end` begins, where its content does, and where it ends."""
    found = []
    while at < end:
        head, size = at + 2, data[at + 1]
        if size & 0x80:
            head += size & 0x7F
            size = int.from_bytes(data[at + 2 : head], "big")
        if head + size > end:
            raise ValueError("an element is cut short")
        found.append((at, head, head + size))
        at = head + size
    return found


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
    """Yield all stamped checkpoints of a log, the smallest size first. Nothing of them is verified yet."""
    suffix = "/response"
    for path in sorted(reader.list(FOLDER), key=lambda path: (len(path), path)):
        if path.endswith(suffix):
            folder = path.removesuffix(suffix)
            note, response = reader.get(f"{folder}/checkpoint"), reader.get(path)
            if note is None or response is None:
                raise IntegrityError(f"{folder} has a time stamp without its checkpoint")
            yield Stamped(folder, note, response)
