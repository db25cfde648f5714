"""Replay lands what would have landed had the declaration been right from the start, and nothing else."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from plant import Labelled
from replay_plant import ACME, DEMANDING, FLAT, GOOD, SOURCE, ReplayPlant, report, values

from lethe.streams.transform.batch import Source

TABLES = ("metadata", "identifiers", "originals", "quarantine")
STAYS = ("received_time", "reason", "detail")


def compared(plant: ReplayPlant, other: ReplayPlant) -> None:
    """Every column of every table is the same, but when and why a record was rejected that stays so."""
    for table in TABLES:
        ours, theirs = (
            [{n: v for n, v in row.items() if n not in STAYS} for row in p.table(table)]
            for p in (plant, other)
        )
        assert len(ours) == len(theirs), table
        for mine, right in zip(ours, theirs, strict=True):
            assert mine == right, table


@pytest.mark.parametrize("wrong", [DEMANDING, FLAT], ids=["single records", "whole envelopes"])
def test_a_replayed_record_is_what_it_would_have_been(tmp_path: Path, wrong: str) -> None:
    right = ReplayPlant(tmp_path / "right")
    right.declare(GOOD)
    taken = right.records(SOURCE, values())
    right.take_in(SOURCE, taken)
    right.judge()

    plant = right.twin(tmp_path / "replayed")
    plant.declare(wrong)
    plant.records(SOURCE, values())
    plant.take_in(SOURCE, taken)
    before = len(plant.table("quarantine"))
    plant.declare(GOOD)
    done = plant.replay()
    assert done.left > 10
    assert done.left + sum(done.stays.values()) == done.tried == before
    verdict = plant.judge()
    assert verdict.archived == len(right.table("metadata"))
    compared(plant, right)
    assert plant.verify() == []
    assert any(row["in_scope"] for row in plant.moved())

    again = plant.replay()
    assert (again.left, again.records) == (0, 0)
    assert again.stays.total() == again.tried == len(plant.table("quarantine"))
    compared(plant, right)
    assert plant.verify() == []


INBOUND = (
    (Path(__file__).parents[2] / "schemas/formats/infobip-sms-inbound.toml")
    .read_text("utf-8")
    .replace('name = "infobip/sms-inbound"', f'name = "{ACME}"')
)
TWO_KINDS = """
name = "acme/mixed"
version = 1
title = "Two kinds on one topic"
by_field = "kind"

