"""`lethe doctor` is green only where the real commands would work: one fault a row, each a real one."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from workers import LETHE, SMS, Site

from lethe.testing.traffic import labelled

_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2
# Said at once, where a broker that is not there is waited for.
AUDIT = {"LETHE_AUDIT_DIR": "audit"}  # in a place of its own, below the directory a command is started in
NO_BROKER = {"LETHE_KAFKA__SECURITY_PROTOCOL": "SSL", "LETHE_KAFKA__SSL_CA_FILE": "missing.pem"}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with records of four months, looked up once so that there is an audit log."""
    site = Site(tmp_path_factory.mktemp("filled"))
    now = datetime.now(UTC)
    file = site.directory / "records.ndjson"
    until = datetime(now.year, now.month, 1, tzinfo=UTC)
    lines = [value for _, value in labelled(SMS, 300, 1, until=until, months=4)]
    file.write_bytes(b"\n".join(lines) + b"\n")
    assert site.run("ingest", str(file), "--format", SMS).returncode == 0
    assert site.run("lookup", "+923001234567", "--case", "C-1", "--purpose", "fraud", **AUDIT).returncode == 0
    return site.directory


@pytest.fixture
def there(filled: Path, tmp_path: Path) -> Site:
    """A copy of it that a test may break."""
    for name in ("warehouse", "keys", "audit"):
        shutil.copytree(filled / name, tmp_path / name)
    return Site(tmp_path)


