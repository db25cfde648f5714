"""Spark reads archive and ledger as the other readers do: the examples of docs/billing.md, as they stand there."""

from __future__ import annotations

import csv
import re
import tarfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bills import AGAIN, EXAMPLES, GUIDE, ROOT, expected, fill, lethe
from delta import jars
from deltalake import DeltaTable

SECOND = re.search(r"^```python\n(named = spark.*?)^```", GUIDE, re.M | re.S)
ACCOUNT = "Acme Retail Ltd"


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A month to bill, files joined, an account with a stand-in that is named."""
    home = tmp_path_factory.mktemp("billing")
    made = fill(home)
    lines = (home / "0.ndjson").read_text().splitlines()
    entity = re.compile(r'"entityId":"[^"]*"')
    (home / "named.ndjson").write_text(
        "".join(entity.sub(f'"entityId":"{ACCOUNT}"', line) + "\n" for line in lines[:30])
    )
    lethe(home, "lethe ingest named.ndjson --format infobip/sms-report")
    lethe(home, f"lethe codes approve account '{ACCOUNT}' --case B-7 --purpose bills")
    lethe(home, "lethe codes sweep")
    assert DeltaTable(made / "metadata").optimize.compact()["numFilesRemoved"] >= 2
    return made


@pytest.fixture(scope="module")
def answers(spark: Any, warehouse: Path) -> dict[str, Any]:
    """What the examples of the guide find."""
    names: dict[str, Any] = {"warehouse": str(warehouse), "jars": jars()}
    assert SECOND
    exec(EXAMPLES["Spark"], names)
    exec(SECOND[1], names)
    return names


def rows(warehouse: Path, table: str = "metadata") -> list[dict[str, Any]]:
    return list(DeltaTable(warehouse / table).to_pyarrow_table().to_pylist())


def test_the_bill_is_that_of_the_raw_records_and_of_the_other_readers(
    answers: dict[str, Any], warehouse: Path
) -> None:
    names: dict[str, Any] = {"warehouse": str(warehouse)}
    exec(EXAMPLES["DuckDB"], names)
    found = [tuple(row) for row in answers["bill"]]
    assert sorted(found, key=repr) == sorted(names["bill"], key=repr)
    assert all(isinstance(charge, Decimal) for *_, charge in found)
    fresh = [r for r in rows(warehouse) if r["account"] and r["account"].startswith("~")]
    assert fresh
    wanted = expected(warehouse, rows(warehouse))
    assert {row[:2]: row[2:] for row in found if not str(row[0]).startswith("~")} == {
        key: value for key, value in wanted.items() if not str(key[0]).startswith("~")
    }
    assert len(rows(warehouse, "adjustments")) >= AGAIN


def test_stand_ins_are_named_as_in_the_view_of_lethe(answers: dict[str, Any], warehouse: Path) -> None:
    statement = "SELECT account, count(*) AS records, sum(charge) AS charge FROM named GROUP BY ALL"
    said = csv.reader(lethe(warehouse.parent, f'lethe sql --format csv "{statement}"').splitlines()[1:])
    found = {(row["account"] or "", str(row["records"]), str(row["charge"])) for row in answers["named"]}
    assert set(map(tuple, said)) == found
    assert sum(int(records) for account, records, _ in found if account == ACCOUNT) == 30


def test_the_ledger_tells_what_was_taken_in(answers: dict[str, Any], warehouse: Path) -> None:
    assert sum(row["records"] for row in answers["taken"]) == len(rows(warehouse))
    assert [row["day"] for row in answers["taken"]] == sorted(
        {f"{row['committed_time']:%Y-%m-%d}" for row in rows(warehouse, "ledger")}
    )


def test_every_value_is_that_of_the_library(spark: Any, answers: dict[str, Any], warehouse: Path) -> None:
    """Times to the microsecond and in UTC, decimals with their places, hashes byte for byte, nulls as nulls."""
    for table in ("metadata", "ledger", "adjustments", "codes"):
        frame = spark.table(table)
        times = [name for name, kind in frame.dtypes if kind == "timestamp"]
        shown = [f"unix_micros(`{n}`) AS `{n}`" if n in times else f"`{n}`" for n in frame.columns]
        found = [row.asDict() for row in frame.selectExpr(*shown).collect()]
        wanted = rows(warehouse, table)
        for row in wanted:
            for name in times:
                row[name] = row[name] and int(row[name].timestamp()) * 1_000_000 + row[name].microsecond
        for row in found:
            row |= {name: bytes(value) for name, value in row.items() if isinstance(value, bytearray)}
        assert found
        assert sorted(map(repr, found)) == sorted(repr({n: r[n] for n in frame.columns}) for r in wanted)
    shown = spark.sql("SELECT min(date_format(event_time, 'yyyy-MM-dd HH:mm:ss')) AS t FROM metadata").first()
    assert shown["t"] == f"{min(row['event_time'] for row in rows(warehouse)):%Y-%m-%d %H:%M:%S}"


def test_columns_that_an_older_table_lacks_are_null(spark: Any, tmp_path: Path) -> None:
    with tarfile.open(ROOT / "tests" / "fixtures" / "warehouses" / "before-charges.tar.gz") as packed:
        packed.extractall(tmp_path, filter="data")
    (tmp_path / "keys").chmod(0o700)
    lethe(tmp_path, "lethe generate --format infobip/sms-report --count 20 --seed 4 --out more.ndjson")
    lethe(tmp_path, "lethe ingest more.ndjson --format infobip/sms-report")
    older = spark.read.format("delta").load(str(tmp_path / "warehouse" / "metadata"))
    older.createOrReplaceTempView("older")
    asked = "SELECT count(*), count(charge), count(ingested_at) FROM older"
    assert tuple(spark.sql(asked).first()) == (100, 20, 20)


def test_a_plain_parquet_reader_counts_twice(spark: Any, answers: dict[str, Any], warehouse: Path) -> None:
    right = spark.table("metadata").count()
    assert right == len(rows(warehouse))
    assert 1.9 * right < spark.read.parquet(str(warehouse / "metadata")).count() <= 2 * right
