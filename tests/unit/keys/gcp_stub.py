"""A stub of Google Cloud KMS that refuses what the service refuses."""

from __future__ import annotations

import os
import re
from base64 import b64decode, b64encode
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rest_stub import RestStub

RING = "projects/p/locations/europe-west3/keyRings/lethe"
TOKEN = "ya29.stub"


class GcpStub(RestStub):
    """The service."""

    token = TOKEN

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, dict[str, Any]] = {}

    def ask(self, method: str, url: Any, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        path, query = url.path.removeprefix("/v1/"), parse_qs(url.query)
        if path == f"{RING}/cryptoKeys":
            return self.made(query["cryptoKeyId"][0], body) if method == "POST" else self.listed(query)
        match = re.fullmatch(rf"{RING}/cryptoKeys/([a-zA-Z0-9_-]{{1,63}})(.*)", path)
        if match is None or match[1] not in self.keys:
            return 404, {}
        key = self.keys[match[1]]
        if key["state"] == "DESTROY_SCHEDULED" and key["destroyTime"] <= self.now():
            key.update(state="DESTROYED", material=None, destroyEventTime=key["destroyTime"].isoformat())
        version = f"{RING}/cryptoKeys/{match[1]}/cryptoKeyVersions/1"
        if (method, match[2]) == ("GET", "/cryptoKeyVersions"):
            shown = {n: key[n] for n in ("state", "destroyEventTime", "importJob") if n in key}
            return 200, {"cryptoKeyVersions": [{"name": version, **shown}]}
        if (method, match[2]) == ("POST", "/cryptoKeyVersions/1:destroy"):
            return self.destroyed(key)
        if method == "POST" and match[2] in (":encrypt", ":decrypt"):
            return self.used(key, match[2], body)
        return 404, {}

    def made(self, name: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        wait = int(body.get("destroyScheduledDuration", "2592000s").removesuffix("s"))
        template = body["versionTemplate"]["algorithm"]
        right = body["purpose"] == "ENCRYPT_DECRYPT" and template == "GOOGLE_SYMMETRIC_ENCRYPTION"
        if not (re.fullmatch(r"[a-zA-Z0-9_-]{1,63}", name) and 86_400 <= wait <= 120 * 86_400 and right):
            return 400, {}
        if name in self.keys:  # a name is never free again
            return 409, {}
        self.keys[name] = {"state": "ENABLED", "material": os.urandom(32), "wait": timedelta(seconds=wait)}
        return 200, {"name": f"{RING}/cryptoKeys/{name}"}

    def listed(self, query: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        names, start = sorted(self.keys), int(query.get("pageToken", ["0"])[0])
        page = {"cryptoKeys": [{"name": f"{RING}/cryptoKeys/{n}"} for n in names[start : start + 3]]}
        return 200, {**page, **({"nextPageToken": str(start + 3)} if start + 3 < len(names) else {})}

    def destroyed(self, key: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if key["state"] not in ("ENABLED", "DISABLED"):
            return 400, {}
        key.update(state="DESTROY_SCHEDULED", destroyTime=self.now() + key["wait"])
        return 200, {}

    def used(self, key: dict[str, Any], action: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if key["state"] != "ENABLED":
            return 400, {}
        aad = b64decode(body.get("additionalAuthenticatedData", ""))
        if action == ":encrypt":
            nonce = os.urandom(12)
            sealed = AESGCM(key["material"]).encrypt(nonce, b64decode(body["plaintext"]), aad)
            return 200, {"ciphertext": b64encode(nonce + sealed).decode()}
        data = b64decode(body["ciphertext"])
        try:
            plain = AESGCM(key["material"]).decrypt(data[:12], data[12:], aad)
        except (InvalidTag, ValueError):
            return 400, {}
        return 200, {"plaintext": b64encode(plain).decode()}
