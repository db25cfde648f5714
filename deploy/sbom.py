"""Write the bill of materials: every library of a lock file, as CycloneDX 1.6 in JSON.

    python -m lethe.deploy.sbom requirements-image.lock > lethe.cdx.json

The same lock file gives the same bytes: it says no time and no serial number. Each library has its version, its address
in the Python Package Index, which is where all of them come from, and the SHA-256 of every file the installation takes.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from lethe import __version__

_LINE: Final = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)(?P<when>\s*;[^\\]*)?"
)
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def components(lock: str) -> Iterator[dict[str, Any]]:
    """Yield a component for each library of a lock file, in its order; `ValueError` for a line without hashes."""
    for entry in lock.replace("\\\n", " ").splitlines():
        text = entry.strip()
        if not text or text.startswith("#"):
            continue
        match, hashes = _LINE.match(text), _HASH.findall(text)
        if match is None or not hashes:
            raise ValueError(f"no pinned library with its hashes: {text[:80]}")
        name, version = match["name"].lower(), match["version"]
        purl = f"pkg:pypi/{name}@{version}"
        component: dict[str, Any] = {
            "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
            "externalReferences": [
                {
                    "type": "distribution", "url": f"https://pypi.org/project/{name}/{version}/",
                    "hashes": [{"alg": "SHA-256", "content": one} for one in sorted(hashes)],
                }
            ],
        }  # fmt: skip
        if match["when"]:
            component["properties"] = [{"name": "lethe:marker", "value": match["when"].strip(" ;")}]
        yield component


def bill(lock: str) -> dict[str, Any]:
    """Make the bill of materials of a lock file."""
    libraries = list(components(lock))
    root = f"pkg:pypi/lethe@{__version__}"
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {
            "component": {
                "type": "application", "bom-ref": root, "name": "lethe", "version": __version__,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": libraries,
        "dependencies": [{"ref": root, "dependsOn": [c["bom-ref"] for c in libraries]}],
    }  # fmt: skip


if __name__ == "__main__":
    json.dump(bill(Path(sys.argv[1]).read_text("utf-8")), sys.stdout, indent=1)
    print()
