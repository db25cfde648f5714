"""Evidence of one record proves what it says with the file and a key alone; nothing of it can be changed."""

from __future__ import annotations

import ast
import base64
import copy
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from integrity_authority import Authority
from integrity_samples import (
    DECLARATION,
    NAME,
    NOW,
    ORIGIN,
    PARTITION,
    SALT_KEY,
    STREAM,
    Archive,
    commits,
    name,
    original,
    row,
    rows,
    table,
)
from rfc3161_client import TimestampRequestBuilder

from lethe.integrity.evidence import verify_evidence
from lethe.integrity.evidence.build import Original
from lethe.integrity.evidence.check import check
from lethe.integrity.evidence.verify_evidence import EvidenceError, verify
from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.note import Note
from lethe.integrity.log.publish import publish
from lethe.integrity.log.signing import Signer
from lethe.integrity.log.stamp import stamp, token
from lethe.integrity.rows.hashes import salt
from lethe.schemas.errors import IntegrityError

OFFSET = 12
PARTIES = (("origin", "/from"), ("destination", "/to"))
TOP = Path(verify_evidence.__file__).parents[1]


@dataclass
class Case:
    """Evidence and the keys to verify it with."""

    archive: Archive
    data: bytes
    keys: list[str]
    roots: list[Any]

    @property
    def file(self) -> dict[str, Any]:
        return json.loads(self.data)  # type: ignore[no-any-return]

    def refused(self, file: Any) -> str:
        """Why an edited file is refused."""
        data = file if isinstance(file, bytes) else json.dumps(file).encode()
        with pytest.raises(EvidenceError) as refused:
            verify(data, self.keys, self.roots)
        return str(refused.value)


def of_record(offset: int) -> Original:
    return Original(original(offset), salt(SALT_KEY, name(offset)), declaration=DECLARATION)


def claimed(offset: int) -> Original:
    """What evidence by a log entry of version 1 is made of: its parties are what its maker says."""
    return Original(original(offset), salt(SALT_KEY, name(offset)), PARTIES)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def case(authority: Authority) -> Case:
    """Evidence with everything in it: the original, a time stamp, keys that were handed over."""
    archive = Archive.of(rows(40), 5, Signer.generate(NAME, NOW).rotate(NOW + 1))
    stamp(archive.store, lambda data: authority.answer(_query(data)))
    publish(archive.store, archive.signer, STREAM, PARTITION, commits(rows(60), 5), NOW)
    archive.rows = rows(60)
    values = table([archive.rows[OFFSET]])
    data = archive.evidence(values, of_record(OFFSET), authority.roots)
    keys = [str(key) for key in archive.signer.history.sets[-1].keys]
    return Case(archive, data, keys, authority.roots)


@pytest.fixture(scope="module")
def earlier() -> Case:
    """Evidence by a log entry of version 1, as an earlier release has made it."""
    archive = Archive.of(rows(40), 5, Signer.generate(NAME, NOW), declarations=None)
    data = archive.evidence(table([archive.rows[OFFSET]]), claimed(OFFSET))
    return Case(archive, data, [str(key) for key in archive.signer.history.sets[-1].keys], [])


def _query(data: bytes) -> bytes:
    builder = TimestampRequestBuilder().data(data).nonce(nonce=False).cert_request(cert_request=True)
    return builder.build().as_bytes()  # type: ignore[no-any-return]


def test_inside_the_window_it_gives_the_original_and_says_in_plain_words_what_it_is(case: Case) -> None:
    proven = verify(case.data, case.keys, case.roots)
    assert proven.record == name(OFFSET)
    assert proven.original == original(OFFSET)
    assert proven.authority_known
    assert proven.stamped is not None
    assert proven.summary == case.file["summary"]
    assert proven.summary == [
        f"Record {name(OFFSET)}: outbound sms.",
        "Date and time: 2026-01-20T08:30:27.123456Z, completed 2026-01-20T08:30:29.123468Z (UTC).",
        "Origin: BANK (field /from of the original).",
        "Destination: 923001200012 (field /to of the original).",
        "Status: delivered, DELIVERED_TO_HANDSET.",
        "The original is in this file, as it was received.",
        f"Proven by entry 2 of the log {ORIGIN}.",
        f"A time-stamp authority saw the log with this entry at {proven.stamped:%Y-%m-%dT%H:%M:%S}Z.",
        "What the fields of the original mean is what the declaration example-sms-report, version 1, says, which was "
        "logged with the record.",
    ]
    assert proven.limits == []


