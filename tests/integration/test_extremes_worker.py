"""No value of any field of any format ends a worker: all of them in one topic, each record told apart by its header."""

from __future__ import annotations

import json

from extremes import FORMATS, extremes
from workers import Site

_EVERY = 23  # one in so many, another one in each format: all of them go through `ingest` in another test


def test_no_value_of_any_field_ends_a_worker(site: Site) -> None:
    assert site.broker is not None
    topic = site.broker.topic("extremes", 1)
    site.sources[topic] = "test/all"
    folder = site.directory / "formats"
    folder.mkdir()
    kinds = "\n".join(f'"{fmt.name}" = "{fmt.name}"' for fmt in FORMATS)
    (folder / "all.toml").write_text(
        f'name = "test/all"\nversion = 1\ntitle = "Every format"\nheader = "kind"\n[kinds]\n{kinds}\n'
    )
    site.variables["LETHE_FORMATS_DIR"] = str(folder)
    values: list[bytes | None] = []
    heads: list[list[tuple[str, bytes | None]]] = []
    good: set[int] = set()
    for number, fmt in enumerate(FORMATS):
        every = extremes(fmt)
        chosen = [every[0], *every[1 + number % _EVERY : -1 : _EVERY], every[-1]]
        good |= {len(values), len(values) + len(chosen) - 1}
        values += chosen
        heads += [[("kind", fmt.name.encode())]] * len(chosen)
    assert len(values) > 1_500
    site.broker.produce(topic, values, headers=heads)
    site.drain(seconds=420)
    tables = {name: site.checker().arrow(name, ["offset"]) for name in ("metadata", "usage", "quarantine")}
    offsets = {name: set(table.column("offset").to_pylist()) for name, table in tables.items()}
    assert set().union(*offsets.values()) == set(range(len(values)))
    assert good <= offsets["metadata"] | offsets["usage"], "good records stand where they stood"
    checked = site.run("ledger", "--check", "--json", seconds=120)
    assert (checked.returncode, json.loads(checked.stdout)["findings"]) == (0, [])
