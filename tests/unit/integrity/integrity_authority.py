"""A real time-stamp authority for tests: `openssl ts` behind a small HTTP server on loopback."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

from cryptography import x509

CONFIG = """
[tsa]
default_tsa = authority
[authority]
dir = {folder}
serial = {folder}/serial
signer_cert = {folder}/signer.pem
signer_key = {folder}/signer.key
{certs}
default_policy = 1.2.3.4.1
other_policies = 1.2.3.4.2
digests = sha256, sha384, sha512
signer_digest = {digest}
accuracy = secs:1
ordering = no
tsa_name = no
ess_cert_id_chain = no
ess_cert_id_alg = {ess}
"""
EXTENSIONS = (
    "extendedKeyUsage=critical,{usage}\nkeyUsage=critical,digitalSignature\nbasicConstraints=CA:FALSE\n"
)


class Authority:
    """Keys and certificates of an authority, and `openssl ts` to answer with."""

    def __init__(
        self,
        folder: Path,
        key: str = "rsa:2048",
        digest: str = "sha256",
        ess: str = "sha256",
        chain: bool = False,
        extra: str = "root.pem",
    ) -> None:
        assert shutil.which("openssl"), "these tests need the openssl command line tool"
        self.folder = folder
        folder.mkdir(exist_ok=True)
        new = ["-newkey", *key.split(), "-nodes"]
        self.openssl(
            "req", "-x509", *new, "-keyout", "root.key", "-out", "root.pem", "-subj", "/CN=Test root"
        )
        self.openssl("req", *new, "-keyout", "signer.key", "-out", "signer.csr", "-subj", "/CN=Test stamps")
        (folder / "extensions").write_text(EXTENSIONS.format(usage="timeStamping"))
        (folder / "serial").write_text("01\n")
        issued = ["-in", "signer.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial"]
        self.openssl("x509", "-req", *issued, "-extfile", "extensions", "-out", "signer.pem")
        certs = f"certs = {folder}/{extra}" if chain else ""
        config = CONFIG.format(folder=folder, certs=certs, digest=digest, ess=ess)
        (folder / "tsa.cnf").write_text(config)
        self.roots = x509.load_pem_x509_certificates((folder / "root.pem").read_bytes())

    def openssl(self, *arguments: str) -> None:
        """Run the command line tool in the folder of the authority."""
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def answer(self, query: bytes) -> bytes:
        """The response to a time-stamp request."""
        (self.folder / "query").write_bytes(query)
        self.openssl("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "reply")
        return (self.folder / "reply").read_bytes()


@contextmanager
def served(answer: object) -> Iterator[str]:
    """The URL of a server that answers POSTs with `answer(body)`; a number is an HTTP error."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/timestamp-query"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            reply = answer(body)  # type: ignore[operator]
            if isinstance(reply, int):
                self.send_error(reply)
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/tsr"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
