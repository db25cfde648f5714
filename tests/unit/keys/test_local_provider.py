"""Key-encryption keys in a directory: made once, for their owner alone, bound to an id, gone for ever."""

from __future__ import annotations

import errno
import json
import os
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from keys_fakes import Clock, Crash, Mortal

from lethe.keys.files import make_directories
from lethe.keys.providers.local import LocalProvider
from lethe.schemas.errors import ConfigurationError, ExpiredKeyError, IntegrityError, TransientError

KEY = "2025-01.w12"
SECRET = b"thirty-two bytes of a data key.."
NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def provider(directory: Path) -> LocalProvider:
    return LocalProvider.initialise(directory, Clock(NOW))


def test_what_is_wrapped_unwraps(provider: LocalProvider) -> None:
    provider.create(KEY)
    wrapped = provider.wrap(KEY, SECRET)
    assert provider.unwrap(KEY, wrapped) == SECRET
    assert SECRET not in wrapped
    assert provider.wrap(KEY, SECRET) != wrapped


def test_making_a_key_again_leaves_it(provider: LocalProvider, directory: Path) -> None:
    provider.create(KEY)
    before = (directory / f"{KEY}.key").read_bytes()
    LocalProvider(directory).create(KEY)
    assert (directory / f"{KEY}.key").read_bytes() == before
    assert len(before) == 32
    assert os.listdir(directory) == [f"{KEY}.key"]


def test_a_key_is_for_its_owner_alone_whatever_the_umask(directory: Path) -> None:
    before = os.umask(0)
    try:
        LocalProvider.initialise(directory).create(KEY)
    finally:
        os.umask(before)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / f"{KEY}.key").stat().st_mode & 0o777 == 0o600


def test_every_changed_bit_is_refused(provider: LocalProvider) -> None:
    provider.create(KEY)
    wrapped = provider.wrap(KEY, SECRET)
    for bit in range(8 * len(wrapped)):
        changed = bytearray(wrapped)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IntegrityError):
            provider.unwrap(KEY, bytes(changed))


@pytest.mark.parametrize("length", [0, 1, 12, 13, 28])
def test_a_truncated_wrapped_key_is_refused(provider: LocalProvider, length: int) -> None:
    provider.create(KEY)
    with pytest.raises(IntegrityError, match="key directory of another warehouse"):
        provider.unwrap(KEY, provider.wrap(KEY, SECRET)[:length])


def test_wrapping_is_bound_to_the_key_id(provider: LocalProvider, directory: Path) -> None:
    provider.create(KEY)
    (directory / "2025-02.w12.key").write_bytes((directory / f"{KEY}.key").read_bytes())
    (directory / "2025-02.w12.key").chmod(0o600)
    with pytest.raises(IntegrityError):
        provider.unwrap("2025-02.w12", provider.wrap(KEY, SECRET))


def test_a_key_that_is_not_there_says_what_to_do(provider: LocalProvider, directory: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"restore the key from its backup") as error:
        provider.unwrap(KEY, b"")
    assert str(directory) in str(error.value)
    assert "\n" not in str(error.value)


def test_keys_are_listed_and_junk_is_not(provider: LocalProvider, directory: Path) -> None:
    for key_id in ("hold.7", KEY, "2024-12.w12"):
        provider.create(key_id)
    provider.destroy("2024-12.w12")
    for junk in ("notes.txt", ".hidden.key", "with space.key", ".2025-01.w12.key.0123456789abcdef.new"):
        (directory / junk).write_bytes(b"")
    assert provider.list() == [KEY, "hold.7"]
    assert str(directory) in provider.describe()


@pytest.mark.parametrize(
    "key_id", ["", "../x", "a/b", ".a", "-a", "a\n", "a b", "ä", "x" * 128, "a.destroyed"]
)
def test_an_id_that_could_leave_the_directory_is_refused(provider: LocalProvider, key_id: str) -> None:
    for method in (provider.create, provider.destroy, provider.destroyed_for_good_at):
        with pytest.raises(ValueError, match="key id"):
            method(key_id)


# What the directory has to be


