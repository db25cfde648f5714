"""One JSON request over HTTPS to a key management service."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from lethe.keys.files import explained
from lethe.schemas.errors import ConfigurationError, TransientError

TIMEOUT: Final = 5
_MOST_ANSWERED: Final = 4 << 20


def send(
    who: str, method: str, url: str, headers: dict[str, str], body: dict[str, Any] | None, timeout: float
) -> tuple[int, dict[str, Any]]:
    """Send a request; returns the status and the answer, which is empty for any status from 300 on.

    Raises `TransientError` when there is none in time, or none that can be read. `who` is named in it.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310  (checked by the settings)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            return answer.status, dict(json.loads(answer.read(_MOST_ANSWERED) or b"{}"))
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TransientError(f"{who} does not answer: {type(error).__name__}") from None


def token(who: str, file: Path | None, metadata: tuple[str, dict[str, str]], timeout: float) -> str:
    """Return an access token: from a file somebody else keeps fresh, else from the machine's metadata service."""
    if file is not None:
        with explained(f"cannot read the token file {file}"):
            return file.read_text("ascii").strip()
    status, answer = send(who, "GET", *metadata, None, timeout)
    if status != 200 or "access_token" not in answer:
        raise ConfigurationError(f"{who}: the machine has no account of its own; set token_file")
    return str(answer["access_token"])
