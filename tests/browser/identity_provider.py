"""`oidc-provider` of npm on loopback: an identity provider that others wrote."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HOME = Path(__file__).parent / "provider"


def _installed() -> Path:
    """Return a folder with the provider and what it needs, of the locked versions; fetched once."""
    lock = (_HOME / "package-lock.json").read_bytes()
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lethe"
    folder = base / f"oidc-provider-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not folder.is_dir():
        base.mkdir(parents=True, exist_ok=True)
        making = base / f"{folder.name}.{os.getpid()}"
        shutil.copytree(_HOME, making)
        subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund"], cwd=making, check=True, capture_output=True, timeout=300
        )
        try:
            making.rename(folder)
        except OSError:  # another process was quicker
            shutil.rmtree(making)
    return folder


@contextmanager
def provider(callback: str, secret: str) -> Iterator[str]:
    """Run the provider; gives its issuer."""
    folder = _installed()
    shutil.copy(_HOME / "provider.js", folder)
    process = subprocess.Popen(
        ["node", "provider.js", callback, secret],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        issuer = process.stdout.readline().strip()
        assert issuer.startswith("http://127.0.0.1:"), "the provider did not start"
        yield issuer
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
