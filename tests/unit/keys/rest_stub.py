"""The server under the stubs of key management services: JSON in and out, a bearer token, and a way to be away."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class RestStub:
    """The service: `url`; `away`: it does not answer, and hangs up after `silent` seconds; `ahead`: of our clock."""

    token: str

    def __init__(self) -> None:
        self.away, self.silent, self.ahead = False, 0.2, timedelta()
        self._lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                if stub.away:
                    # What came in meanwhile is never done: the caller was told that it was not.
                    time.sleep(stub.silent)
                    self.close_connection = True
                    return
                if self.headers["Authorization"] != f"Bearer {stub.token}":
                    status, answer = 401, {}
                else:
                    with stub._lock:
                        status, answer = stub.ask(self.command, urlsplit(self.path), body)
                data = b"" if status == 204 else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        for method in ("GET", "POST", "DELETE"):
            setattr(Handler, f"do_{method}", Handler._answer)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass  # a client that waited no longer

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def ask(self, method: str, url: Any, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer a request: status and body."""
        raise NotImplementedError

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead
