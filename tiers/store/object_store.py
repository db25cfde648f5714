"""The objects of a warehouse in an S3 bucket, or in what speaks its API."""

from __future__ import annotations

import os
import re
from typing import Any, Final

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import S3Store

from lethe.schemas.errors import ConfigurationError, TransientError

_CLIENT: Final = frozenset({"allow_http", "timeout", "connect_timeout"})
_RETRIES: Final = frozenset({"max_retries"})
_STATUS: Final = re.compile(r"status code: ([0-9]{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")


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

    def delete(self, *paths: str) -> None:
        """Remove objects, many by one request; nothing happens where there is none."""
        if not paths:
            return
        try:
            obstore.delete(self._store, paths[0] if len(paths) == 1 else paths)
        except FileNotFoundError:
            return
        except obstore.exceptions.BaseError as error:
            raise _silent(error, "delete") from None

    def list(self, prefix: str, after: str | None = None) -> list[str]:
        """Return every path below a folder, or those that come after one, sorted."""
        try:
            pages = obstore.list(self._store, prefix=prefix or None, offset=after)
            return sorted(meta["path"] for page in pages for meta in page)
        except obstore.exceptions.BaseError as error:
            raise _silent(error, "list") from None

    def marks(self, prefix: str) -> dict[str, str]:
        """Return every path below a folder with its ETag: an object with another content has another."""
        try:
            pages = obstore.list(self._store, prefix=prefix.rstrip("/"))
            return {meta["path"]: meta.get("e_tag") or "" for page in pages for meta in page}
        except obstore.exceptions.BaseError as error:
            raise _silent(error, "list") from None

    def url(self, path: str) -> str:
        """Return the URL of a table."""
        return f"{self.root}/{path}"

    def sync(self, path: str) -> bool:  # noqa: ARG002
        """Do nothing: the store answered, so the object is durable."""
        return True


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
