"""The worked examples of docs/billing.md, run as they stand there on a warehouse that has been compacted.

That of Spark is run by `make test-spark` (tests/spark).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bills import AGAIN, EXAMPLES, GUIDE, expected, fill
from deltalake import DeltaTable

LAST = re.findall(r"^```python\n(.*?)^```", GUIDE, re.M | re.S)[-2:]
ALONE = ("DuckDB", "Polars", "pyarrow", "pandas")


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A month to bill, whose small files have been joined to larger ones."""
    made = fill(tmp_path_factory.mktemp("billing"))
    assert DeltaTable(made / "metadata").optimize.compact()["numFilesRemoved"] >= 2
    return made


def said(code: str, name: str, warehouse: Path) -> Any:
    program = f"import json\nwarehouse = {str(warehouse)!r}\n{code}\nprint(json.dumps({name}, default=float))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_there_is_an_example_for_each_reader() -> None:
    assert set(EXAMPLES) == {*ALONE, "Spark"}


@pytest.mark.parametrize("reader", ALONE)
def test_every_reader_gives_the_same_bill(reader: str, warehouse: Path) -> None:
    def no_nan(value: Any) -> Any:
        return None if value != value else value

    bill = said(EXAMPLES[reader], "bill", warehouse)
    found = {
        (no_nan(account), no_nan(currency)): (records, amount) for account, currency, records, amount in bill
    }
    wanted = expected(warehouse, DeltaTable(warehouse / "metadata").to_pyarrow_table().to_pylist())
    assert len(wanted) > 5
    assert found.keys() == wanted.keys()
    for key, (records, amount) in wanted.items():
        assert found[key][0] == records
        assert found[key][1] == float(amount)


def test_what_came_twice_is_set_apart(warehouse: Path) -> None:
    assert DeltaTable(warehouse / "adjustments").to_pyarrow_table().num_rows >= AGAIN


def test_a_plain_parquet_reader_counts_twice_and_the_log_says_which_files_count(warehouse: Path) -> None:
    rows = DeltaTable(warehouse / "metadata").to_pyarrow_table().num_rows
    wrong, right = said("\n".join(LAST), "[wrong, right]", warehouse)
    assert right == rows
    assert 1.9 * rows < wrong <= 2 * rows  # each file that was joined with others is still there
