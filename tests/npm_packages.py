"""Programs of npm that tests run: of the locked versions, fetched once."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path


def installed(home: Path) -> Path:
    """Return a folder with what is in `home` and what its `package-lock.json` names."""
    lock = (home / "package-lock.json").read_bytes()
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lethe"
    folder = base / f"npm-{home.name}-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not folder.is_dir():
        base.mkdir(parents=True, exist_ok=True)
        making = base / f"{folder.name}.{os.getpid()}"
        shutil.copytree(home, making)
        subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund"], cwd=making, check=True, capture_output=True, timeout=300
        )
        try:
            making.rename(folder)
        except OSError:  # another process was quicker
            shutil.rmtree(making)
    for script in home.glob("*.js"):
        shutil.copy(script, folder)
    return folder
