"""`oidc-provider` of npm on loopback: an identity provider that others wrote."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from npm_packages import installed

_HOME = Path(__file__).parent / "provider"


@contextmanager
def provider(callback: str, secret: str) -> Iterator[str]:
    """Run the provider; gives its issuer."""
    folder = installed(_HOME)
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