def test_a_missing_directory_is_an_error_and_is_not_made(directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file or directory") as error:
        LocalProvider(directory)
    assert "\n" not in str(error.value)
    assert not directory.exists()


def test_a_directory_that_vanishes_is_an_error(provider: LocalProvider, directory: Path) -> None:
    provider.create(KEY)
    directory.rename(directory.with_name("unmounted"))
    calls: list[Callable[[], object]] = [
        lambda: provider.create(KEY),
        lambda: provider.wrap(KEY, SECRET),
        lambda: provider.unwrap(KEY, b""),
        lambda: provider.destroy(KEY),
        lambda: provider.destroyed_for_good_at(KEY),
        provider.list,
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match="cannot open the key directory"):
            call()


def test_a_file_is_no_directory(directory: Path) -> None:
    directory.touch(0o600)
    with pytest.raises(ConfigurationError, match="is not a directory"):
        LocalProvider(directory)


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o710, 0o701, 0o720, 0o777])
def test_a_directory_open_to_others_is_refused(provider: LocalProvider, directory: Path, mode: int) -> None:
    provider.create(KEY)
    directory.chmod(mode)
    for call in (provider.list, lambda: provider.wrap(KEY, SECRET), lambda: LocalProvider(directory)):
        with pytest.raises(ConfigurationError, match=f"chmod 700 {directory}"):
            call()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_file_open_to_others_is_refused(provider: LocalProvider, directory: Path, mode: int) -> None:
    provider.create(KEY)
    (directory / f"{KEY}.key").chmod(mode)
    for call in (lambda: provider.create(KEY), lambda: provider.wrap(KEY, SECRET)):
        with pytest.raises(ConfigurationError, match="chmod 600"):
            call()


def test_a_directory_of_a_named_group_makes_files_for_that_group(directory: Path) -> None:
    """Mode 2770 and the group's name in the settings: then both may, and nobody else."""
    group = str(os.getgid())
    directory.mkdir()
    directory.chmod(0o2770)
    before = os.umask(0)
    try:
        LocalProvider(directory, group=group).create(KEY)
        deeper = directory / "deeper" / "still"
        make_directories(deeper, 0o700)
    finally:
        os.umask(before)
    assert (directory / f"{KEY}.key").stat().st_mode & 0o7777 == 0o660
    assert deeper.stat().st_mode & 0o7777 == deeper.parent.stat().st_mode & 0o7777 == 0o2770
    with pytest.raises(ConfigurationError, match="keys_group"):
        LocalProvider(directory)
    with pytest.raises(ConfigurationError, match=f"chgrp {os.getgid() + 1} "):
        LocalProvider(directory, group=str(os.getgid() + 1))
    with pytest.raises(ConfigurationError, match="no group nobody-has-this-name"):
        LocalProvider(directory, group="nobody-has-this-name")


@pytest.mark.parametrize("mode", [0o2771, 0o2774, 0o770, 0o750, 0o2750])
def test_what_a_group_does_not_fully_share_is_refused(directory: Path, mode: int) -> None:
    """World access, and a group's directory in which new files would not be the group's."""
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"chmod 2770 {directory}"):
        LocalProvider(directory, group=str(os.getgid()))


