"""verify, evidence, verify-evidence and the signing keys as people use them; what is left when a month is forgotten."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from datetime import timedelta
from hashlib import sha256
from hmac import digest
from pathlib import Path

import pytest
from audits import audit_entries
from integrity_authority import Authority, served
from proof_world import NOW, World, name, read

from lethe.integrity.evidence import verify_evidence
from lethe.integrity.log.stamp import http_authority, stamps
from lethe.integrity.rows.hashes import integrity_hash, salt
from lethe.keys.ring import UnknownKeyError
from lethe.operations.proof.publisher import Publisher, publication_of
from lethe.operations.settings import Integrity
from lethe.schemas.errors import ExpiredKeyError, IntegrityError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month
from lethe.streams.worker.metrics import Metrics
from lethe.tiers.evidence.log_state import log_states
from lethe.tiers.evidence.proof import evidence_of

STREAM = "cdr.sms"
LETHE = str(Path(sys.executable).with_name("lethe"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("made"))
    for seed in (1, 2):
        world.feed(STREAM, 60, seed)
    return world


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    return made.copy(tmp_path)


def lethe(home: Path, *arguments: str, status: int = 0, configured: bool = True) -> tuple[str, str]:
    env = {n: v for n, v in os.environ.items() if not n.startswith("LETHE_")}
    if configured:
        env |= {"LETHE_ROOT": str(home / "warehouse"), "LETHE_KEYS_DIR": str(home / "keys"),
                "LETHE_BOOTSTRAP": "127.0.0.1:1"}  # fmt: skip
    done = subprocess.run([LETHE, *arguments], env=env, cwd=home, capture_output=True, text=True, timeout=240)
    assert done.returncode == status, (done.stdout[-800:], done.stderr[-800:])
    return done.stdout, done.stderr


def test_from_a_record_to_its_proof_before_a_court(world: World, tmp_path: Path) -> None:
    row = world.scoped()[0][2]
    record, out = name(row), world.home / "evidence.json"
    said = json.loads(lethe(world.home, "verify", "--json")[0])
    assert said["ok"]
    assert said["rows"] == len(world.scoped())
    shown, _ = lethe(world.home, "keys", "show")
    ed25519 = next(line for line in shown.splitlines() if line.startswith("lethe+"))
    told, _ = lethe(
        world.home, "evidence", record, "--case", "F-1", "--purpose", "court order", "--out", str(out)
    )
    assert "Destination: 92" in told
    assert out.stat().st_mode & 0o777 == 0o600
    entry = audit_entries(world.home / "keys")[-1]
    assert (entry["action"], entry["record"], entry["case"]) == ("evidence", record, "F-1")
    lethe(world.home, "evidence", record, "--case", " ", "--purpose", "p", status=2)
    # Elsewhere, without configuration.
    court = tmp_path / "court"
    court.mkdir()
    proven = json.loads(
        lethe(court, "verify-evidence", str(out), "--key", ed25519, "--json", configured=False)[0]
    )
    assert proven["proven"]
    assert proven["original"]
    alone = [sys.executable, str(Path(verify_evidence.__file__)), str(out), "--key", ed25519]
    assert "PROVEN" in subprocess.run(alone, capture_output=True, text=True, cwd=court, check=True).stdout
    out.write_text(out.read_text().replace('"DELIVERED', '"REJECTED', 1))
    lethe(court, "verify-evidence", str(out), "--key", ed25519, status=1, configured=False)


def test_verify_says_what_is_wrong_with_status_1(world: World) -> None:
    path, _, row = world.scoped()[0]
    path.write_bytes(path.read_bytes()[:100])
    out, error = lethe(world.home, "verify", "--json", status=1)
    found = json.loads(out)
    assert not found["ok"]
    assert name(row) in {f["where"] for f in found["findings"]}
    assert "finding" in error
    assert "no stream is called" in lethe(world.home, "verify", "--stream", "cdr.smss", status=1)[1]


def test_an_auditor_without_the_keys_brings_the_one_he_trusts(world: World) -> None:
    key = str(world.signer.history.sets[0].ed25519)
    stranger = key.split("+")[0] + "+" + "00000000" + "+" + key.split("+", 2)[2]
    (world.home / "keys" / "log.signing").rename(world.home / "elsewhere")
    assert "--key" in lethe(world.home, "verify", status=1)[1]
    assert json.loads(lethe(world.home, "verify", "--key", key, "--json")[0])["ok"]
    lethe(world.home, "verify", "--key", stranger, status=1)


def forget(world: World) -> None:
    """Fourteen months later, the month's keys destroyed and the window's files deleted."""
    world.ahead = timedelta(days=430)
    ring = world.runtime.ring
    for month in (Month(2026, 9), Month(2026, 10)):
        ring.destroy(month)


def test_after_the_window_the_row_is_still_proven_without_its_original(world: World) -> None:
    row = world.scoped()[0][2]
    history = world.signer.history
    before = evidence_of(world.runtime.warehouse, world.runtime.ring, history, Position.parse(name(row)), NOW)
    assert before.has_original
    world.ahead = timedelta(days=430)
    for _ in range(2):
        runtime = world.runtime
        found = evidence_of(
            runtime.warehouse, runtime.ring, history, Position.parse(name(row)), runtime.clock()
        )
        assert not found.has_original
        assert "original" not in json.loads(found.file)
        proven = verify_evidence.verify(found.file, [str(history.sets[0].ed25519)])
        assert proven.original is None
        forget(world)
    assert world.verify() == []


def test_without_the_key_no_hash_leads_to_a_number(world: World) -> None:
    """Everything is left to the attacker but the month's keys: archive, log, ledger, window, key directory, the other
    evidence, even the rest of the very original, and every number the plan has below the record's operator and block.
    """
    rows = [one[2] for one in world.scoped() if one[2]["original_form"] == "received"]
    row, other = rows[0], rows[1]
    runtime = world.runtime
    history = world.signer.history
    known = json.loads(
        evidence_of(runtime.warehouse, runtime.ring, history, Position.parse(name(row)), NOW).file
    )
    handed_out = evidence_of(runtime.warehouse, runtime.ring, history, Position.parse(name(other)), NOW).file
    salt_key = runtime.ring.keys_for(Month.of(row["event_time"])).salt_key.reveal()
    from base64 import b64decode

    original = b64decode(known["original"]["bytes"])
    number = json.loads(original)["to"].lstrip("+").encode()
    assert original.count(number) == 1
    head, tail = original.split(number)
    plan = [number[:-4] + b"%04d" % n for n in range(10_000)]
    position = name(row)
    # With the key, the plan gives the number away at once: this is what the attack would look like if it worked.
    right = salt(salt_key, position)
    assert [n for n in plan if integrity_hash(right, head + n + tail) == row["integrity_hash"]] == [number]

    forget(world)
    for month in (Month(2026, 9), Month(2026, 10)):
        with pytest.raises((ExpiredKeyError, UnknownKeyError)):
            world.runtime.ring.keys_for(month)
    # 1. The secret is nowhere: not in any file that is left, not in any spelling, whole or as the salt.
    left = [p.read_bytes() for p in world.home.rglob("*") if p.is_file()] + [handed_out]
    needles = [form for secret in (salt_key, right) for form in (secret, secret.hex().encode())]
    assert not any(needle in data for needle in needles for data in left)
    # 2. Nothing that is left does the salt's work: not as a salt, not as a key of one.
    table = [read(p) for p in world.archive_files()]
    material = {h for t in table for h in t["integrity_hash"].to_pylist() if h is not None}
    material |= {bytes.fromhex(h) for h in known["row_proof"]["hashes"] + known["entry_proof"]["hashes"]}
    material |= {bytes(16), bytes(32), b64decode(json.loads(handed_out)["original"]["salt"])}
    salts = {m[:16] for m in material} | {digest(m, position.encode(), "sha256")[:16] for m in material}
    target = row["integrity_hash"]
    for candidate, guess in itertools.product(salts, [*plan[::200], number]):
        assert integrity_hash(candidate, head + guess + tail) != target
    # 3. Nor do the usual ways without a salt, over the whole block.
    for guess in plan:
        whole = head + guess + tail
        assert target not in (sha256(whole).digest(), sha256(guess).digest(), integrity_hash(b"", whole))


# -- time stamps in the publisher --------------------------------------------------------------------------------


def sample(metrics: Metrics, metric: str) -> float:
    return metrics.registry.get_sample_value(metric) or 0.0


def test_checkpoints_are_stamped_beside_the_commits(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    with served(authority.answer) as url:
        roots = tmp_path / "authority" / "root.pem"
        world = World(
            tmp_path / "site", Integrity(timestamp_url=url, timestamp_roots=roots, timestamp_seconds=3600)
        )
        world.feed(STREAM, 60, 1)
        metrics = Metrics()
        publisher = Publisher(world.runtime, metrics)
        publisher.start()
        publisher.stop()
    assert sample(metrics, "lethe_log_stamps_total") == 1
    assert world.verify(roots=authority.roots) == []
    assert world.report is not None
    assert world.report.stamps == 1
    row = world.scoped()[0][2]
    runtime = world.runtime
    history = world.signer.history
    found = evidence_of(
        runtime.warehouse, runtime.ring, history, Position.parse(name(row)), NOW, authority.roots
    )
    assert found.stamped is not None
    assert "time-stamp authority saw" in " ".join(found.summary)


def test_an_authority_that_does_not_answer_delays_the_stamp_and_nothing_else(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    roots = tmp_path / "authority" / "root.pem"
    settings = Integrity(timestamp_url="http://127.0.0.1:9/tsr", timestamp_roots=roots, timestamp_seconds=60)
    world = World(tmp_path / "site", settings)
    world.feed(STREAM, 60, 1, publish=False)
    metrics = Metrics()
    publisher = Publisher(world.runtime, metrics)
    publisher.start()
    publisher.stop()
    assert sample(metrics, "lethe_log_entries_total") == 1
    assert sample(metrics, "lethe_log_stamp_errors_total") >= 1
    assert sample(metrics, "lethe_log_unstamped") == 1
    stream = world.take_in("records.ndjson", 30, 3)  # and a file is taken in all the same
    history = world.signer.history
    late = timedelta(seconds=120)
    states = {s.name: s for s in log_states(world.runtime.warehouse, history, NOW + timedelta(hours=1), late)}
    assert states[f"{STREAM}/0"].unstamped
    assert states[f"{stream}/0"].unstamped
    assert not any(s.behind or s.trouble for s in states.values())
    # It answers again: the stamp that is made now covers everything before it.
    with served(authority.answer) as url:
        world.integrity = Integrity(timestamp_url=url, timestamp_roots=roots, timestamp_seconds=60)
        again = Metrics()
        publisher = Publisher(world.runtime, again)
        publisher.start()
        publisher.stop()
    assert sample(again, "lethe_log_stamps_total") == 2
    assert not any(
        s.unstamped for s in log_states(world.runtime.warehouse, history, NOW + timedelta(hours=1), late)
    )


def test_a_log_that_cannot_be_published_is_counted_and_traffic_goes_on(world: World) -> None:
    world.feed(STREAM, 20, 5, publish=False)
    checkpoint = world.log_folder(STREAM) / "checkpoint"
    good = checkpoint.read_bytes()
    checkpoint.write_bytes(good.replace(b"\n2\n", b"\n3\n"))
    metrics = Metrics()
    publisher = Publisher(world.runtime, metrics)
    publisher.start()
    publisher.stop()
    assert metrics.registry.get_sample_value("lethe_log_errors_total", {"stream": STREAM})
    assert sample(metrics, "lethe_log_waiting") == 1
    assert world.store(STREAM).get("trouble") is not None
    checkpoint.write_bytes(good)
    assert world.publish() == {}
    assert world.verify() == []


def test_a_round_of_stamps_is_made_in_several_goes_and_every_log_has_its_turn(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    streams = [f"cdr.s{n}" for n in range(4)]
    with served(authority.answer) as url:
        world = World(tmp_path / "site")
        for stream in streams:
            world.feed(stream, 20, 1)
        publication = publication_of(world.runtime)
        publication.unstamped.update(publication.topic_partitions())
        ask = http_authority(url, authority.roots, 10)

        def stamped() -> list[str]:
            return [s for s in streams if next(stamps(world.store(s)), None) is not None]

        for number in range(4):
            # The first log grows in every go: it must not keep the others from theirs.
            world.feed(streams[0], 20, 2 + number)
            publication.unstamped.add((streams[0], 0))
            assert publication.stamp(ask, lambda: True) == 1
            assert stamped() == streams[: number + 1]
            assert publication.stamping == 3 - number
        assert publication.unstamped == {(streams[0], 0)}, "it has grown since: that is for the next round"
        # A log that is damaged is named, and the others have their stamps all the same.
        for stream in streams[1:]:
            world.feed(stream, 20, 9)
        publication.unstamped.update(publication.topic_partitions())
        (world.log_folder(streams[1]) / "checkpoint").write_bytes(b"no checkpoint")
        with pytest.raises(IntegrityError):
            publication.stamp(ask)
    assert [len(list(stamps(world.store(s)))) for s in streams] == [2, 1, 2, 2]
    assert publication.unstamped == {(streams[1], 0)}