def test_the_oldest_stamp_over_the_record_is_taken(case: Case) -> None:
    assert case.file["checkpoint"].split("\n")[1] == "8"
    late = case.archive.evidence(table([row(57)]), of_record(57), case.roots)
    assert "time_stamp" not in json.loads(late)
    assert json.loads(late)["checkpoint"].split("\n")[1] == "12"


def test_after_the_window_it_still_proves_the_row_and_names_nobody(case: Case) -> None:
    values = table([case.archive.rows[OFFSET]])
    data = case.archive.evidence(values, roots=case.roots)
    proven = check(data, case.keys, case.roots)
    assert proven.original is None
    assert "Destination: msisdn of an end user, not disclosed here." in proven.summary
    assert "Origin: business address BANK." in proven.summary
    assert b"923001200012" not in data
    assert base64.b64encode(original(OFFSET)) not in data
    assert not {"original", "parties", "declaration"} & json.loads(data).keys()
    assert proven.limits == proven.summary[-1:]
    assert "the end users were is not: after the window nobody" in proven.limits[0]


def test_without_a_stamp_it_says_that_nobody_outside_vouches_for_the_time(case: Case) -> None:
    proven = verify(case.archive.evidence(table([row(57)]), of_record(57)), case.keys)
    assert proven.summary[-1:] == proven.limits
    assert "Nobody outside vouches for the time" in proven.limits[0]


@pytest.mark.parametrize("which", ["case", "earlier"])
def test_no_two_fields_of_the_original_can_be_exchanged(which: str, request: pytest.FixtureRequest) -> None:
    """Whoever forges puts other fields in the place of the parties, and what the summary says of them with them."""
    known: Case = request.getfixturevalue(which)
    fields = json.loads(original(OFFSET))
    origin = known.file["parties"][0], "Origin: BANK (field /from of the original)."
    assert origin[1] in known.file["summary"]
    refused = 0
    for sender, recipient in itertools.permutations(fields, 2):
        if (sender, recipient) == ("from", "to"):
            continue
        file = known.file
        for at, (role, path) in enumerate((("origin", sender), ("destination", recipient))):
            file["parties"][at] = {"role": role, "pointer": f"/{path}", "value": fields[path]}
            line = f"{role.capitalize()}: {fields[path]} (field /{path} of the original)."
            file["summary"][2 + at] = line
        if which == "case":
            assert "not those that the declaration finds" in known.refused(file)
            refused += 1
        else:  # what a log of version 1 does not prove, the answer says
            limits = verify(json.dumps(file).encode(), known.keys).limits
            assert "Not proven is who is origin and who is destination" in limits[0]
    assert refused == (5 if which == "case" else 0)


@pytest.mark.parametrize(
    ("more", "data", "parties"),
    [
        (
            {"encoding": "csv", "columns": ["from", "to"]},
            b'"BANK, Ltd",923001200012\r',
            ["BANK, Ltd", "923001200012"],
        ),
        ({}, b'\xef\xbb\xbf{"to":923001200012,"from":"BANK"}', ["BANK", "923001200012"]),
        ({}, b'{"to":"1","to":"2","from":"BANK"}', ["BANK"]),
        ({}, b'{"to":{"x":1},"from":["BANK"]}', []),
        ({}, b"no JSON", []),
        ({"unwrap": ["detail"]}, b'{"detail":{"to":"1","from":"2"}}', []),
        ({"ignore_case": True}, b'{"TO":"1","FROM":"2"}', []),
    ],
)
def test_an_original_of_any_shape(case: Case, more: dict[str, Any], data: bytes, parties: list[str]) -> None:
    declared = json.dumps({**json.loads(DECLARATION), **more}).encode()
    hashed = sha256(verify_evidence.DOMAIN + salt(SALT_KEY, name(3)) + data).digest()
    values = [row(n) | ({"integrity_hash": hashed} if n == 3 else {}) for n in range(5)]
    archive = Archive.of(values, 5, case.archive.signer, declarations=[sha256(declared).digest()])
    given = Original(data, salt(SALT_KEY, name(3)), declaration=declared)
    file = archive.evidence(table([values[3]]), given)
    proven = verify(file, case.keys)
    assert [party["value"] for party in json.loads(file).get("parties", [])] == parties
    shaped = any(
        "of a shape in which origin and destination are not looked for" in line for line in proven.limits
    )
    assert shaped == bool(more.keys() & {"unwrap", "ignore_case"})


