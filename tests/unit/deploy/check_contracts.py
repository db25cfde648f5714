"""A real warehouse held against its data contracts by the Data Contract CLI. `make contracts` runs this."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from npm_packages import installed
from workers import SMS, Site, traffic

ROOT = Path(__file__).parents[3]
CLI = Path(sys.executable).parents[1] / "contracts" / "bin" / "datacontract"


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = Site(tmp_path_factory.mktemp("contracts"))
    for number, seed in enumerate((1, 2)):
        file = site.directory / f"{number}.ndjson"
        file.write_bytes(b"\n".join(value for _, value in traffic(300, seed) if value) + b"\n")
        done = site.run("ingest", str(file), "--format", SMS)
        assert done.returncode == 0, done.stderr
    return site.root


def held(warehouse: Path, name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    assert CLI.exists(), "the Data Contract CLI is not there: make contracts"
    contract = (ROOT / "docs" / "contracts" / f"{name}.odcs.yaml").read_text()
    assert "path: warehouse/" in contract
    file = folder / f"{name}.odcs.yaml"
    file.write_text(contract.replace("path: warehouse/", f"path: {warehouse}/"))
    return subprocess.run([str(CLI), "test", str(file)], capture_output=True, text=True, timeout=200)


@pytest.mark.parametrize("name", ["archive", "ledger"])
def test_a_real_warehouse_keeps_them(name: str, warehouse: Path, tmp_path: Path) -> None:
    done = held(warehouse, name, tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]


def twice(rows: pa.Table) -> pa.Table:
    return pa.concat_tables([rows, rows.slice(0, 1)])


def nowhere(rows: pa.Table) -> pa.Table:
    return rows.drop_columns(["stream"]).append_column("stream", pa.nulls(rows.num_rows, pa.string()))


def unknown_word(rows: pa.Table) -> pa.Table:
    at = rows.schema.get_field_index("channel")
    return rows.set_column(at, "channel", pa.array(["pigeon"] * rows.num_rows))


def renamed(rows: pa.Table) -> pa.Table:
    return rows.rename_columns([{"price": "cost"}.get(name, name) for name in rows.column_names])


@pytest.mark.parametrize("violation", [twice, nowhere, unknown_word, renamed])
def test_a_planted_violation_is_found(
    violation: Callable[[pa.Table], pa.Table], warehouse: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "warehouse"
    shutil.copytree(warehouse, copy)
    files = sorted((copy / "metadata").glob("month=*/*.parquet"))
    for file in files if violation is renamed else files[:1]:
        pq.write_table(violation(pq.ParquetFile(file).read()), file)
    done = held(copy, "archive", tmp_path)
    assert done.returncode == 1, done.stdout[-3000:]
    assert "failed" in done.stdout or "invalid" in done.stdout


def test_a_ledger_that_does_not_add_up_is_found(warehouse: Path, tmp_path: Path) -> None:
    copy = tmp_path / "warehouse"
    shutil.copytree(warehouse, copy)
    file = next((copy / "ledger").glob("*.parquet"))
    rows = pq.ParquetFile(file).read()
    at = rows.schema.get_field_index("split")
    pq.write_table(rows.set_column(at, "split", pa.array([1] * rows.num_rows, pa.int64())), file)
    assert held(copy, "ledger", tmp_path).returncode == 1


def parsed(document: Path) -> subprocess.CompletedProcess[str]:
    folder = installed(Path(__file__).parent / "asyncapi")
    return subprocess.run(
        ["node", "check.js", str(document)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_parser_of_the_initiative_reads_the_document_of_the_topics() -> None:
    published = ROOT / "docs" / "contracts" / "records.asyncapi.yaml"
    done = parsed(published)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(yaml.safe_load(published.read_text())["components"]["messages"])


def test_a_document_that_is_wrong_is_not_taken_by_it(tmp_path: Path) -> None:
    document = yaml.safe_load((ROOT / "docs" / "contracts" / "records.asyncapi.yaml").read_text())
    document["operations"]["read"]["action"] = "devour"
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(document))
    done = parsed(tmp_path / "wrong.yaml")
    assert (done.returncode, "action" in done.stderr) == (1, True)
