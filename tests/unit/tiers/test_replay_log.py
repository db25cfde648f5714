"""The log of replays: what is not signed yet is believed only under the name it was put by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from lethe.integrity.log.commitment import Commitment
from lethe.integrity.log.leaves import Row, decode, digest, encode_whole
from lethe.integrity.log.store import REPLAYS
from lethe.schemas.retention.calendar import Month
from lethe.tiers.evidence.log_store import LogStore
from lethe.tiers.evidence.replay_log import _its_own
from lethe.tiers.ledger.commits import LedgerEntry
from lethe.tiers.store.objects import LocalObjects


def test_a_leaf_file_under_another_name_chooses_no_rows(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    mine = [Row(offset, None, Month(2026, 1)) for offset in (3, 7)]
    hashes = [bytes([number]) * 32 for number in (1, 2)]
    right = encode_whole(mine, hashes, 0)
    forged = encode_whole([replace(one, offset=one.offset + 1) for one in mine], hashes, 0)
    root = decode(right, 0).root()
    assert decode(forged, 0).root() == root
    store = LogStore.of(objects, *REPLAYS)
    store.put(f"leaves/{digest(right).hex()}", right)
    store.put("leaves/ff", forged)
    account = LedgerEntry("cdr", 0, 0, 9, Commitment(2, root, bytes(64)), 5)
    rows = pa.table({"offset": list(range(10)), "index": pa.nulls(10, pa.int32())})
    warehouse: Any = SimpleNamespace(objects=objects)
    assert _its_own(warehouse, account, rows).column("offset").to_pylist() == [3, 7]