def test_a_declaration_that_was_not_logged_proves_nothing(case: Case) -> None:
    swapped = (
        DECLARATION.decode().replace('"path":"to"', '"path":"x"').replace('"path":"from"', '"path":"to"')
    )
    swapped = swapped.replace('"path":"x"', '"path":"from"')
    assert "not one that was logged" in case.refused(case.file | {"declaration": swapped})
    file = case.file
    file["entry"]["declarations"] = [sha256(swapped.encode()).hexdigest()]
    assert "does not lead to the root" in case.refused(file | {"declaration": swapped})


def test_who_leaves_the_declaration_out_gets_nobody_named(case: Case) -> None:
    bare = {k: v for k, v in case.file.items() if k not in ("declaration", "parties")}
    assert case.refused(bare)
    given = Original(original(OFFSET), salt(SALT_KEY, name(OFFSET)))
    proven = verify(case.archive.evidence(table([row(OFFSET)]), given, case.roots), case.keys, case.roots)
    assert "Destination: msisdn of an end user, not disclosed here." in proven.summary
    assert proven.limits == [
        "What the fields of the original mean is not proven: who is origin and destination."
    ]


def test_evidence_of_an_earlier_release_stays_and_says_what_it_does_not_prove(earlier: Case) -> None:
    proven = verify(earlier.data, earlier.keys)
    assert earlier.file["format"] == "lethe/evidence/v1"
    assert proven.summary == earlier.file["summary"]
    assert len(proven.limits) == 2
    assert "Not proven is who is origin" in proven.limits[0]
    for path in places(earlier.file):
        for wrong in edits(at(earlier.file, path)):
            file = copy.deepcopy(earlier.file)
            at(file, path[:-1])[path[-1]] = wrong
            if file != earlier.file or type(wrong) is not type(at(earlier.file, path)):
                assert earlier.refused(file), path


def test_a_record_inside_an_envelope(case: Case) -> None:
    values = [row(1, index) for index in range(5)]
    archive = Archive.of(values, 5, case.archive.signer)
    whole = b'{"none":" ","spare":"1","to":{"a/b~c":["923001111111"]}}'
    position = f"{name(1)}/3"
    declared = json.dumps(
        {
            "name": "example-sms-report",
            "version": 1,
            "field": [
                {"path": "none", "class": "subject", "role": "sender", "end_user": "always"},
                {"path": "spare", "class": "subject", "role": "sender", "instead_of": "to.a/b~c[]"},
                {"path": "to.a/b~c[]", "class": "subject", "role": "sender", "end_user": "always"},
            ],
        }
    ).encode()
    hashed = verify_evidence.sha256(verify_evidence.DOMAIN + salt(SALT_KEY, position) + whole).digest()
    values[3] |= {"integrity_hash": hashed, "original_form": "canonical", "recipient": "1234", "sender": None}
    archive = Archive.of(values, 5, case.archive.signer, declarations=[sha256(declared).digest()])
    given = Original(whole, salt(SALT_KEY, position), declaration=declared)
    data = archive.evidence(table([values[3]]), given)
    proven = verify(data, case.keys)
    assert proven.record == position
    assert "Origin: 923001111111 (field /to/a~1b~0c/0 of the original)." in proven.summary
    assert "Destination: business address 1234." in proven.summary
    assert "The original is in this file, without its content, in canonical JSON." in proven.summary


