"""A stub of Azure Key Vault's keys that refuses what the service refuses (REST API 7.4, soft-delete on)."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import padding, utils
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from rest_stub import RestStub

OAEP = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
PSS = padding.PSS(padding.MGF1(SHA256()), 32)
OPERATIONS = {"encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"}


def coded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def plain(text: str) -> bytes:
    assert "=" not in text
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class AzureStub(RestStub):
    """The service. `purgeable`: the vault has no purge protection. `slow`: looks at a deletion before it is done."""

    token = "eyJ0.stub"

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, dict[str, Any]] = {}  # by name in lower case: names differ by more than case
        self.deleted: dict[str, dict[str, Any]] = {}
        self.purgeable, self.slow, self.days = True, 1, 90
        self.rights = {"get", "list", "create", "delete", "purge", "sign", "wrapKey", "unwrapKey"}

    def ask(self, method: str, url: Any, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        query = parse_qs(url.query)
        if query.get("api-version") != ["7.4"]:
            return 400, {}
        self.expire()
        parts = url.path.strip("/").split("/")
        known = self.keys if parts[0] == "keys" else self.deleted if parts[0] == "deletedkeys" else None
        if known is None:
            return 404, {}
        if len(parts) == 1:
            return self.listed(parts[0], known, query)
        name = parts[1].lower()
        if not re.fullmatch(r"[0-9a-z-]{1,127}", name):
            return 400, {}
        if method == "POST" and parts[0] == "keys" and parts[2:] == ["create"]:
            return self.made(parts[1], body)
        if name not in known or (parts[0] == "deletedkeys" and self.still_deleting(known[name])):
            return 404, {}
        if method == "POST":
            return (
                self.used(known[name], *parts[2:], body)
                if len(parts) == 4 and parts[0] == "keys"
                else (404, {})
            )
        if method == "DELETE":
            return self.removed(parts[0], name)
        version = parts[2] if len(parts) == 3 else None
        if version is not None and version not in known[name]["versions"]:
            return 404, {}
        return (200, self.shown(known[name], version)) if "get" in self.rights else (403, {})

    def expire(self) -> None:
        for name, key in [*self.deleted.items()]:
            if key["purge"] <= self.now():
                del self.deleted[name]

    def still_deleting(self, key: dict[str, Any]) -> bool:
        key["looks"] -= 1
        return bool(key["looks"] >= 0)

    def shown(self, key: dict[str, Any], version: str | None = None) -> dict[str, Any]:
        version = version or [*key["versions"]][-1]
        numbers = key["versions"][version].public_key().public_numbers()
        level = "Recoverable+Purgeable" if self.purgeable else "Recoverable"
        return {
            "key": {
                "kid": f"{self.url}/keys/{key['name']}/{version}", "kty": key["kty"], "key_ops": key["key_ops"],
                "n": coded(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")), "e": "AQAB",
            },
            "attributes": {"enabled": key["enabled"], "recoveryLevel": level, "exportable": key["exportable"]},
            **({"scheduledPurgeDate": int(key["purge"].timestamp())} if "purge" in key else {}),
        }  # fmt: skip

    def listed(
        self, collection: str, known: dict[str, dict[str, Any]], query: dict[str, list[str]]
    ) -> tuple[int, dict[str, Any]]:
        if "list" not in self.rights or int(query.get("maxresults", ["25"])[0]) > 25:
            return 403, {}
        names, start = sorted(known), int(query.get("$skiptoken", ["0"])[0])
        page = {"value": [{"kid": f"{self.url}/keys/{known[n]['name']}"} for n in names[start : start + 2]]}
        more = start + 2 < len(names)
        link = f"{self.url}/{collection}?api-version=7.4&$skiptoken={start + 2}" if more else None
        return 200, {**page, "nextLink": link}

    def made(self, name: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if "create" not in self.rights:
            return 403, {}
        wrong = body["kty"] not in ("RSA", "RSA-HSM") or body["key_size"] not in (2048, 3072, 4096)
        if wrong or not set(body["key_ops"]) <= OPERATIONS:
            return 400, {}
        if name.lower() in self.deleted:  # the name is taken until it is purged
            return 409, {}
        key = self.keys.setdefault(
            name.lower(),
            {"name": name, "versions": {}, "enabled": True, "kty": body["kty"], "exportable": False},
        )
        key["key_ops"] = body["key_ops"]
        key["versions"][uuid4().hex] = generate_private_key(
            65537, 2048
        )  # a name that is there gets a new version
        return 200, self.shown(key)

    def removed(self, collection: str, name: str) -> tuple[int, dict[str, Any]]:
        if collection == "keys":
            if "delete" not in self.rights:
                return 403, {}
            key = self.deleted[name] = self.keys.pop(name)
            key.update(purge=self.now() + timedelta(days=self.days), looks=self.slow)
            return 200, self.shown(key)
        if not self.purgeable or "purge" not in self.rights:
            return 403, {}
        del self.deleted[name]
        return 204, {}

    def used(
        self, key: dict[str, Any], version: str, action: str, body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        operation = {"wrapkey": "wrapKey", "unwrapkey": "unwrapKey", "sign": "sign"}.get(action)
        if version not in key["versions"]:
            return 404, {}
        if (
            operation is None
            or operation not in key["key_ops"]
            or operation not in self.rights
            or not key["enabled"]
        ):
            return 403, {}
        private, value = key["versions"][version], plain(body["value"])
        if body["alg"] != ("PS256" if action == "sign" else "RSA-OAEP-256"):
            return 400, {}
        try:
            if action == "sign":
                done = private.sign(value, PSS, utils.Prehashed(SHA256()))
            elif action == "wrapkey":
                done = private.public_key().encrypt(value, OAEP)
            else:
                done = private.decrypt(value, OAEP)
        except ValueError:
            return 400, {}
        return 200, {"kid": f"{self.url}/keys/{key['name']}/{version}", "value": coded(done)}
