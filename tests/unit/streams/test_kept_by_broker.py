"""What the broker keeps of the source topics: asked for certificates, and judged by doctor."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Producer

from lethe.console.cli.running.operate import _long_kept, _stamped
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.errors import TransientError
from lethe.streams.broker import kept as asking
from lethe.testing.brokers.embedded import EmbeddedBroker

DAY = 86_400_000


def settings(folder: Path, bootstrap: str) -> Settings:
    sources = {"cdr": "infobip/sms-report", "calls": "infobip/voice-report"}
    return Settings(root=str(folder / "w"), keys_dir=folder / "keys", bootstrap=bootstrap, sources=sources)


def test_the_earliest_offset_of_each_partition_is_asked_for(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        producer.produce("cdr", b"one")
        producer.flush()
        found = asking.kept(settings(tmp_path, broker.bootstrap), ["cdr/0", "file-1/0", "elsewhere/3"])
        del producer
    assert set(found) == {"cdr/0"}
    assert found["cdr/0"]["earliest_offset"] == 0


def test_who_does_not_answer_is_not_waited_for_long(tmp_path: Path) -> None:
    with pytest.raises(TransientError):
        asking.kept(settings(tmp_path, "127.0.0.1:1"), ["cdr/0"])


def test_doctor_warns_of_topics_that_keep_longer_than_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        asking, "retention_of", lambda _: {"cdr": 12 * 28 * DAY, "calls": 400 * DAY, "old": -1}
    )
    found = list(_long_kept(Runtime(settings(tmp_path, "127.0.0.1:1"))))
    assert [(c.what, c.state) for c in found] == [("topic calls", "warning"), ("topic old", "warning")]
    assert "400 days" in found[0].found
    assert "for ever" in found[1].found


@pytest.mark.parametrize(("ahead", "told"), [(730, True), (-730, True), (0, False)])
def test_doctor_holds_the_clock_against_the_newest_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: int, told: bool
) -> None:
    stamp = datetime(2026, 11, 23, 12, tzinfo=UTC)
    monkeypatch.setattr(asking, "newest_stamp", lambda _: stamp)
    now = stamp + timedelta(days=ahead, hours=1)
    found = list(_stamped(Runtime(settings(tmp_path, "127.0.0.1:1"), clock=lambda: now)))
    assert [(c.what, c.state, "stamped 2026-11-23 12:00 UTC" in c.found) for c in found] == [
        ("clock", "warning", True)
    ] * told
