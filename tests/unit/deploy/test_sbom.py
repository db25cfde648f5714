"""The bill of materials names what the lock file pins, library by library, and nothing without a hash."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lethe.deploy.sbom import bill, components

TOP = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-image.lock", "requirements-dev.lock"])
def test_every_library_of_a_lock_file_is_in_the_bill(name: str) -> None:
    text = (TOP / name).read_text()
    pinned = [
        Requirement(line.split("\\")[0].strip()) for line in text.splitlines() if re.match(r"[a-z0-9]", line)
    ]
    made = bill(text)
    found = {c["name"]: c for c in made["components"]}
    assert len(pinned) == len(found) == len(made["components"]) > 40
    for requirement in pinned:
        component = found[requirement.name.lower()]
        assert f"=={component['version']}" == str(requirement.specifier)
        assert component["purl"] == f"pkg:pypi/{component['name']}@{component['version']}"
    digests = [h["content"] for c in made["components"] for r in c["externalReferences"] for h in r["hashes"]]
    assert sorted(digests) == sorted(re.findall(r"sha256:([0-9a-f]{64})", text))
    assert set(made["dependencies"][0]["dependsOn"]) == {c["bom-ref"] for c in made["components"]}
    assert bill(text) == made


@pytest.mark.parametrize(
    "line", ["requests", "requests==2.0", "requests>=2 --hash=sha256:" + "0" * 64, "-r more.txt"]
)
def test_what_is_not_pinned_with_a_hash_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="no pinned library"):
        list(components(line + "\n"))
