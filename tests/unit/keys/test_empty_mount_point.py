"""A key directory that is not mounted: nothing is made in its mount point beside a warehouse that has keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.errors import ConfigurationError


def runtime(folder: Path) -> Runtime:
    return Runtime(Settings(root=str(folder / "warehouse"), keys_dir=folder / "keys"))


def test_an_empty_mount_point_beside_a_warehouse_with_keys_is_refused(tmp_path: Path) -> None:
    key = runtime(tmp_path).ring.named("ingest", create=True).salt_key.reveal()
    (tmp_path / "keys").rename(tmp_path / "away")
    (tmp_path / "keys").mkdir()
    with pytest.raises(ConfigurationError, match="is empty, but the warehouse has keys: mount or restore it"):
        runtime(tmp_path).ring.named("ingest", create=True)
    assert list((tmp_path / "keys").iterdir()) == []
    (tmp_path / "keys").rmdir()
    (tmp_path / "away").rename(tmp_path / "keys")
    assert runtime(tmp_path).ring.named("ingest", create=True).salt_key.reveal() == key


def test_an_empty_directory_beside_a_new_warehouse_is_used(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)
    assert runtime(tmp_path).ring.named("ingest", create=True)
    assert list((tmp_path / "keys").iterdir())
