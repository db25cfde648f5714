"""What a look-up reads: row groups and columns, by the library or taken out of pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lethe.tiers.delta import places
from lethe.tiers.window import _picked
from lethe.tiers.window._picked import Column, Picker


class Reads:
    """Which files were opened, and which row groups and columns of which tables were read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, compiled: bool) -> None:
        """Watch from here on; without compiled code, too."""
        self.opened: list[str] = []
        self.groups: list[tuple[str, int]] = []
        self.columns: set[tuple[str, str]] = set()
        paths: dict[int, str] = {}
        whole, log = places.Opened, self

        def read(path: str, group: int, names: Sequence[str]) -> None:
            log.groups.append((path, group))
            log.columns |= {(path.split("/")[0], name) for name in names}

        class Counting(whole):  # type: ignore[misc, valid-type]
            def __init__(self, objects: Any, path: str, *more: Any, **named: Any) -> None:
                self.path = path
                log.opened.append(path)
                super().__init__(objects, path, *more, **named)
                paths[id(self.mapped)] = path

            def read(self, group: int, columns: list[str] | None = None) -> Any:
                read(self.path, group, columns or ["*"])
                return super().read(group, columns)

        def told(name: str) -> None:
            ask = getattr(Picker, name)

            def asked(self: Picker, group: int, columns: str | list[Column], *sought: Any) -> Any:
                names = [columns] if isinstance(columns, str) else [column for column, *_ in columns]
                read(paths[id(self._data)], group, names)
                return ask(self, group, columns, *sought)

            monkeypatch.setattr(Picker, name, asked)

        if not compiled:
            monkeypatch.setattr(_picked, "_code", None)
        monkeypatch.setattr("lethe.tiers.window._footers.Opened", Counting)
        for name in ("where", "carrying", "records"):
            told(name)

    def of(self, table: str) -> set[tuple[str, int]]:
        """Name the row groups of a table that were read."""
        return {(path, group) for path, group in self.groups if path.startswith(table)}

    def columns_of(self, table: str) -> set[str]:
        """Name the columns of a table that were read; `*`: all of them."""
        return {name for of, name in self.columns if of == table}
