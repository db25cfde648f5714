"""Files that are small and unpack to far too much are answered quickly, and nothing of them is taken in."""

from __future__ import annotations

import gzip
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lethe.operations.intake.ingest import ingest
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.errors import Interrupted, LetheError

SMS = "infobip/sms-report"


def runtime(folder: Path) -> Runtime:
    return Runtime(
        Settings(root=str(folder / "w"), keys_dir=folder / "keys"), lambda: datetime(2026, 1, 15, tzinfo=UTC)
    )


def packed(folder: Path, *parts: bytes) -> Path:
    path = folder / "records.ndjson.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for part in parts:
            file.write(part)
    return path


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((b"{}\n", *[b"\n" * 1_000_000] * 20), "lines are empty"),
        ((b'{"to":"', *[b"1" * 1_000_000] * 100, b'"}\n'), "line 1 is longer than 16 MiB"),
        ((b"{}\n{}\n", *[b" " * 1_000_000] * 17), "line 3 is longer than 16 MiB"),
    ],
)
def test_what_unpacks_to_too_much_is_refused_at_once(
    tmp_path: Path, parts: tuple[bytes, ...], said: str
) -> None:
    path, work = packed(tmp_path, *parts), runtime(tmp_path)
    begun = time.process_time()
    with pytest.raises(LetheError, match=said):
        ingest(work, str(path), SMS)
    assert time.process_time() - begun < 30
    assert work.warehouse.metadata.version == 0
    assert work.warehouse.window["quarantine"].version == 0


def test_some_empty_lines_are_records_that_are_rejected(tmp_path: Path) -> None:
    path = packed(tmp_path, b"\n" * 300)
    assert ingest(runtime(tmp_path), str(path), SMS).counts.messages == 300


def test_interrupted_it_says_what_is_in_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of the third commit."""
    path = packed(tmp_path, b"\n" * 500)
    work = Runtime(
        Settings(
            root=str(tmp_path / "w"),
            keys_dir=tmp_path / "keys",
            threads=1,
            flush={"records": 100, "batch": 100},
        ),
        lambda: datetime(2026, 1, 15, tzinfo=UTC),
    )
    commit, calls = work.warehouse.commit, list[int]()

    def interrupted(*args: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return commit(*args)

    monkeypatch.setattr(work.warehouse, "commit", interrupted)
    with pytest.raises(Interrupted, match=r": [1-4]00 lines of it or more came in") as said:
        ingest(work, str(path), SMS)
    known = int(str(said.value).rsplit(": ", 1)[1].split()[0])
    done = ingest(work, str(path), SMS)
    assert done.already == known
    assert done.already + done.counts.messages == 500
