"""The worked examples of docs/billing.md, run as they stand there on a warehouse that has been compacted."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "billing.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"^\*\*(\w+)\*\*\n\n```python\n(.*?)^```", GUIDE, re.M | re.S))
LAST = re.findall(r"^```python\n(.*?)^```", GUIDE, re.M | re.S)[-2:]
FORMATS = ("infobip/sms-report", "infobip/voice-report", "twilio/call")
COUNT = 400


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts at a price each, calls at a price a second and at one in all; small files joined to larger ones."""
    home = tmp_path_factory.mktemp("billing")
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(home),
           "LETHE_ROOT": str(home / "warehouse"), "LETHE_KEYS_DIR": str(home / "keys")}  # fmt: skip

    def run(command: str) -> None:
        done = subprocess.run(shlex.split(command), cwd=home, env=env, capture_output=True, timeout=90)
        assert done.returncode == 0, done.stderr.decode()[-2000:]

    for number, name in enumerate(FORMATS):
        file = home / f"{number}.ndjson"
        if name.startswith("infobip"):
            made = f"--count {COUNT} --seed {number} --until 2026-10-31 --out {file}"
            run(f"lethe generate --format {name} {made}")
        else:
            lines = (ROOT / "tests" / "fixtures" / "formats" / f"{name}.ndjson").read_bytes()
            file.write_bytes(re.sub(rb"\b20\d\d-\d\d-(\d\d)", rb"2026-10-\1", lines))
        run(f"lethe ingest {file} --format {name}")
    table = DeltaTable(home / "warehouse" / "metadata")
    assert table.optimize.compact()["numFilesRemoved"] >= 2
    return home / "warehouse"


def expected(warehouse: Path) -> list[tuple[Any, ...]]:
    """The same bill from the raw records, one by one and exactly: every figure is the vendor's."""
    table = DeltaTable(warehouse / "metadata").to_pyarrow_table().to_pylist()
    whose = {(r["format"], r["stream"], r["offset"]): (r["account"], r["month"]) for r in table}
    streams = {r["format"]: r["stream"] for r in table}
    found: dict[tuple[str | None, str | None], tuple[int, Decimal]] = {}
    for number, name in enumerate(FORMATS):
        for offset, line in enumerate((warehouse.parent / f"{number}.ndjson").read_bytes().splitlines()):
            record = json.loads(line, parse_float=Decimal)
            account, month = whose[name, streams[name], offset]
            currency, amount = billed(name, record)
            if month == "2026-10" and amount is not None:
                records, total = found.get((account, currency), (0, Decimal(0)))
                found[account, currency] = (records + 1, total + amount)
    return [(*key, *value) for key, value in found.items()]


def billed(name: str, record: dict[str, Any]) -> tuple[str | None, Decimal | None]:
    """What one raw record costs, as the vendor's documentation says."""
    if name == "twilio/call":
        return record["price_unit"], None if record["price"] is None else -Decimal(record["price"])
    price = record["price"]
    if name == "infobip/voice-report":
        seconds = Decimal(record["voiceCall"]["chargedDuration"])
        return price["currency"], Decimal(price["pricePerSecond"]) * seconds
    return price["currency"], Decimal(price["pricePerMessage"]) * record["messageCount"]


def said(code: str, name: str, warehouse: Path) -> Any:
    program = f"import json\nwarehouse = {str(warehouse)!r}\n{code}\nprint(json.dumps({name}, default=float))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_there_is_an_example_for_each_reader() -> None:
    assert set(EXAMPLES) == {"DuckDB", "Polars", "pyarrow", "pandas"}


@pytest.mark.parametrize("reader", EXAMPLES)
def test_every_reader_gives_the_same_bill(reader: str, warehouse: Path) -> None:
    def no_nan(value: Any) -> Any:
        return None if value != value else value

    bill = said(EXAMPLES[reader], "bill", warehouse)
    found = {
        (no_nan(account), no_nan(currency)): (records, amount) for account, currency, records, amount in bill
    }
    wanted = {
        (account, currency): (records, amount) for account, currency, records, amount in expected(warehouse)
    }
    assert len(wanted) > 5
    assert found.keys() == wanted.keys()
    for key, (records, amount) in wanted.items():
        assert found[key][0] == records
        assert found[key][1] == float(amount)


def test_a_plain_parquet_reader_counts_twice_and_the_log_says_which_files_count(warehouse: Path) -> None:
    rows = DeltaTable(warehouse / "metadata").to_pyarrow_table().num_rows
    wrong, right = said("\n".join(LAST), "[wrong, right]", warehouse)
    assert right == rows
    assert 1.9 * rows < wrong <= 2 * rows  # each file that was joined with others is still there
