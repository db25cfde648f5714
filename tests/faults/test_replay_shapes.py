"""A record taken out of a wrapper or a list of lists is replayed to what it would have been from the start."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from replay_plant import GOOD, SOURCE, ReplayPlant, report
from test_replay_lands import compared

SHAPED = re.sub(r'path = "(.*)"', r'path = "batch.results.\1"', GOOD).replace(
    'envelope = "results"\n', 'unwrap = "payload"\neach = "batch[].results[]"\n'
)
WITH_CONTENT = SHAPED + '\n[[field]]\npath = "batch.results.text"\nclass = "content"\n'
DEMANDING = '\n[[field]]\npath = "batch.results.mandatory"\nclass = "window"\nrequired = true\n'


def wrapped(*batches: object, text: bool = False) -> bytes:
    payload = {"batch": [{"of": "b-1", "results": batch} for batch in batches]}
    return json.dumps({"schema": None, "payload": json.dumps(payload) if text else payload}).encode()


def values() -> list[bytes]:
    one, two = report(1, text="my very own words"), report(2, mccMnc="26202")
    return [
        wrapped([one, report(3, to=None), two], [report(4, mandatory="m")]),
        wrapped([], [report(5)]),
        wrapped([report(6), 7, None], text=True),
        wrapped(),
        b"{",
        json.dumps({"payload": {"batch": {"results": report(8, text="my very own words")}}}).encode(),
    ]


@pytest.mark.parametrize("good", [SHAPED, WITH_CONTENT], ids=["as they came", "without content"])
def test_a_record_in_lists_of_lists_is_replayed_to_what_it_would_have_been(tmp_path: Path, good: str) -> None:
    labelled = [("either", value) for value in values()]
    right = ReplayPlant(tmp_path / "right")
    right.declare(good)
    taken = right.records(SOURCE, labelled)
    right.take_in(SOURCE, taken)

    plant = right.twin(tmp_path / "replayed")
    plant.declare(good + DEMANDING)
    plant.records(SOURCE, labelled)
    plant.take_in(SOURCE, taken)
    assert len(plant.table("metadata")) == 1
    plant.declare(good)
    assert plant.replay().left >= 4
    compared(plant, right)
    assert len(right.table("metadata")) == 6
    assert plant.verify() == []
    places = sorted(
        (row["offset"], row["index"]) for row in right.table("metadata") if row["index"] is not None
    )
    assert places == [(0, 0), (0, 2), (0, 3), (1, 0), (2, 0)]
