"""The store of a log, on disk and on S3: what was put stays, and only one of two that swap gets through."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from integrity_samples import NOW, Archive, rows
from moto.server import ThreadedMotoServer

from lethe.integrity.log.signing import Signer
from lethe.schemas.errors import FencedError, IntegrityError, TransientError
from lethe.tiers.evidence.log_store import LogStore, logs, publish_history, published_history
from lethe.tiers.store.object_store import StoreObjects
from lethe.tiers.store.objects import LocalObjects, Objects


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    options = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "eu-central-1", "AWS_ALLOW_HTTP": "true",
    }  # fmt: skip
    import boto3

    client = boto3.client(
        "s3", endpoint_url=options["AWS_ENDPOINT_URL"], aws_access_key_id="x", aws_secret_access_key="x",
        region_name="eu-central-1",
    )  # fmt: skip
    client.create_bucket(
        Bucket="cdr",
        CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},  # type: ignore[typeddict-item]
    )
    yield options
    server.stop()


@pytest.fixture(params=["disk", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "disk":
        return LocalObjects(tmp_path / "warehouse")
    return StoreObjects(f"s3://cdr/{tmp_path.name}", request.getfixturevalue("bucket"))


def test_what_was_put_is_never_rewritten(objects: Objects) -> None:
    store = LogStore.of(objects, "cdr~2", 7)
    store.put("tile/0/000.p/1", b"a" * 32)
    store.put("tile/0/000.p/1", b"a" * 32)
    with pytest.raises(IntegrityError, match="nothing of a log is ever rewritten"):
        store.put("tile/0/000.p/1", b"b" * 32)
    store.put("leaves/000", b"x")
    assert store.list("tile") == ["tile/0/000.p/1"]
    assert store.list("nothing") == []
    assert store.get("nothing") is None
    store.delete("leaves/000")
    store.delete("leaves/000")
    assert store.get("leaves/000") is None


def test_swap_replaces_what_was_expected_and_nothing_else(objects: Objects) -> None:
    store = LogStore.of(objects, "cdr", 0)
    with pytest.raises(FencedError):
        store.swap("checkpoint", b"1", b"2")
    store.swap("checkpoint", None, b"1")
    with pytest.raises(FencedError):
        store.swap("checkpoint", None, b"2")
    store.swap("checkpoint", b"1", b"2")
    with pytest.raises(FencedError):
        store.swap("checkpoint", b"1", b"3")
    assert store.get("checkpoint") == b"2"
    assert logs(objects) == [("cdr", 0)]


def test_of_many_that_swap_at_once_one_gets_through(tmp_path: Path) -> None:
    store = LogStore.of(LocalObjects(tmp_path), "cdr", 0)
    store.swap("checkpoint", None, b"0")

    def swap(number: int) -> bool:
        try:
            store.swap("checkpoint", b"0", b"%d" % number)
        except FencedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(swap, range(1, 17))) == 1


def test_the_chain_of_keys_is_published_once(objects: Objects) -> None:
    signer = Signer.generate("lethe", NOW)
    assert published_history(objects) is None
    publish_history(objects, signer.history)
    rotated = signer.rotate(NOW)
    publish_history(objects, rotated.history)
    publish_history(objects, signer.history)  # a worker that has not heard of it yet
    assert published_history(objects) == rotated.history
    with pytest.raises(IntegrityError, match="not those of this key directory"):
        publish_history(objects, Signer.generate("lethe", NOW).history)


def test_a_store_that_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "_log").write_text("in the way")
    with pytest.raises(TransientError):
        LogStore.of(LocalObjects(tmp_path), "cdr", 0).get("checkpoint")


def test_a_log_is_published_and_verified_on_either(objects: Objects) -> None:
    from lethe.integrity.log.entries import Log
    from lethe.integrity.log.publish import publish
    from lethe.integrity.log.store import log_origin

    archive = Archive.of(rows(7), 3)
    assert archive.commits
    store, signer = LogStore.of(objects, "sms-reports", 3), Signer.generate("lethe.example.com/cdr", NOW)
    for some in (archive.commits[:1], archive.commits):
        publish(store, signer, "sms-reports", 3, some, NOW)
    log = Log(store, signer.history, log_origin(signer.name, "sms-reports", 3))
    assert [bytes(e) for e in log.entries()] == [bytes(c.entry) for c in archive.commits]