@pytest.mark.parametrize("given", [[0], [1], [0, 1]])
def test_either_key_is_enough_and_both_are_better(case: Case, given: list[int]) -> None:
    assert verify(case.data, [case.keys[n] for n in given]).record == name(OFFSET)


def test_who_trusts_an_earlier_key_follows_the_hand_over(case: Case) -> None:
    earlier = case.archive.signer.history.sets[0]
    assert verify(case.data, [str(earlier.ml_dsa_44)], case.roots).record == name(OFFSET)


def test_a_key_that_is_not_the_signers_proves_nothing(case: Case) -> None:
    stranger = str(Signer.generate(NAME, NOW).history.sets[0].ed25519)
    for keys in ([stranger], [case.keys[0], stranger], [], ["nonsense"], [case.keys[0][:-1]]):
        with pytest.raises(EvidenceError, match="key"):
            verify(case.data, keys)


def test_a_stamp_is_told_apart_from_one_by_a_known_authority(case: Case, tmp_path: Path) -> None:
    assert not verify(case.data, case.keys).authority_known
    stranger = Authority(tmp_path)
    with pytest.raises(EvidenceError, match="not by the authority that you trust"):
        verify(case.data, case.keys, stranger.roots)


def edits(value: Any) -> Iterator[Any]:
    """A few near misses of a value."""
    if isinstance(value, bool):
        yield not value
        yield int(value)
    elif isinstance(value, int):
        yield from (value + 1, -1, str(value), float(value), 1 << 70, value == 1 or None)
    elif isinstance(value, str):
        middle = len(value) // 2
        flipped = chr(ord(value[middle]) ^ 1) if value else "x"
        yield from (
            value[:middle] + flipped + value[middle + 1 :],
            value + "0",
            value[:-1] or "y",
            "",
            None,
            7,
        )
        yield value.swapcase() if value.swapcase() != value else value + " "
        yield "\ud800"
    elif isinstance(value, list):
        yield from (value[:-1], [*value, *value[-1:]] if value else ["x"], None, {})
        if value != value[::-1]:
            yield value[::-1]
    else:
        yield from (None, [], {})


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every field, at every depth."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inside in items:
        yield from places(inside, (*path, step))


def at(file: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        file = file[step]
    return file


def test_no_field_can_be_edited(case: Case) -> None:
    count = 0
    for path in places(case.file):
        for wrong in edits(at(case.file, path)):
            file = copy.deepcopy(case.file)
            at(file, path[:-1])[path[-1]] = wrong
            if file != case.file or type(wrong) is not type(at(case.file, path)):
                assert case.refused(file), path
                count += 1
    assert count > 400


def test_no_field_can_be_removed_or_added(case: Case) -> None:
    for path in places(case.file):
        file = copy.deepcopy(case.file)
        del at(file, path[:-1])[path[-1]]
        assert case.refused(file), path
    for path in [(), *(p for p in places(case.file) if isinstance(at(case.file, p), dict))]:
        file = copy.deepcopy(case.file)
        at(file, path)["month"] = "2026-01"
        assert "month" in case.refused(file)


def test_every_flipped_byte_in_every_field_is_noticed(case: Case) -> None:
    for path in places(case.file):
        value = at(case.file, path)
        if not isinstance(value, str):
            continue
        step = max(1, len(value) // 40)
        for place in range(0, len(value), step):
            file = copy.deepcopy(case.file)
            changed = value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]
            at(file, path[:-1])[path[-1]] = changed
            assert case.refused(file), path


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("format",), "lethe/evidence/v3", "format"),
        (("row", "status"), "REJECTED", "row_proof does not lead to the root"),
        (("row", "price"), "0.5", "price is not a decimal"),
        (("row", "event_time"), "2026-01-20 08:30:27", "event_time is not a date"),
        (("row", "parts"), 2**31, "parts is not a number of 32 bits"),
        (("row", "partition"), 4, "row and entry differ in partition"),
        (("row", "offset"), 99, "not one that the log entry covers"),
        (("entry", "count"), 6, "does not lead to the root"),
        (("entry", "version"), 9, "entry_proof does not lead to the root"),
        (("entry", "months"), ["2026-02", "2026-01"], "entry_proof does not lead to the root"),
        (("original", "form"), "canonical", "form of the original"),
        (("original", "bytes"), "AAAA", "not the one that was hashed"),
        (("original", "salt"), "AAAA", "salt is not 16 bytes"),
        (("parties", 0, "role"), "destination", "not those that the declaration finds"),
        (("parties", 0, "pointer"), "/to", "not those that the declaration finds"),
        (("parties", 0, "value"), "SHOP", "not those that the declaration finds"),
        (("entry", "outside", "count"), 6, "entry_proof does not lead to the root"),
        (("declaration",), "{}", "not one that was logged"),
        (
            ("summary", 3),
            "Destination: 1 (field /to of the original).",
            "summary is not what the record says",
        ),
    ],
)
def test_the_reason_names_what_does_not_hold(
    case: Case, path: tuple[Any, ...], value: Any, reason: str
) -> None:
    file = case.file
    at(file, path[:-1])[path[-1]] = value
    assert reason in case.refused(file)


