"""The objects of the warehouse: a local directory or an object store. The one module that writes files there.

Locally a file is written beside its place, synced, renamed, and its directory synced: what was put is still there
after a power cut. An object store promises as much itself.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import S3Store

from lethe.keys.files import NotDurableError, create_file, make_directories, sync_directory
from lethe.keys.secret import Secret
from lethe.schemas.errors import ConfigurationError, LetheError, TransientError

_CLIENT: Final = frozenset({"allow_http", "timeout", "connect_timeout"})
_RETRIES: Final = frozenset({"max_retries"})
_STATUS: Final = re.compile(r"status code: ([0-9]{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")


class Objects(Protocol):
    """A flat store of immutable objects under relative paths."""

    root: str

    def get(self, path: str) -> bytes | None:
        """Return the object's bytes, None if there is none."""

    def get_range(self, path: str, start: int, length: int) -> bytes | None:
        """Read some of an object's bytes, fewer where it ends before; None if there is no such object."""

    def put(self, path: str, data: bytes) -> None:
        """Write an object, replacing what is there."""

    def create(self, path: str, data: bytes) -> bool:
        """Write an object unless there is one already; atomic. False if there is."""

    def swap(self, path: str, old: bytes | None, new: bytes) -> bool:
        """Replace an object that holds `old` (None: there is none); atomic. False if something else is there."""

    def delete(self, path: str) -> None:
        """Remove an object; nothing happens if there is none."""

    def list(self, prefix: str) -> list[str]:
        """Return every path below a folder, sorted."""

    def url(self, path: str) -> str:
        """Return the address of a table for a Delta reader."""

    def sync(self, path: str) -> None:
        """Make sure an object that somebody else wrote survives a power cut."""


def open_objects(root: str, options: dict[str, str], what: str = "warehouse") -> Objects:
    """Return the store at a path or URL; raises `ConfigurationError` when it cannot be used. `what` names it there."""
    scheme = urlsplit(root).scheme
    if scheme in ("", "file"):
        return LocalObjects(Path(root.removeprefix("file://")), what)
    if scheme in ("s3", "s3a"):
        return StoreObjects(root, options, what)
    raise ConfigurationError(f"{what}: {scheme}:// is not supported; use a directory or s3://bucket/prefix")