def test_below_a_volume_that_is_the_groups_the_first_one_makes_it_for_the_group(tmp_path: Path) -> None:
    """As Kubernetes mounts one: its root belongs to the group of the pod (setgid), and may be read by all."""
    volume, group = tmp_path / "volume", str(os.getgid())
    volume.mkdir()
    volume.chmod(0o2775)
    before = os.umask(0o007)
    try:
        LocalProvider.initialise(volume / "own", group=group).create(KEY)
        LocalProvider.initialise(volume / "alone").create(KEY)
    finally:
        os.umask(before)
    assert (volume / "own").stat().st_mode & 0o7777 == 0o2770
    assert (volume / "own" / f"{KEY}.key").stat().st_mode & 0o777 == 0o660
    assert (volume / "alone" / f"{KEY}.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigurationError, match="open to others"):
        LocalProvider(volume, group=group)


def test_in_a_directory_for_its_owner_a_named_group_changes_nothing(directory: Path) -> None:
    LocalProvider.initialise(directory, group=str(os.getgid())).create(KEY)
    assert directory.stat().st_mode & 0o7777 == 0o700
    assert (directory / f"{KEY}.key").stat().st_mode & 0o777 == 0o600
    (directory / f"{KEY}.key").chmod(0o660)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        LocalProvider(directory, group=str(os.getgid())).wrap(KEY, SECRET)


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_damaged_key_file_is_refused(provider: LocalProvider, directory: Path, content: bytes) -> None:
    provider.create(KEY)
    (directory / f"{KEY}.key").write_bytes(content)
    with pytest.raises(ConfigurationError, match="damaged: restore it"):
        provider.wrap(KEY, SECRET)


def test_a_key_file_that_is_a_link_is_refused(provider: LocalProvider, directory: Path) -> None:
    provider.create(KEY)
    (directory / "2025-02.w12.key").symlink_to(directory / f"{KEY}.key")
    with pytest.raises(ConfigurationError, match="cannot read the key file"):
        provider.wrap("2025-02.w12", SECRET)


def test_destroying_a_link_does_not_reach_what_it_points_to(provider: LocalProvider, directory: Path) -> None:
    provider.create(KEY)
    before = (directory / f"{KEY}.key").read_bytes()
    (directory / "2025-02.w12.key").symlink_to(directory / f"{KEY}.key")
    provider.destroy("2025-02.w12")
    assert (directory / f"{KEY}.key").read_bytes() == before


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, ConfigurationError),
        (errno.EROFS, ConfigurationError),
        (errno.ENOSPC, ConfigurationError),
        (errno.EIO, TransientError),
        (errno.ESTALE, TransientError),
        (errno.ETIMEDOUT, TransientError),
    ],
)
def test_errors_of_the_system_say_whether_a_person_must_act(
    provider: LocalProvider, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    provider.create(KEY)

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        patch.setattr("builtins.open", fail)
        for call in (
            lambda: provider.create("2025-02.w12"),
            lambda: provider.unwrap(KEY, b""),
            lambda: provider.destroy("2025-02.w12"),
        ):
            with pytest.raises(kind, match=os.strerror(number)) as error:
                call()
            assert "\n" not in str(error.value)
    assert provider.list() == [KEY]


# Destruction


def test_a_destroyed_key_is_gone_and_never_comes_back(provider: LocalProvider, directory: Path) -> None:
    provider.create(KEY)
    wrapped = provider.wrap(KEY, SECRET)
    key = (directory / f"{KEY}.key").read_bytes()
    provider.destroy(KEY)
    for call in (
        lambda: provider.unwrap(KEY, wrapped),
        lambda: provider.wrap(KEY, SECRET),
        lambda: provider.create(KEY),
    ):
        with pytest.raises(ExpiredKeyError, match="was destroyed"):
            call()
    assert os.listdir(directory) == [f"{KEY}.destroyed"]
    tombstone = (directory / f"{KEY}.destroyed").read_bytes()
    assert json.loads(tombstone) == {"key_id": KEY, "destroyed": NOW.isoformat()}
    assert not any(key[i : i + 4] in tombstone for i in range(29))


def test_the_file_is_overwritten_before_it_is_removed(provider: LocalProvider, directory: Path) -> None:
    provider.create(KEY)
    os.link(directory / f"{KEY}.key", directory / "other-name-of-the-same-file")
    key = (directory / f"{KEY}.key").read_bytes()
    provider.destroy(KEY)
    left = (directory / "other-name-of-the-same-file").read_bytes()
    assert len(left) == 32
    assert left != key


def test_destroying_twice_or_nothing_succeeds_and_keeps_the_first_date(directory: Path) -> None:
    clock = Clock(NOW)
    provider = LocalProvider.initialise(directory, clock)
    provider.destroy(KEY)
    clock.advance(days=1)
    provider.destroy(KEY)
    assert json.loads((directory / f"{KEY}.destroyed").read_bytes())["destroyed"] == NOW.isoformat()
    with pytest.raises(ExpiredKeyError):
        provider.create(KEY)


def test_what_crashes_left_behind_is_destroyed_with_the_key(provider: LocalProvider, directory: Path) -> None:
    provider.create("a")
    provider.create("a.key.b")
    mine, other = (directory / f".{name}.key.0123456789abcdef.new" for name in ("a", "a.key.b"))
    for file in (mine, other):
        file.write_bytes(b"k" * 32)
    provider.destroy("a")
    assert sorted(os.listdir(directory)) == [other.name, "a.destroyed", "a.key.b.key"]


# Crashes, at each call to the operating system


def dying(
    monkeypatch: pytest.MonkeyPatch,
    mortal: Mortal,
    names: tuple[str, ...] = ("open", "link", "unlink", "fsync"),
) -> None:
    for name in names:
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, _real=real, **kwargs: mortal.call(_real, *args, **kwargs))