def test_parts_of_other_evidence_do_not_fit(case: Case) -> None:
    archive = case.archive
    other = json.loads(archive.evidence(table([row(33)]), of_record(33), case.roots))
    later = json.loads(archive.evidence(table([row(57)])))
    assert other["checkpoint"] == case.file["checkpoint"]
    for part in ("summary", "original", "row", "row_proof", "entry", "entry_proof"):
        assert case.refused(case.file | {part: other[part]}), part
    assert case.refused(case.file | {"checkpoint": later["checkpoint"]})
    assert case.refused(case.file | {"key_history": case.file["key_history"][:1]})


def test_a_signature_by_one_more_is_refused(case: Case) -> None:
    stranger = Signer.generate("stranger", NOW)
    for path in (("checkpoint",), ("key_history", 0)):
        file = {name: value for name, value in case.file.items() if name != "time_stamp"}
        note = Note.parse(at(file, path).encode())
        extra = stranger.sign(Checkpoint.parse(note.text), NOW).signatures
        at(file, path[:-1])[path[-1]] = bytes(Note(note.text, note.signatures + extra)).decode()
        assert "more or fewer signatures" in case.refused(file)


def test_an_entry_in_the_log_of_another_partition_is_refused(case: Case) -> None:
    # Only the signer himself could make such a log.
    file = {name: value for name, value in case.file.items() if name != "time_stamp"}
    checkpoint = Checkpoint.parse(Note.parse(file["checkpoint"].encode()).text)
    elsewhere = replace(checkpoint, origin=ORIGIN.replace("/3", "/4"))
    file["checkpoint"] = bytes(case.archive.signer.sign(elsewhere, NOW)).decode()
    file["summary"] = [line.replace(ORIGIN, elsewhere.origin) for line in file["summary"][:-1]]
    assert case.refused(file) == "the checkpoint is of another log"


def test_a_swapped_time_stamp_is_refused(case: Case, authority: Authority) -> None:
    publish(case.archive.store, case.archive.signer, STREAM, PARTITION, [], NOW)
    other = stamp_of(authority, b"another checkpoint")
    assert "another checkpoint" in case.refused(case.file | {"time_stamp": other})


def stamp_of(authority: Authority, data: bytes) -> str:
    return base64.b64encode(token(authority.answer(_query(data)))).decode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b'{"format":"lethe/evidence/v1"}',
        b'{"format":"lethe/evidence/v1","format":"lethe/evidence/v1"}',
        b"[" * 100_000,
        b'{"format":' + b"1" * 10_000 + b"}",
    ],
)
def test_what_is_no_evidence_is_refused(case: Case, data: bytes) -> None:
    assert case.refused(data)


def test_a_field_twice_is_refused(case: Case) -> None:
    twice = case.data.replace(b'"offset": 12', b'"offset": 12, "offset": 12', 1)
    assert twice != case.data
    assert "twice" in case.refused(twice)