[kinds]
inbound = "infobip/sms-inbound"
voice = "infobip/voice-report"
"""


def inbound(number: int, sender: str, **more: Any) -> bytes:
    """A message somebody in Pakistan has sent: it has content."""
    sent = report(number)["sentAt"]
    record = {
        "results": [
            {"from": sender, "to": "3456", "messageId": f"i-{number}", "text": "my very own words", "receivedAt": sent,
             "smsCount": 1, "price": {"pricePerMessage": 0, "currency": "EUR"}, **more}
        ]
    }  # fmt: skip
    return json.dumps(record).encode()


def test_of_a_record_whose_content_was_taken_out_the_original_is_canonical(tmp_path: Path) -> None:
    """What was kept are not the bytes that were received, so nothing may say so."""
    taken: Labelled = [("good", inbound(n, f"92300555010{n}")) for n in range(4)]
    alone = [("good", json.dumps(json.loads(v or b"")["results"][0]).encode()) for _, v in taken]
    everything = [*taken, *alone]
    right = ReplayPlant(tmp_path / "right")
    right.declare(INBOUND)
    right.take_in(SOURCE, right.records(SOURCE, everything))

    plant = right.twin(tmp_path / "replayed")
    keyword = 'path = "demanded"\nclass = "window"\nrequired = true\n\n[[field]]\n'
    plant.declare(INBOUND.replace('path = "smsCount"', f'{keyword}path = "smsCount"'))
    plant.take_in(SOURCE, plant.records(SOURCE, everything))
    rows = plant.table("quarantine")
    assert {row["form"] for row in rows} == {"stripped"}
    plant.declare(INBOUND)
    assert plant.replay().records == len(everything)
    assert {row["original_form"] for row in plant.table("metadata")} == {"canonical"}
    compared(plant, right)
    assert plant.verify() == []


def test_a_record_of_an_unknown_kind_is_judged_by_what_its_topic_is_today(tmp_path: Path) -> None:
    mixed = Source("cdr", 0, "cluster/cdr/0", "acme/mixed")
    plant = ReplayPlant(tmp_path)
    plant.declare(TWO_KINDS)
    taken = [("good", json.dumps(report(n, kind="report")).encode()) for n in range(3)]
    plant.take_in(mixed, plant.records(mixed, taken))
    assert {row["reason"] for row in plant.table("quarantine")} == {"unknown_kind"}
    plant.declare(TWO_KINDS, GOOD)
    assert plant.replay().records == 3
    plant.judge()


def test_a_record_without_a_declaration_stays_and_says_so(tmp_path: Path) -> None:
    plant = ReplayPlant(tmp_path)
    plant.declare(DEMANDING)
    plant.take_in(SOURCE, plant.records(SOURCE, [("good", json.dumps(report(1)).encode())]))
    plant.declare()
    assert plant.replay().stays == {"no_declaration": 1}


def test_an_element_stays_when_there_is_no_envelope_any_more(tmp_path: Path) -> None:
    plant = ReplayPlant(tmp_path)
    plant.declare(DEMANDING)
    plant.take_in(
        SOURCE, plant.records(SOURCE, [("good", json.dumps({"results": [report(1), report(2)]}).encode())])
    )
    plant.declare(FLAT)
    assert plant.replay().stays == {"no_envelope": 2}
    plant.declare(GOOD)
    assert plant.replay().records == 2
    plant.judge()


def test_only_what_is_wanted_is_tried(tmp_path: Path) -> None:
    plant = ReplayPlant(tmp_path)
    plant.declare(DEMANDING)
    plant.take_in(
        SOURCE, plant.records(SOURCE, [("good", json.dumps(report(1)).encode()), ("not_json", b"{")])
    )
    plant.declare(GOOD)
    assert plant.replay(reason="not_json").stays == {"not_json": 1}
    assert plant.replay(fmt="infobip/voice-report").tried == 0
    assert plant.replay(reason="missing_field", fmt=ACME).records == 1
    plant.judge()


def test_a_dry_run_says_the_same_and_changes_nothing(tmp_path: Path) -> None:
    plant = ReplayPlant(tmp_path)
    plant.declare(DEMANDING)
    plant.take_in(SOURCE, plant.records(SOURCE, values(60)))
    plant.declare(GOOD)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    would = plant.replay(dry_run=True)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert would == plant.replay()
    assert would.records > 0


def test_a_value_that_was_not_kept_is_no_longer_readable(tmp_path: Path) -> None:
    """Of a record whose month had ended when it came nothing is kept; of a month that is over nothing opens."""
    plant = ReplayPlant(tmp_path)
    plant.declare(DEMANDING)
    ended = json.dumps(report(1, sentAt="2020-01-01T00:00:00.000+0000")).encode()
    kept = json.dumps(report(2)).encode()
    plant.take_in(SOURCE, plant.records(SOURCE, [("late", ended), ("good", kept)]))
    plant.declare(GOOD)
    assert plant.replay(dry_run=True).unreadable == 1
    plant.ahead = timedelta(days=500)
    done = plant.replay()
    assert (done.tried, done.unreadable) == (0, 2)


def test_a_record_that_became_late_meanwhile_lands_without_its_identifiers(tmp_path: Path) -> None:
    """Rejected for its time, it is kept under the month it came in; its own month is over by now."""
    plant = ReplayPlant(tmp_path)
    plant.declare(GOOD.replace('path = "sentAt"', 'path = "sentOn"'))
    old = report(1)
    old["sentAt"] = "2024-01-05T00:00:00.000+0000"
    plant.take_in(SOURCE, plant.records(SOURCE, [("late", json.dumps(old).encode())]))
    plant.declare(GOOD)
    done = plant.replay()
    assert (done.records, done.late, done.identifiers) == (1, 1, 0)
    assert plant.table("identifiers") == plant.table("quarantine") == []
    plant.judge()
    assert plant.verify() == []
