"""Copy everything the window holds about a person, for that person."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lethe.operations.asker import Asker, record
from lethe.operations.documents.packed import Content, parts_of
from lethe.operations.oversight import disclosures
from lethe.operations.retention.sweep import maintenance_context
from lethe.operations.runtime import Runtime
from lethe.operations.window.identify import identify
from lethe.schemas.errors import LetheError
from lethe.tiers.rights import subject_export
from lethe.tiers.rights.spool import Spool


@dataclass(frozen=True, slots=True)
class Export:
    """The copy as a value. `repr` shows nothing of it."""

    content: dict[str, Any] = field(repr=False)

    @property
    def records(self) -> int:
        """How many communications are in it."""
        return len(self.content["records"])

    @property
    def held(self) -> int:
        """How many records of the person holds keep, each counted for each hold."""
        return sum(hold["records"] for hold in self.content["held_by_law"])

    @property
    def found(self) -> bool:
        """Whether anything of the person is in it."""
        return any(
            self.content[part] for part in ("records", "rejected_records", "mentioned_in", "held_by_law")
        )

    @property
    def size(self) -> int:
        """How many bytes the records of the copy are, about, as JSON without white space."""
        records = self.content["records"]
        return records.size if isinstance(records, Spool) else 0

    def files(self) -> dict[str, bytes]:
        """Write it out as files by name: JSON for machines, CSV for people."""
        return subject_export.as_files(self.content)

    def parts(self) -> dict[str, Iterator[bytes]]:
        """Write it out as `files` does, each in parts of about a record: all of it need not be in memory."""
        return subject_export.as_parts(self.content)


def export(
    runtime: Runtime,
    asker: Asker,
    text: str,
    on_records: Callable[[int], None] = lambda _: None,
    names: bool = False,
) -> Export:
    """Copy what the window holds of whom a text names: `export_all` of one address."""
    return export_all(runtime, asker, [text], on_records, names)


def export_all(
    runtime: Runtime,
    asker: Asker,
    texts: Sequence[str],
    on_records: Callable[[int], None] = lambda _: None,
    names: bool = False,
) -> Export:
    """Copy what the window holds of one person under several addresses. It is in the audit log before it is returned.

    Raises `LetheError` for more records than the asker's grant has rows for.

    With `names` it tells whose each look at the person was and for which case; the audit entry says that it does.
    """
    countries = runtime.settings.line_countries
    subjects = tuple(dict.fromkeys(s for text in texts for s in identify(text, countries).subjects))
    maintenance = maintenance_context(runtime, on_records=on_records)
    looks = partial(disclosures.looks, runtime, subjects)
    content = subject_export.build(
        maintenance, runtime.settings.retention, subjects, looks, runtime.clock(), names
    )
    record(runtime, asker, "export", about=subjects, count=len(content["records"]), names=names)
    asker.takes(len(content["records"]))
    return Export(content)


def write_files(folder: Path, files: Mapping[str, Content]) -> list[str]:
    """Write the files of an export for their owner alone and return their paths: all of them, or none.

    Raises `LetheError` when the disk refuses.

    1. Write each beside its place, under a name of its own.
    2. Give them their names. Interrupted before, nothing is left of them.
    """
    made = {folder / name: folder / f".{name}.{secrets.token_hex(8)}" for name in files}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Step 1
        for part, data in zip(made.values(), files.values(), strict=True):
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.writelines(parts_of(data))
        # Step 2
        for path, part in made.items():
            part.replace(path)
    except OSError as error:
        raise LetheError(f"{folder}: {error.strerror}") from None
    finally:
        for part in made.values():
            with suppress(OSError):
                part.unlink(missing_ok=True)
    return [str(path) for path in made]
