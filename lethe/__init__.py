"""Lethe remembers the traffic and forgets the people: one package, whose rooms are the top-level folders beside it."""

from typing import Final

__version__: Final = "0.2.0"
