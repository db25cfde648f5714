"""A stub of AWS KMS that refuses what the service refuses, by the table of key states of its documentation."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

IMPORT_KEY = generate_private_key(65537, 4096)
ID_BYTES = 36


class Refused(Exception):  # noqa: N818  (the service's word)
    def __init__(self, code: str) -> None:
        self.code = code


class AwsStub:
    """The service: `url`; `away`: it does not answer, and hangs up after `silent` seconds; `keys` by id; `clock`."""

    def __init__(self) -> None:
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.keys: dict[str, dict[str, Any]] = {}
        self.aliases: dict[str, str] = {}
        self.away, self.silent = False, 0.2
        self._lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if stub.away:  # what came in meanwhile is never done: the caller was told that it was not
                    time.sleep(stub.silent)
                    self.close_connection = True
                    return
                try:
                    assert self.headers["Authorization"].startswith("AWS4-HMAC-SHA256 ")
                    with stub._lock:
                        status, answer = 200, stub.ask(self.headers["X-Amz-Target"].split(".")[1], body)
                except Refused as refused:
                    status, answer = 400, {"__type": refused.code, "message": ""}
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass  # a client that waited no longer

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def ask(self, action: str, body: dict[str, Any]) -> dict[str, Any]:
        return getattr(self, f"on_{action}")(body) or {}

    def key(self, name: str, *states: str) -> dict[str, Any]:
        found = self.keys.get(self.aliases.get(name, name))
        if found is None:
            raise Refused("NotFoundException")
        if found["ValidTo"] and found["ValidTo"] <= self.clock() and found["KeyState"] == "Enabled":
            found.update(KeyState="PendingImport", now=None)
        if states and found["KeyState"] not in states:
            raise Refused(
                "DisabledException" if found["KeyState"] == "Disabled" else "KMSInvalidStateException"
            )
        return found

    def on_CreateKey(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        external = body.get("Origin", "AWS_KMS") == "EXTERNAL"
        key = {"KeyId": str(uuid4()), "Origin": body.get("Origin", "AWS_KMS"), "ValidTo": None, "tags": {},
               "KeyState": "PendingImport" if external else "Enabled", "first": None,
               "now": None if external else os.urandom(32), "token": None}  # fmt: skip
        self.keys[key["KeyId"]] = key
        return self.on_DescribeKey({"KeyId": key["KeyId"]})

    def on_DescribeKey(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        key = self.key(body["KeyId"])
        return {"KeyMetadata": {name: key[name] for name in ("KeyId", "Origin", "KeyState")}}

    def on_GetParametersForImport(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        key = self.key(body["KeyId"], "Enabled", "Disabled", "PendingImport")
        if key["Origin"] != "EXTERNAL":
            raise Refused("UnsupportedOperationException")
        key["token"] = os.urandom(16)
        public = IMPORT_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return {"ImportToken": b64(key["token"]), "PublicKey": b64(public), "KeyId": key["KeyId"]}

    def on_ImportKeyMaterial(self, body: dict[str, Any]) -> None:  # noqa: N802
        key = self.key(body["KeyId"], "Enabled", "Disabled", "PendingImport")
        if b64decode(body["ImportToken"]) != key["token"]:
            raise Refused("InvalidImportTokenException")
        expires = body.get("ExpirationModel", "KEY_MATERIAL_EXPIRES") == "KEY_MATERIAL_EXPIRES"
        if expires != ("ValidTo" in body):
            raise Refused("ValidationException")
        until = datetime.fromtimestamp(body["ValidTo"], UTC) if expires else None
        if until and not timedelta() < until - self.clock() <= timedelta(days=365):
            raise Refused("ValidationException")
        sealed = b64decode(body["EncryptedKeyMaterial"])
        material = IMPORT_KEY.decrypt(sealed, OAEP(MGF1(SHA256()), SHA256(), None))
        if len(material) != 32 or key["first"] not in (None, material):
            raise Refused("IncorrectKeyMaterialException")
        key.update(first=material, now=material, KeyState="Enabled", ValidTo=until)

    def on_CreateAlias(self, body: dict[str, Any]) -> None:  # noqa: N802
        name = body["AliasName"]
        if not re.fullmatch(r"alias/[a-zA-Z0-9/_-]{1,250}", name) or name.startswith("alias/aws/"):
            raise Refused("InvalidAliasNameException")
        if name in self.aliases:
            raise Refused("AlreadyExistsException")
        self.aliases[name] = self.key(body["TargetKeyId"], "Enabled", "Disabled", "PendingImport")["KeyId"]

    def on_ListAliases(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        names = sorted(self.aliases)
        start = int(body.get("Marker", 0))
        page = names[start : start + 3]  # the service gives 50: short pages show who does not ask on
        more = (
            {"NextMarker": str(start + 3), "Truncated": True}
            if start + 3 < len(names)
            else {"Truncated": False}
        )
        return {"Aliases": [{"AliasName": n, "TargetKeyId": self.aliases[n]} for n in page], **more}

    def on_Encrypt(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        key, nonce = self.key(body["KeyId"], "Enabled"), os.urandom(12)
        sealed = AESGCM(key["now"]).encrypt(nonce, b64decode(body["Plaintext"]), context(key, body))
        return {"CiphertextBlob": b64(key["KeyId"].encode() + nonce + sealed), "KeyId": key["KeyId"]}

    def on_Decrypt(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        blob = b64decode(body["CiphertextBlob"])
        key = self.key(body["KeyId"], "Enabled")
        if not 1 <= len(blob) <= 6144:
            raise Refused("ValidationException")
        named = blob[:ID_BYTES].decode("ascii", "replace")
        if named not in self.keys:
            raise Refused("InvalidCiphertextException")
        if named != key["KeyId"]:
            raise Refused("IncorrectKeyException")
        nonce, sealed = blob[ID_BYTES : ID_BYTES + 12], blob[ID_BYTES + 12 :]
        try:
            return {"Plaintext": b64(AESGCM(key["now"]).decrypt(nonce, sealed, context(key, body)))}
        except InvalidTag:
            raise Refused("InvalidCiphertextException") from None

    def on_DeleteImportedKeyMaterial(self, body: dict[str, Any]) -> None:  # noqa: N802
        key = self.key(body["KeyId"], "Enabled", "Disabled", "PendingImport")
        if key["Origin"] != "EXTERNAL":
            raise Refused("UnsupportedOperationException")
        key.update(now=None, KeyState="PendingImport")

    def on_ScheduleKeyDeletion(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if not 7 <= body.get("PendingWindowInDays", 30) <= 30:
            raise Refused("ValidationException")
        key = self.key(body["KeyId"], "Enabled", "Disabled", "PendingImport")
        key["KeyState"] = "PendingDeletion"
        return {"KeyId": key["KeyId"]}

    def on_CancelKeyDeletion(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        key = self.key(body["KeyId"], "PendingDeletion")
        key["KeyState"] = "Disabled" if key["now"] else "PendingImport"
        return {"KeyId": key["KeyId"]}

    def on_TagResource(self, body: dict[str, Any]) -> None:  # noqa: N802
        key = self.key(body["KeyId"], "Enabled", "Disabled", "PendingImport")
        key["tags"].update({t["TagKey"]: t["TagValue"] for t in body["Tags"]})

    def on_ListResourceTags(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        tags = self.key(body["KeyId"])["tags"]
        return {"Tags": [{"TagKey": k, "TagValue": v} for k, v in tags.items()], "Truncated": False}


def b64(data: bytes) -> str:
    return b64encode(data).decode()


def context(key: dict[str, Any], body: dict[str, Any]) -> bytes:
    return json.dumps([key["KeyId"], body.get("EncryptionContext", {})], sort_keys=True).encode()
