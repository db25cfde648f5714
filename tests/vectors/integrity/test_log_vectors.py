"""The log of replays and its time stamp, by the specification alone: hashes from hashlib, no module of the product.

`verify_evidence.py`, which outsiders have, gives the forms of rows, signatures and stamps; everything else is here.
"""

from __future__ import annotations

import base64
import json
import struct
from hashlib import sha3_512, sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from lethe.integrity.evidence import verify_evidence as outsider

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "log_of_replays.json").read_text())
FILES = {path: base64.b64decode(data) for path, data in VECTORS["files"].items()}
ENTRY = struct.Struct("<IQQQ32s64s32sIIQ")
FURTHER = struct.Struct("<Q32s32sIIB")


def leaf(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def root(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"").digest()
    at = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + root(leaves[:at]) + root(leaves[at:])).digest()


def bundle() -> list[bytes]:
    """The entries of the log: each after its length, in the widest bundle there is."""
    data, found = FILES["tile/entries/000.p/3"], []
    while data:
        size = int.from_bytes(data[:2], "big")
        found.append(data[2 : 2 + size])
        data = data[2 + size :]
    return found


def parsed(entry: bytes) -> dict[str, Any]:
    assert entry[0] == 2
    end = 2 + entry[1]
    names = (
        "partition",
        "first",
        "last",
        "count",
        "root",
        "sha3",
        "leaves",
        "month",
        "last_month",
        "version",
    )
    found: dict[str, Any] = dict(zip(names, ENTRY.unpack_from(entry, end), strict=True))
    names = ("outside", "outside_root", "outside_file", "outside_month", "outside_last", "declarations")
    found |= dict(zip(names, FURTHER.unpack_from(entry, end + ENTRY.size), strict=True))
    rest = entry[end + ENTRY.size + FURTHER.size :]
    assert len(rest) == 32 * found["declarations"]
    return found | {"digests": [rest[at : at + 32] for at in range(0, len(rest), 32)]}


def rows_of(entry: dict[str, Any], scoped: bool) -> list[tuple[tuple[Any, ...], bytes]]:
    """Rows of an entry in the order of its tree, with their canonical forms."""
    mine = [
        row
        for row in VECTORS["rows"]
        if entry["first"] <= row["offset"] <= entry["last"] and ("integrity_hash" in row) == scoped
    ]
    # Rows in scope by offset and index; the others month by month.
    places = [(("" if scoped else r["event_time"][:7], r["offset"], r.get("index", -1)), r) for r in mine]
    return [(place, outsider.encode_row(row)) for place, row in sorted(places, key=lambda one: one[0])]


def number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


@pytest.mark.parametrize("at", range(3))
def test_rows_lead_to_what_the_entry_says(at: int) -> None:
    entry = parsed(bundle()[at])
    scoped = [form for _, form in rows_of(entry, scoped=True)]
    assert entry["count"] == len(scoped) > 10
    assert entry["root"] == root([leaf(form) for form in scoped])
    assert entry["sha3"] == sha3_512(b"".join(scoped)).digest()
    outside = rows_of(entry, scoped=False)
    assert entry["outside"] == len(outside) > 5
    groups = []
    for month in sorted({place[0] for place, _ in outside}):
        forms = [form for place, form in outside if place[0] == month]
        groups += [leaf(b"".join(forms[start : start + 32])) for start in range(0, len(forms), 32)]
    assert entry["outside_root"] == root(groups)
    assert entry["digests"] == [bytes.fromhex(digest) for digest in VECTORS["declarations"]]
    for digest, text in VECTORS["declarations"].items():
        assert sha256(text.encode()).hexdigest() == digest


@pytest.mark.parametrize("at", range(3))
def test_the_leaf_file_has_every_row_of_a_replay(at: int) -> None:
    entry = parsed(bundle()[at])
    data = FILES[f"leaves/{entry['leaves'].hex()}"]
    assert (data[0], sha256(data).digest()) == (1, entry["leaves"])
    offset, month, byte, found = entry["first"], int.from_bytes(data[1:5], "little"), 5, []
    while byte < len(data):
        step, byte = number(data, byte)
        index, byte = number(data, byte)
        change, byte = number(data, byte)
        offset, month = offset + step, month + (change >> 1 if not change & 1 else -(change + 1 >> 1))
        found.append((f"{month // 12:04d}-{month % 12 + 1:02d}", offset, index - 1, data[byte : byte + 32]))
        byte += 32
    times = {(row["offset"], row.get("index", -1)): row["event_time"][:7] for row in VECTORS["rows"]}
    expected = [(times[o, i], o, i, leaf(form)) for (_, o, i), form in rows_of(entry, scoped=True)]
    assert found == expected


@pytest.mark.parametrize("at", range(3))
def test_the_file_of_rows_out_of_scope_has_their_places_and_groups(at: int) -> None:
    entry = parsed(bundle()[at])
    data = FILES[f"outside/{entry['outside_file'].hex()}"]
    assert (data[0], sha256(data).digest()) == (3, entry["outside_file"])
    byte, places, groups = 1, [], []
    while byte < len(data):
        month = int.from_bytes(data[byte : byte + 4], "little")
        count, byte = number(data, byte + 4)
        offset = entry["first"]
        for _ in range(count):
            step, byte = number(data, byte)
            index = -1
            if step & 1:
                index, byte = number(data, byte)
            offset += step >> 1
            places.append((f"{month // 12:04d}-{month % 12 + 1:02d}", offset, index))
        size = 32 * -(-count // 32)
        groups += [data[start : start + 32] for start in range(byte, byte + size, 32)]
        byte += size
    assert places == [place for place, _ in rows_of(entry, scoped=False)]
    assert root(groups) == entry["outside_root"]


def test_entries_lead_to_the_signed_checkpoint_in_the_order_of_their_commits() -> None:
    note = FILES["checkpoint"].decode()
    sets = outsider._key_history(VECTORS["key_history"])
    outsider._trust(sets, VECTORS["keys"])
    outsider._signed_by_one(note, sets)
    origin, size, found, extension = outsider._checkpoint(outsider._note(note)[0])
    assert (origin, size, extension) == (VECTORS["origin"], 3, [])
    assert found == root([leaf(entry) for entry in bundle()])
    assert FILES["tile/0/000.p/3"] == b"".join(leaf(entry) for entry in bundle())
    order = [(entry["version"], entry["partition"], entry["first"]) for entry in map(parsed, bundle())]
    assert order == sorted(set(order))


def test_the_stamp_is_over_the_checkpoint_it_lies_beside() -> None:
    note, response = FILES["stamps/002/checkpoint"], FILES["stamps/002/response"]
    status, token = outsider.Der.all(response)[0].parts()
    assert status.parts()[0].whole == b"\x02\x01\x00"
    roots = x509.load_pem_x509_certificates(VECTORS["stamp_root"].encode())
    when = outsider.verify_stamp(token.whole, note, roots)
    assert when.year >= 2026
    _, size, stamped, _ = outsider._checkpoint(outsider._note(note.decode())[0])
    assert (size, stamped) == (2, root([leaf(entry) for entry in bundle()[:2]]))
    with pytest.raises(outsider.EvidenceError, match="another checkpoint"):
        outsider.verify_stamp(token.whole, note + b"\n", roots)