def test_white_space_and_the_order_of_fields_do_not_matter(case: Case) -> None:
    shuffled = json.dumps(dict(reversed(case.file.items())), indent=4).encode()
    assert verify(shuffled, case.keys, case.roots).summary == case.file["summary"]


def test_evidence_is_not_made_of_a_row_that_was_altered(case: Case) -> None:
    archive = case.archive
    forged = table([row(OFFSET, status="REJECTED")])
    with pytest.raises(IntegrityError, match=rf"archive row of {name(OFFSET)} is altered"):
        archive.evidence(forged)


def test_evidence_is_not_made_with_a_wrong_original_or_salt(case: Case) -> None:
    archive = case.archive
    right = of_record(OFFSET)
    for wrong in (Original(b"{}", right.salt), Original(right.data, bytes(16))):
        with pytest.raises(IntegrityError, match="not the one that was hashed"):
            archive.evidence(table([row(OFFSET)]), wrong)


def test_evidence_by_an_earlier_log_is_not_made_with_a_pointer_that_leads_nowhere(earlier: Case) -> None:
    nowhere = Original(original(OFFSET), salt(SALT_KEY, name(OFFSET)), [("origin", "/x")])
    with pytest.raises(IntegrityError, match="leads nowhere"):
        earlier.archive.evidence(table([row(OFFSET)]), nowhere)


def test_evidence_is_not_made_of_what_is_not_logged(case: Case) -> None:
    archive = case.archive
    with pytest.raises(IntegrityError, match="publish the log first"):
        archive.evidence(table([row(60)]))
    outside = Archive.of([row(1), row(2, integrity_hash=None), row(3)], 3, archive.signer)
    with pytest.raises(IntegrityError, match="not in integrity scope"):
        outside.evidence(table([row(2)]))


def test_the_original_is_not_shown_by_repr() -> None:
    assert "9230012" not in repr(of_record(OFFSET))


# The verifier as a court's expert gets it: one file.

VERIFIER = Path(verify_evidence.__file__)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of the verifier that finds nothing else of ours."""
    copied = folder / "verify_evidence.py"
    copied.write_bytes(VERIFIER.read_bytes())
    command = [sys.executable, "-I", str(copied), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_verifier_stands_alone() -> None:
    modules = set()
    for node in ast.walk(ast.parse(VERIFIER.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            modules.add((node.module or "").split(".")[0])
    assert modules - sys.stdlib_module_names == {"cryptography"}


def test_the_verifier_runs_by_itself(case: Case, authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "evidence.json").write_bytes(case.data)
    (tmp_path / "root.pem").write_bytes(b"".join(root.public_bytes(Encoding.PEM) for root in authority.roots))
    keys = [part for key in case.keys for part in ("--key", key)]

    good = run(tmp_path, "evidence.json", *keys, "--stamp-root", "root.pem", "--original", "record.json")
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.splitlines()[0] == "PROVEN: the record is unaltered since it was logged."
    assert good.stdout.splitlines()[1:] == case.file["summary"]
    assert (tmp_path / "record.json").read_bytes() == original(OFFSET)

    unknown = run(tmp_path, "evidence.json", *keys)
    assert unknown.returncode == 0
    assert "Who made the time stamp was not checked" in unknown.stdout

    (tmp_path / "forged.json").write_bytes(case.data.replace(b"BANK", b"B4NK"))
    forged = run(tmp_path, "forged.json", *keys)
    assert (forged.returncode, forged.stdout) == (1, "")
    assert forged.stderr.startswith("NOT PROVEN: ")
    assert len(forged.stderr.splitlines()) == 1

    assert run(tmp_path, "nowhere.json", *keys).returncode == 1
    assert run(tmp_path, "evidence.json").returncode == 2


def test_the_command_without_original_cannot_write_it(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = table([case.archive.rows[OFFSET]])
    data = case.archive.evidence(values, roots=case.roots)
    (tmp_path / "evidence.json").write_bytes(data)
    arguments = [str(tmp_path / "evidence.json"), "--key", case.keys[0], "--original", str(tmp_path / "out")]
    assert verify_evidence.main(arguments) == 1
    assert "not in this file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