def without_override() -> None:
    """Let rights of files count for root, too."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            assert libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0, ctypes.get_errno()


def doctor(
    site: Site, begin: Callable[[], None] = without_override, **more: str
) -> dict[str, dict[str, str]]:
    """What it found, by what it looked at; the worst of each. Of the broker, which is not there, nothing."""
    done = subprocess.run(
        [LETHE, "doctor", "--json"], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
        cwd=site.directory, env=site.environment(**NO_BROKER, **AUDIT, **more), preexec_fn=begin,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr  # at least for the broker
    found: dict[str, dict[str, str]] = {}
    order = ("ok", "warning", "wrong")
    for check in json.loads(done.stdout):
        before = found.get(check["what"])
        if before is None or order.index(check["state"]) > order.index(before["state"]):
            found[check["what"]] = check
    del found["broker"]
    return found


def wrong(found: dict[str, dict[str, str]]) -> dict[str, str]:
    return {what: check["found"] for what, check in found.items() if check["state"] == "wrong"}


def test_all_is_well_and_nothing_is_left_behind(there: Site) -> None:
    before = {p: p.stat().st_size for p in there.directory.rglob("*") if p.is_file()}
    found = doctor(there)
    assert {check["state"] for check in found.values()} <= {"ok", "warning"}, found
    assert {what for what, c in found.items() if c["state"] == "ok"} >= {
        "store", "key directory", "audit log", "keys", "integrity log"
    }  # fmt: skip
    assert {p: p.stat().st_size for p in there.directory.rglob("*") if p.is_file()} == before


def empty_keys(site: Site) -> None:
    shutil.rmtree(site.keys)
    site.keys.mkdir(mode=0o700)


def one_key_gone(site: Site) -> None:
    sorted(site.keys.glob("*.key"))[1].unlink()


def keys_of_another(site: Site) -> None:
    for key in site.keys.glob("*.key"):
        key.write_bytes(os.urandom(32))


def journal(site: Site) -> Path:
    return next((site.directory / "audit").glob("*/0"))


def lock(path: Callable[[Site], Path]) -> Callable[[Site], None]:
    def apply(site: Site) -> None:
        target = path(site)
        target.chmod(0o500 if target.is_dir() else 0o400)

    return apply


@pytest.mark.parametrize(
    ("fault", "what", "said"),
    [
        (empty_keys, "key directory", "is empty, but the warehouse has keys"),
        (one_key_gone, "keys *", "does not open"),
        (keys_of_another, "keys *", "does not open"),
        (lock(lambda s: s.keys), "key directory", "Permission denied"),
        (lock(lambda s: s.directory / "audit"), "audit log", "Permission denied"),
        (lock(journal), "audit log", "cannot be written: Permission denied"),
        (lock(lambda s: s.root), "store", "no right to write there"),
    ],
    ids=["empty-keys", "a-key-gone", "other-keys", "locked-keys", "locked-audit", "locked-log", "locked-root"],
)  # fmt: skip
def test_a_fault_is_named(fault: Callable[[Site], None], what: str, said: str, there: Site) -> None:
    fault(there)
    try:
        found = wrong(doctor(there))
    finally:
        for path in (
            there.keys,
            there.directory / "audit",
            journal(there),
            there.root,
        ):
            path.chmod(0o700)
    named = [
        text
        for name, text in found.items()
        if name == what or (what == "keys *" and name.startswith("keys 2"))
    ]
    assert named, found
    assert all(said in text for text in named), found


@pytest.mark.parametrize("which", ["warehouse", "audit", "keys"])
def test_a_full_disk_is_named(which: str, there: Site, tmp_path: Path) -> None:
    """A file system of its own with too little room for what the next command writes."""
    place = there.directory / which
    content = tmp_path / "content"
    place.rename(content)
    place.mkdir(mode=0o700)
    size = sum(p.stat().st_blocks * 512 + 4096 for p in content.rglob("*")) + (1 << 20)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(place)], check=False
    )
    if mounted.returncode:
        pytest.fail("a small file system is needed: run the tests with the right to mount a tmpfs")
    try:
        shutil.copytree(content, place, dirs_exist_ok=True)
        free = shutil.disk_usage(place).free
        (place / ".ballast").write_bytes(bytes(free - 4096))
        found = wrong(doctor(there))
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
    what = {"warehouse": "store", "audit": "audit log", "keys": "key directory"}[which]
    assert "No space left on device" in found[what], found


def test_a_limit_on_files_is_named(there: Site) -> None:
    """What a quota does: a file may only grow so far."""

    def begin() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, 1 << 15))

    found = wrong(doctor(there, begin))
    assert found.keys() >= {"store", "audit log", "key directory"}, found
    assert "File too large" in found["store"]


def s3(endpoint: str) -> dict[str, str]:
    options = {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "not-to-be-shown",
    }  # fmt: skip
    return {"LETHE_ROOT": "s3://lethe/warehouse", "LETHE_STORAGE": json.dumps(options)}


@contextmanager
def answering(status: int, code: str, methods: set[str]) -> Iterator[str]:
    """A store that refuses some methods and says yes to the others without doing anything."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            refused = self.command in methods
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>+923001234567</Message></Error>".encode()
            self.send_response(status if refused else 200)
            self.send_header("content-length", str(len(body)))
            self.send_header("etag", '"1"')
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    for method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
        setattr(Handler, f"do_{method}", Handler._answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "methods", "said"),
    [
        (403, "AccessDenied", {"PUT", "GET", "POST", "DELETE"}, "refuses to write (403 AccessDenied)"),
        (403, "SignatureDoesNotMatch", {"PUT"}, "refuses to write (403 SignatureDoesNotMatch)"),
        (404, "NoSuchBucket", {"PUT", "GET", "POST", "DELETE"}, "knows no such bucket (404 NoSuchBucket)"),
        (503, "SlowDown", {"PUT"}, "failed to write (503 SlowDown)"),
        (200, "", set(), "does not keep an object from being written twice"),
    ],
)
def test_what_a_store_answers_is_named(
    status: int, code: str, methods: set[str], said: str, there: Site
) -> None:
    with answering(status, code, methods) as endpoint:
        found = doctor(there, **s3(endpoint))
    assert said in wrong(found)["store"], found
    assert "+92" not in str(found)
    assert "not-to-be-shown" not in str(found)


def test_a_store_that_accepts_and_never_answers_is_not_waited_for(there: Site) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        found = doctor(there, **s3(f"http://127.0.0.1:{listener.getsockname()[1]}"))
    assert "does not answer" in wrong(found)["store"], found
    assert "ok" in {found["key directory"]["state"], found["audit log"]["state"]}


def test_a_key_provider_that_accepts_and_never_answers_is_not_waited_for(there: Site) -> None:
    token = there.directory / "token"
    token.write_text("t")
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        keys = {
            "provider": "bao",
            "providers": {"bao": {"kind": "vault", "url": url, "token_file": str(token)}},
        }
        found = doctor(there, LETHE_KEYS=json.dumps(keys))
    assert "keys" in wrong(found), found
    # The rest is looked at all the same; on a machine that is too busy for that, it is said.
    assert found.get("ledger", {"state": "ok" if "no answer" in str(found) else ""})["state"] == "ok", found