class LocalObjects:
    """Objects in a directory of this machine."""

    def __init__(self, directory: Path, what: str = "warehouse") -> None:
        self._directory = directory.resolve()
        self._what = what
        self.root = str(self._directory)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{what} {directory}: {error.strerror}; choose another place") from None
        if not os.access(self._directory, os.W_OK | os.X_OK):
            raise ConfigurationError(f"{what} {directory}: no right to write there; choose another place")

    def get(self, path: str) -> bytes | None:
        """Return the object's bytes, None if there is none."""
        try:
            return (self._directory / path).read_bytes()
        except FileNotFoundError:
            return None

    def get_range(self, path: str, start: int, length: int) -> bytes | None:
        """Read some of an object's bytes, fewer where it ends before; None if there is no such object."""
        try:
            with (self._directory / path).open("rb") as file:
                return os.pread(file.fileno(), length, start)
        except FileNotFoundError:
            return None

    def put(self, path: str, data: bytes) -> None:
        """Write an object, replacing what is there; raises `TransientError` when the disk refuses."""
        target = self._directory / path
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        try:
            make_directories(target.parent)
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            sync_directory(target.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _refused(error, self._what) from None

    def create(self, path: str, data: bytes) -> bool:
        """Write an object unless there is one already; atomic. False if there is.

        Raises `TransientError` when the disk refuses it, `LetheError` when it is there but may not last.
        """
        target = self._directory / path
        try:
            make_directories(target.parent)
            return create_file(target, Secret(data), 0o666)
        except NotDurableError as error:
            raise _not_durable(error) from error
        except OSError as error:
            raise _refused(error, self._what) from None

    def swap(self, path: str, old: bytes | None, new: bytes) -> bool:
        """Replace an object that holds `old` (None: there is none); atomic. False if something else is there.

        The lock file stays: whoever removed it could let two in at once.
        """
        target = self._directory / path
        try:
            make_directories(target.parent)
            with target.with_name(f".{target.name}.lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if self.get(path) != old:
                    return False
                self.put(path, new)
                return True
        except OSError as error:
            raise _refused(error, self._what) from None

    def delete(self, path: str) -> None:
        """Remove an object; nothing happens if there is none."""
        target = self._directory / path
        target.unlink(missing_ok=True)
        if target.parent.is_dir():
            sync_directory(target.parent)

    def list(self, prefix: str) -> list[str]:
        """Return every path below a folder, sorted; unfinished files are not listed."""
        return sorted(self._walk(prefix))

    def _walk(self, prefix: str) -> Iterator[str]:
        for folder, _, files in os.walk(self._directory / prefix):
            for name in files:
                if not name.startswith("."):
                    yield str((Path(folder) / name).relative_to(self._directory))

    def url(self, path: str) -> str:
        """Return the directory of a table."""
        return str(self._directory / path)

    def sync(self, path: str) -> None:
        """Sync a file that the table library wrote, and its directory entry."""
        try:
            with (self._directory / path).open("rb") as file:
                os.fsync(file.fileno())
            sync_directory((self._directory / path).parent)
        except OSError as error:
            raise _not_durable(error) from error


class StoreObjects:
    """Objects in an S3 bucket, or what speaks its API. Creation is a conditional put; no lock table is needed."""

    def __init__(self, root: str, options: dict[str, str], what: str = "warehouse") -> None:
        self.root = root.rstrip("/")
        config: Any = {}
        client: Any = {"allow_http": os.environ.get("AWS_ALLOW_HTTP", "")}
        retries: Any = {}
        for name, value in options.items():
            short = name.lower().removeprefix("aws_")
            if short in _CLIENT:
                client[short] = value
            elif short in _RETRIES:
                retries[short] = int(value)
            else:
                config[name.lower()] = value
        client["allow_http"] = client["allow_http"].lower() == "true"
        try:
            self._store = S3Store.from_url(
                self.root, config=config, client_options=client, retry_config=retries or None
            )
        except Exception as error:
            raise ConfigurationError(f"{what} {root}: {type(error).__name__}; check `storage`") from error

    def get(self, path: str) -> bytes | None:
        """Return the object's bytes, None if there is none."""
        try:
            return bytes(obstore.get(self._store, path).bytes())
        except FileNotFoundError:
            return None
        except obstore.exceptions.BaseError as error:
            raise _silent(error, "read") from None

    def get_range(self, path: str, start: int, length: int) -> bytes | None:
        """Read some of an object's bytes, fewer where it ends before; None if there is no such object."""
        try:
            return bytes(obstore.get_range(self._store, path, start=start, length=length))
        except FileNotFoundError:
            return None
        except obstore.exceptions.BaseError as error:
            raise _silent(error, "read") from None

    def put(self, path: str, data: bytes) -> None:
        """Write an object, replacing what is there."""
        try:
            obstore.put(self._store, path, data)
        except (FileNotFoundError, obstore.exceptions.BaseError) as error:
            raise _silent(error, "write") from None

    def create(self, path: str, data: bytes) -> bool:
        """Write an object unless there is one already; atomic. False if there is."""
        try:
            obstore.put(self._store, path, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        except (FileNotFoundError, obstore.exceptions.BaseError) as error:
            raise _silent(error, "write") from None
        return True

    def swap(self, path: str, old: bytes | None, new: bytes) -> bool:
        """Replace an object that holds `old` (None: there is none); atomic. False if something else is there."""
        try:
            mode: Any = "create"
            if old is not None:
                found = obstore.get(self._store, path)
                if bytes(found.bytes()) != old:
                    return False
                mode = {name: found.meta[name] for name in ("e_tag", "version") if found.meta.get(name)}
            obstore.put(self._store, path, new, mode=mode, use_multipart=False)
        except FileNotFoundError:
            return False
        except (AlreadyExistsError, PreconditionError):
            # Perhaps by ourselves: the client sends a request again whose answer was lost.
            return self.get(path) == new
        except obstore.exceptions.BaseError as error:
            raise _silent(error, "write") from None
        return True

    def delete(self, path: str) -> None:
        """Remove an object; nothing happens if there is none."""
        try:
            obstore.delete(self._store, path)
        except FileNotFoundError:
            return
        except obstore.exceptions.BaseError as error:
            raise _silent(error, "delete") from None

    def list(self, prefix: str) -> list[str]:
        """Return every path below a folder, sorted."""
        try:
            return sorted(
                meta["path"] for page in obstore.list(self._store, prefix=prefix or None) for meta in page
            )
        except obstore.exceptions.BaseError as error:
            raise _silent(error, "list") from None

    def url(self, path: str) -> str:
        """Return the URL of a table."""
        return f"{self.root}/{path}"

    def sync(self, path: str) -> None:
        """Do nothing: the store answered, so the object is durable."""


def _not_durable(error: OSError) -> LetheError:
    # Nothing to try again: what a disk failed to keep once, it may report as kept the next time.
    return LetheError(
        f"the warehouse could not make a commit durable: {error.strerror}; check the disk, then start again"
    )


def _silent(error: Exception, doing: str) -> TransientError:
    """Say why a request failed; its status and code are all that is passed on of what the store says."""
    said = str(error)
    status, code = _STATUS.search(said), _CODE.search(said)
    answer = " ".join(m[1] for m in (status, code) if m)
    if status is not None and status[1] in ("401", "403"):
        return TransientError(
            f"the object store refuses to {doing} ({answer}): its user lacks the right, or the credentials in "
            "`storage` are not the right ones"
        )
    if (status is not None and status[1] == "404") or isinstance(error, FileNotFoundError):
        return TransientError(
            f"the object store knows no such bucket ({answer or 404}): check `root` and the endpoint in `storage`"
        )
    if status is not None:
        return TransientError(f"the object store failed to {doing} ({answer}); try again later")
    return TransientError(f"the object store does not answer: {type(error).__name__}; is it reachable?")


def _refused(error: OSError, what: str) -> TransientError:
    return TransientError(
        f"the {what} refused a write: {error.strerror}; free space or mend the rights, then start again"
    )
