"""Replay of what was not JSON when it came: lines of CSV, and Avro and Protobuf in a schema registry's framing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from plant import Labelled
from registry_stub import RECORD, avro, protobuf, serving
from replay_plant import SENT, ReplayPlant
from test_replay_lands import ACME, INBOUND, compared

from lethe.streams.transform.batch import Source
from lethe.tiers.ledger.reconcile import check

FORMATS = Path(__file__).parents[2] / "schemas/formats"
LINES = (
    (FORMATS / "asterisk-master.toml")
    .read_text("utf-8")
    .replace('name = "asterisk/master"', 'name = "acme/lines"')
)
CALLS = Source("cdr", 0, "cluster/cdr/0", "acme/lines")
MESSAGES = Source("cdr", 0, "cluster/cdr/0", ACME)


def required(declaration: str, path: str) -> str:
    """The declaration, demanding a field."""
    assert f'path = "{path}"\n' in declaration
    return declaration.replace(f'path = "{path}"\n', f'path = "{path}"\nrequired = true\n')


def line(number: int, account: str) -> bytes:
    """One call to somebody in Pakistan; what the last column holds was typed by a person."""
    at = f"{SENT:%Y-%m-%d %H:%M}:{number:02d}"
    columns = [
        account, "24365", f"92300555010{number}", "from-internal", '""Sales, north"" <24365>', "SIP/a-1", "SIP/b-1",
        "Dial", "SIP/b,30", at, at, at, "30", "28", "ANSWERED", "DOCUMENTATION", f"{number}.1", "my very own words",
    ]  # fmt: skip
    return ",".join(f'"{column}"' for column in columns).encode()


@pytest.mark.parametrize("content", [True, False], ids=["content taken out", "kept as it came"])
def test_lines(tmp_path: Path, content: bool) -> None:
    """What is left of a line without its content is kept as JSON; a line that has none is kept as it came."""
    declared = LINES
    if content:
        declared = LINES.replace(
            'path = "userfield"\nclass = "window"', 'path = "userfield"\nclass = "content"'
        )
    taken: Labelled = [("good", line(n, "acme" if n % 3 else "")) for n in range(9)]
    right = ReplayPlant(tmp_path / "right")
    right.declare(declared)
    right.take_in(CALLS, right.records(CALLS, taken))

    plant = right.twin(tmp_path / "replayed")
    plant.declare(required(declared, "accountcode"))
    plant.take_in(CALLS, plant.records(CALLS, taken))
    rows = plant.table("quarantine")
    assert (len(rows), {row["form"] for row in rows}) == (3, {"stripped" if content else "received"})
    plant.declare(declared)
    assert plant.replay().records == 3
    compared(plant, right)
    assert check(plant.runtime().warehouse) == []
    assert plant.verify() == []


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.mark.parametrize("text", ["my secret", ""], ids=["with content", "without"])
def test_framed_values(tmp_path: Path, registry: str, text: str) -> None:
    """What was kept is the JSON that a framed value became, so its original is canonical, as it would have been."""
    at = f"{SENT:%Y-%m-%dT%H:%M:%S}.000+0000"
    framed = [
        encode({**RECORD, "messageId": f"m-{n}", "receivedAt": at, "text": text})
        for n, encode in enumerate([avro, protobuf] * 3)
    ]
    bare = orjson.dumps({**RECORD, "messageId": "m-bare", "receivedAt": at})
    taken: Labelled = [("good", value) for value in [*framed, bare]]
    settings = {"registry_url": registry}
    right = ReplayPlant(tmp_path / "right", settings=settings)
    right.declare(INBOUND)
    right.take_in(MESSAGES, right.records(MESSAGES, taken))

    plant = right.twin(tmp_path / "replayed")
    plant.declare(required(INBOUND, "keyword"))
    plant.take_in(MESSAGES, plant.records(MESSAGES, taken))
    assert len(plant.table("quarantine")) == len(taken)
    assert plant.table("metadata") == []
    plant.declare(INBOUND)
    assert plant.replay().records == len(taken)
    compared(plant, right)
    assert check(plant.runtime().warehouse) == []
    assert plant.verify() == []