def calls_of(action: Callable[[LocalProvider], None], provider: LocalProvider) -> int:
    with pytest.MonkeyPatch.context() as patch:
        counting = Mortal(None, persisted=True)
        dying(patch, counting)
        action(provider)
    return counting.calls


@pytest.mark.parametrize("persisted", [False, True])
def test_a_crash_while_a_key_is_made_heals(tmp_path: Path, persisted: bool) -> None:
    count = calls_of(lambda p: p.create(KEY), LocalProvider.initialise(tmp_path / "count"))
    assert count >= 5
    for at in range(count):
        provider = LocalProvider.initialise(tmp_path / f"{at}")
        with pytest.MonkeyPatch.context() as patch:
            dying(patch, Mortal(at, persisted))
            with pytest.raises(Crash):
                provider.create(KEY)
        provider.create(KEY)
        assert provider.unwrap(KEY, provider.wrap(KEY, SECRET)) == SECRET
        provider.destroy(KEY)
        assert os.listdir(tmp_path / f"{at}") == [f"{KEY}.destroyed"]


@pytest.mark.parametrize("persisted", [False, True])
def test_a_crash_during_destruction_is_finished_by_doing_it_again(tmp_path: Path, persisted: bool) -> None:
    counted = LocalProvider.initialise(tmp_path / "count")
    counted.create(KEY)
    count = calls_of(lambda p: p.destroy(KEY), counted)
    assert count >= 6
    for at in range(count):
        provider = LocalProvider.initialise(tmp_path / f"{at}")
        provider.create(KEY)
        wrapped = provider.wrap(KEY, SECRET)
        with pytest.MonkeyPatch.context() as patch:
            dying(patch, Mortal(at, persisted))
            with pytest.raises(Crash):
                provider.destroy(KEY)
        marked = (tmp_path / f"{at}" / f"{KEY}.destroyed").exists()
        if marked:  # the decision is final although the key file may still be there
            with pytest.raises(ExpiredKeyError):
                provider.unwrap(KEY, wrapped)
            with pytest.raises(ExpiredKeyError):
                provider.create(KEY)
            # As long as its bytes may be there, it is listed and not said to be gone.
            assert (KEY in provider.list()) <= (provider.destroyed_for_good_at(KEY) is None)
        else:
            assert provider.unwrap(KEY, wrapped) == SECRET
        provider.destroy(KEY)
        # A crash may leave a tombstone in the making, which holds no key.
        left = [name for name in os.listdir(tmp_path / f"{at}") if not name.startswith(f".{KEY}.destroyed.")]
        assert left == [f"{KEY}.destroyed"]
        assert provider.list() == []
        assert provider.destroyed_for_good_at(KEY) is not None


def test_a_key_linked_beside_a_tombstone_is_removed_again(
    provider: LocalProvider, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def late(source: object, target: Path) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "link", real)
            # Another process destroys the key, and finds no key file, just before this one links it.
            (directory / f"{KEY}.destroyed").write_text("{}")
        real(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(ExpiredKeyError):
        provider.create(KEY)
    assert os.listdir(directory) == [f"{KEY}.destroyed"]


def test_destruction_that_takes_away_a_file_in_the_making_is_seen(
    provider: LocalProvider, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def late(source: object, target: object) -> None:
        monkeypatch.setattr(os, "link", real)
        LocalProvider(directory).destroy(KEY)
        real(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(ExpiredKeyError):
        provider.create(KEY)
    assert os.listdir(directory) == [f"{KEY}.destroyed"]


# Silence


def test_no_error_shows_key_material_even_with_local_variables(
    provider: LocalProvider, directory: Path
) -> None:
    provider.create(KEY)
    wrapped = bytearray(provider.wrap(KEY, SECRET))
    wrapped[-1] ^= 1
    with pytest.raises(IntegrityError) as error:
        provider.unwrap(KEY, bytes(wrapped))
    text = "".join(traceback.TracebackException.from_exception(error.value, capture_locals=True).format())
    key = (directory / f"{KEY}.key").read_bytes()
    assert "wrapped" in text
    assert repr(key)[2:-1] not in text
    assert key.hex() not in text
    assert "thirty-two bytes" not in text
