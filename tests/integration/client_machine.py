"""A service in a process of its own over TLS, and the machines of people who have nothing of it but its address."""

from __future__ import annotations

import datetime
import io
import ipaddress
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lethe.console.cli.main import app
from lethe.console.cli.shell import errors_in_one_line
from lethe.testing.brokers.process import free_ports, port_is_open

LETHE = str(Path(sys.executable).with_name("lethe"))


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for this machine that is its own authority; return it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lethe.test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    there, secret = folder / "certificate.pem", folder / "private.pem"
    there.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return there, secret


def clean(env: dict[str, str]) -> dict[str, str]:
    """Take out whatever Lethe, or a proxy, would be told by the environment."""
    return {k: v for k, v in env.items() if not k.startswith(("LETHE_", "XDG_")) and "proxy" not in k.lower()}


@contextmanager
def served(folder: Path, settings: dict[str, str]) -> Iterator[str]:
    """Run `lethe serve` until the block ends; gives its URL."""
    (port,) = free_ports(1)
    env = clean(dict(os.environ)) | settings
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [LETHE, "serve", "--port", str(port)], cwd=folder, env=env, stdout=log, stderr=log
        )
    try:
        until = time.monotonic() + 120
        while not port_is_open(port):
            assert process.poll() is None, (folder / "serve.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
        yield f"https://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(120)


@contextmanager
def ended(command: list[str], **how: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a process that is ended with the block at the latest."""
    with subprocess.Popen(command, **how) as process:
        try:
            yield process
        finally:
            process.kill()


@dataclass
class Machine:
    """Where somebody types commands: a home of their own, and no key, no warehouse, no configuration."""

    home: Path
    server: str
    ca_file: Path | None

    def __post_init__(self) -> None:
        self.home.mkdir()

    @property
    def env(self) -> dict[str, str]:
        found = clean(dict(os.environ)) | {"HOME": str(self.home), "LETHE_SERVER": self.server}
        return found | ({} if self.ca_file is None else {"LETHE_CA_FILE": str(self.ca_file)})

    def type(self, *words: str, typed: str = "", status: int = 0, **env: str) -> str:
        """Give a command; return what it printed, or its complaint where it is to fail.

        The command runs in this process, which costs a tenth of one of its own: it sees the machine's environment only.
        """
        out, err = io.StringIO(), io.StringIO()
        given = mock.patch.object(sys, "stdin", io.StringIO(typed))
        with (
            mock.patch.dict(os.environ, self.env | env, clear=True), given,
            chdir(self.home), redirect_stdout(out), redirect_stderr(err),
        ):  # fmt: skip
            try:
                with errors_in_one_line("--json" in words):
                    app(args=[*words], prog_name="lethe")
                ended: object = 0
            except SystemExit as end:
                ended = end.code or 0
        assert ended == status, (words[0], ended, out.getvalue(), err.getvalue())
        return err.getvalue() if status else out.getvalue()

    def json(self, *words: str, typed: str = "") -> Any:
        return orjson.loads(self.type("--json", *words, typed=typed))

    def sign_in(self, name: str, password: str, code: str = "") -> None:
        self.type("login", "--name", name, typed=f"{password}\n{code}\n")

    def waiting(self, *words: str) -> str:
        """Run a command that needs a second person; return the request that waits."""
        told = self.type(*words, status=1)
        found = re.search(r"request ([0-9a-f-]{36}) waits", told)
        assert found, told
        return found[1]

    def files(self) -> list[str]:
        return sorted(str(p.relative_to(self.home)) for p in self.home.rglob("*") if p.is_file())
