"""What goes through all data comes to the same on every engine; what dies on the way leaves nothing half-done."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from dask_cluster import DaskCluster, commands, dask_cluster, slow
from retention_world import World, report

from lethe.integrity.verify.findings import Kind
from lethe.operations import adjustments
from lethe.operations.asker import Asker
from lethe.operations.engines import open_engine
from lethe.operations.engines.dask import Dask
from lethe.operations.engines.local import Local
from lethe.operations.engines.tasks import Cluster, pack, perform_packed
from lethe.operations.proof import verify
from lethe.operations.rights import erase
from lethe.schemas.errors import ConfigurationError, LetheError, TransientError
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.certificates import certificates
from lethe.tiers.rights.spread import Notes, work_name
from lethe.tiers.window.records import open_parts

NOW = datetime.now(
    UTC
)  # workers that are processes of their own open keys, and have the clock of the machine
THEN = (NOW - timedelta(days=40)).replace(hour=12, minute=0, second=0, microsecond=0)
HERS = "+923001234567"


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with dask_cluster(tmp_path_factory.mktemp("dask")) as made:
        yield made


@pytest.fixture
def world(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> World:
    """Forty messages, each tenth reported twice and two commits apart, in shares of twenty."""
    made = make_world(integrity={"scope": "all"})
    made.now = NOW
    said = [report(at, HERS if at % 5 == 0 else f"+92300{2_000_000 + at}", THEN + timedelta(seconds=at))
            for at in range(40)]  # fmt: skip
    for part in (said[:20], said[20:], said[::10]):
        made.ingest(part)
    (made.folder / "lethe.toml").write_text(
        f'root = "{made.root}"\nkeys_dir = "{made.keys}"\nintegrity.scope = "all"\n'
    )
    monkeypatch.setattr("lethe.tiers.adjustments.find._ROWS_OF_A_SHARE", 20)
    return made


def on(world: World, engine: Any) -> Cluster:
    return Cluster(engine, str(world.root), world.folder / "lethe.toml")


def files(world: World, folder: str) -> dict[str, bytes]:
    return {p: (world.root / p).read_bytes() for p in world.paths(folder) if p.endswith(".parquet")}


def secrets_of(world: World) -> set[bytes]:
    """Keys, tokens and numbers, and how text spells them."""
    keys = [p.read_bytes() for p in world.keys.rglob("*") if p.is_file() and p.stat().st_size >= 16]
    tokens = [t for r in world.rows("identifiers") for t in (r["token"], r["message_token"]) if t is not None]
    return {*keys, *tokens, *(t.hex().encode() for t in tokens), HERS[1:].encode()}


def nothing_is_kept_of_anybody(folder: Path, secrets: set[bytes]) -> None:
    looked = [p for p in folder.rglob("*") if p.is_file()]
    assert looked
    for path in looked:
        data = path.read_bytes()
        assert not any(secret in data for secret in secrets), f"{path} holds a key, a token or a number"


def test_what_is_not_to_be_billed_is_the_same_bytes_everywhere(world: World, dask: DaskCluster) -> None:
    copy = world.copied("before")
    secrets = secrets_of(world)
    written = []
    for engine in (None, Local(2), open_engine("dask", dask.address)):
        world.restored(copy)
        (done,) = adjustments.run(world.runtime, cluster=engine and on(world, engine))
        assert (done.new, done.total) == (4, 4)
        written.append(files(world, "adjustments"))
    assert len(written[0]) > 1
    assert written[0] == written[1] == written[2]
    nothing_is_kept_of_anybody(dask.folder, secrets)


def verified(world: World, engine: Any) -> verify.Verified:
    spread = None if engine is None else on(world, engine).map
    return verify.verify(world.runtime, verify.Wanted(), lambda _done, _of: None, spread)


def test_verification_says_the_same_everywhere(
    world: World, dask: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an archive as it was logged, and of one with a row less in one file and another that cannot be read."""
    monkeypatch.setattr("lethe.tiers.evidence.parts._ROWS", 1)  # a task for each file and each stream
    secrets = secrets_of(world)
    on_dask = Dask(dask.address)
    engines = [None, Local(1), Local(2), on_dask]
    sound = [verified(world, engine) for engine in engines]
    assert sound[0].report.rows == 44
    assert sound[0].findings == []
    assert [s.report for s in sound] == [sound[0].report] * len(engines)
    fewer, torn, _ = sorted(p for p in world.paths("metadata") if p.endswith(".parquet"))
    rows = pq.read_table(world.root / fewer)
    pq.write_table(rows.slice(1), world.root / fewer)
    (world.root / torn).write_bytes((world.root / torn).read_bytes()[:-100])
    damaged = [verified(world, engine) for engine in engines]
    assert {f.kind for f in damaged[0].findings} >= {Kind.MISSING, Kind.ALTERED}
    assert [d.findings for d in damaged] == [damaged[0].findings] * len(engines)
    on_dask.close()
    nothing_is_kept_of_anybody(dask.folder, secrets)


