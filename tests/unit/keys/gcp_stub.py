"""A stub of Google Cloud KMS that refuses what the service refuses."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

RING = "projects/p/locations/europe-west3/keyRings/lethe"
TOKEN = "ya29.stub"


class GcpStub:
    """The service: `url`; `away` keeps it from answering; `ahead` is how far its clock is before ours."""

    def __init__(self) -> None:
        self.keys: dict[str, dict[str, Any]] = {}
        self.away, self.ahead = False, timedelta()
        self._lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.do("GET", {})

            def do_POST(self) -> None:
                self.do("POST", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def do(self, method: str, body: dict[str, Any]) -> None:
                while stub.away:
                    time.sleep(0.02)
                if self.headers["Authorization"] != f"Bearer {TOKEN}":
                    status, answer = 401, {}
                else:
                    with stub._lock:
                        status, answer = stub.ask(method, urlsplit(self.path), body)
                data = json.dumps(answer).encode()
                self.send_response(status)
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

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

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
            shown = {n: key[n] for n in ("state", "destroyEventTime") if n in key}
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
