"""`pyarrow.compute`, brought in when it is first used: that takes longer than most look-ups, which do without it.

Modules that a look-up imports take it from here.
"""

from __future__ import annotations

from typing import Any, Final


class _Later:
    def __getattr__(self, name: str) -> Any:
        from pyarrow import compute

        found = getattr(compute, name)
        setattr(self, name, found)  # so that it is asked for once
        return found


pc: Final[Any] = _Later()