def test_a_worker_without_the_keys_verifies_nothing(world: World) -> None:
    """It knows the public keys that the warehouse has, but not what was committed and waits to be published."""
    config = world.folder / "lethe.toml"
    config.write_text(config.read_text().replace(str(world.keys), str(world.folder / "elsewhere")))
    with pytest.raises(ConfigurationError, match="give all of them the same key directory"):
        verified(world, Local(1))


def test_a_task_of_another_release_is_refused(world: World) -> None:
    task = {"month": "2025-03", "run": 1, "share": 0, "of": 1, "now_ms": 0, "release": "lethe 0.0.1"}
    with pytest.raises(ConfigurationError, match="use one release"):
        perform_packed(pack("adjust", task, str(world.root), world.folder / "lethe.toml"))
    assert world.rows("adjustments") == []


def of_elsewhere(text: str) -> str:
    """A task that workers cannot import, as if they had no Lethe."""
    return text


def test_workers_without_lethe_are_named_in_a_line(dask: DaskCluster) -> None:
    engine = Dask(dask.address)
    with pytest.raises(ConfigurationError, match="workers of the Dask cluster"):
        list(engine.map(of_elsewhere, ["a", "b"]))
    engine.close()


def test_a_scheduler_that_dies_leaves_nothing_half_done(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("lethe.operations.engines.dask._SECONDS", 15)
    with dask_cluster(tmp_path / "mortal") as mortal:

        class Dying(Dask):
            def map(self, work: Callable[[str], str], texts: Any) -> Iterator[str]:
                threading.Timer(0.5, mortal.kill_scheduler).start()
                yield from super().map(slow, [*texts] * 400)  # more than is done by then

        engine = Dying(mortal.address)
        with pytest.raises(TransientError, match="run it again"):
            adjustments.run(world.runtime, cluster=on(world, engine))
        engine.close()
        assert caplog.text == ""
        assert world.rows("adjustments") == []
        mortal.close()
        mortal.start()
        again = Dask(mortal.address)
        assert [d.new for d in adjustments.run(world.runtime, cluster=on(world, again))] == [4]
        again.close()


OTHER = "+923002000003"
EVE = Asker.of("eve", "DSR-1", None)


def with_mentions(world: World) -> World:
    """Two records of others name her: one in a text of its own, one in its message id."""
    world.ingest([
        report(100, OTHER, THEN, callbackData=f"call back {HERS}"),
        report(101, OTHER, THEN, messageId=f"order-{HERS[1:]}-7"),
    ])  # fmt: skip
    return world


def left_of_the_window(world: World) -> dict[str, bytes]:
    return files(world, "identifiers") | files(world, "originals") | files(world, "quarantine")


def test_an_erasure_comes_to_the_same_everywhere(world: World, dask: DaskCluster) -> None:
    copy = with_mentions(world).copied("before")
    secrets = secrets_of(world)
    carried: list[str] = []

    class Listening(Local):
        def map(self, work: Callable[[str], str], texts: Any) -> Iterator[str]:
            for text, answer in zip(texts, map(work, texts), strict=True):
                assert [p for p in world.paths("_erasing") if p], "whom it is about lies in sealed notes"
                assert not world.holding(HERS[1:].encode())
                carried.extend((text, answer))
                yield answer

    outcomes = []
    for engine in (None, Listening(1), Local(2), open_engine("dask", dask.address)):
        world.restored(copy)
        spread = None if engine is None else on(world, engine).map
        preview = erase.preview_all(world.runtime, EVE, [HERS], spread=spread)
        done = erase.erase_all(world.runtime, EVE, [HERS], spread=spread)
        assert preview.months == done.months
        assert (done.total("identifiers"), done.total("mentioned")) == (12, 2)
        assert not erase.erase_all(world.runtime, EVE, [HERS], spread=spread).found
        assert world.paths("_erasing") == []
        outcomes.append((done.months, left_of_the_window(world)))
    assert outcomes[0] == outcomes[1] == outcomes[2] == outcomes[3]
    assert len(carried) > 6
    assert not any(secret.decode("latin1") in text for text in carried for secret in secrets)
    assert not any('"offset"' in text for text in carried)
    nothing_is_kept_of_anybody(dask.folder, secrets)


def test_an_erasure_whose_workers_and_coordinator_die(world: World, dask: DaskCluster) -> None:
    """A worker is killed at some moment, the coordinator at some step; asked again, all is done and nothing is left."""
    draw = random.Random(dask.port)  # another one each time
    with_mentions(world)
    others = len(world.rows("identifiers")) - 12
    secrets = secrets_of(world)
    steps = ["erase.kept", "erase.written.originals", "erase.committed.identifiers", "erase.deleted"]
    people = world.folder / "people.txt"
    people.write_text(f"{HERS}\n")
    lethe, *arguments = [w for c in commands("What runs on it") if c[1] == "erase" for w in dask.here(c)]
    command = [lethe, "--config", str(world.folder / "lethe.toml"), "--json", *arguments]
    killer = threading.Timer(draw.uniform(1, 4), dask.kill_a_worker, (draw,))
    killer.start()
    told = {"LETHE_FAIL_POINT": draw.choice(steps)}
    died = subprocess.run(
        command, env=dask.environment | told, cwd=world.folder, capture_output=True, text=True, timeout=200
    )
    killer.join()
    assert died.returncode == -signal.SIGKILL, died.stderr[-2000:]
    assert world.paths("_erasing"), "what it was about is still there, sealed"
    assert not [p for p in world.paths("_erasing") if HERS[1:].encode() in (world.root / p).read_bytes()]
    done = subprocess.run(
        command, env=dask.environment, cwd=world.folder, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["certificate"] == 0
    (certificate,) = certificates.every(world.runtime.objects)
    assert {n: certificate["counts"][n] for n in ("identifiers", "mentioned")} == {
        "identifiers": 12,
        "mentioned": 2,
    }
    assert world.found(HERS) == []
    assert world.paths("_erasing") == world.paths("_forgetting") == []
    assert len([r for r in world.rows("identifiers") if r["token"] is not None]) == others
    assert verified(world, None).findings == []
    nothing_is_kept_of_anybody(dask.folder, secrets)


def test_a_worker_without_the_keys_erases_nothing(world: World) -> None:
    config = world.folder / "lethe.toml"
    config.write_text(config.read_text().replace(str(world.keys), str(world.folder / "elsewhere")))
    before = left_of_the_window(world)
    with pytest.raises(LetheError):
        erase.erase_all(world.runtime, EVE, [HERS], spread=on(world, Local(1)).map)
    assert left_of_the_window(world) == before
    assert world.paths("_erasing") == []


def test_notes_of_erasures_that_never_began_go_with_the_next_or_within_a_day(world: World) -> None:
    (part, *_) = open_parts(world.runtime.ring, world.now)
    objects = world.runtime.objects
    for number in (HERS, OTHER):
        Notes(objects, work_name("erasure-", world.now)).people(part, (Subject("msisdn", number[1:]),))
    erase.erase_all(world.runtime, EVE, [HERS])
    assert len(world.paths("_erasing")) == 1
    world.now += timedelta(hours=23)
    world.sweep(forced=True)
    assert len(world.paths("_erasing")) == 1
    world.now += timedelta(hours=2)
    world.sweep(forced=True)
    assert world.paths("_erasing") == []
    assert len(certificates.numbers(objects)) == 1


def test_the_commands_of_the_guide_run(world: World, dask: DaskCluster) -> None:
    """Each is run against the cluster, in a process of its own."""
    answers = {}
    (world.folder / "people.txt").write_text(f"{HERS}\n")
    for words in commands("What runs on it"):
        lethe, *arguments = dask.here(words)
        done = subprocess.run(
            [lethe, "--config", str(world.folder / "lethe.toml"), "--json", *arguments],
            env=dask.environment, cwd=world.folder, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        answers[words[1]] = json.loads(done.stdout)
    assert answers.keys() == {"compact", "adjustments", "verify", "erase"}
    assert [month["identifiers"] for month in answers["erase"]["months"]] == [12]
    assert {merge["table"] for merge in answers["compact"]} >= {"identifiers", "metadata"}
    assert [month["new"] for month in answers["adjustments"]] == [4]
    assert (answers["verify"]["ok"], answers["verify"]["rows"]) == (True, 44)
