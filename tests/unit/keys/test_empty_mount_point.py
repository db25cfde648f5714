"""A key directory that is not mounted: nothing is made in its mount point beside a warehouse that has keys."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from retention_world import World, report

from lethe.operations.oversight import entries, verify
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.errors import ConfigurationError
from lethe.tiers.ledger import reconcile


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


@pytest.mark.parametrize("provider", ["local", "elsewhere"])
@pytest.mark.parametrize("there", [(), ("latest-time",), ("lost+found",)], ids=lambda names: "-".join(names))
def test_nothing_is_made_in_it_by_taking_in_records(
    tmp_path: Path, provider: str, there: tuple[str, ...]
) -> None:
    """Whoever holds the keys of months: what signs the log and authenticates commits lies in the directory."""
    (tmp_path / "module").mkdir(mode=0o700)
    elsewhere = {"elsewhere": {"kind": "local", "directory": str(tmp_path / "module")}}
    world = World(tmp_path, keys={"provider": provider, "providers": elsewhere})
    world.ingest([report(1, "+4915112345678", world.now - timedelta(hours=1))])
    (tmp_path / "keys").rename(tmp_path / "away")
    (tmp_path / "keys").mkdir(mode=0o700)
    for name in there:
        (tmp_path / "keys" / name).write_text("2025-01-01T00:00:00+00:00\n")
    for days in (1, 40):  # of the same month, and of one that has no key yet
        for _ in range(2):
            later = world.now + timedelta(days=days - 1)
            with pytest.raises(ConfigurationError, match="is empty, but the warehouse has keys: mount"):
                world.ingest([report(days, "+4915112345678", later)])
    for look in (verify.verify, verify.verify_ends, lambda r: [*entries.listed(r, entries.Filter(), print)]):
        with pytest.raises(ConfigurationError, match="is empty, but the warehouse has keys: mount"):
            look(world.runtime)
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [*there]
    shutil.rmtree(tmp_path / "keys")
    (tmp_path / "away").rename(tmp_path / "keys")
    world.ingest([report(9, "+4915112345678", world.now - timedelta(hours=1))])
    assert reconcile.check(world.runtime.warehouse) == []
