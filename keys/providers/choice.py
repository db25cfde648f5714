"""The providers an installation has, by name: one makes new keys, all of them can open what they wrapped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from lethe.keys.providers.interface import KeyProvider
from lethe.schemas.errors import ConfigurationError

LOCAL = "local"
"""The name of the local directory; what was wrapped before providers had names was wrapped there."""

Openers = Mapping[str, Callable[[], KeyProvider]]


class Providers:
    """Providers by name, each opened when first used.

    `first` is the one that makes keys in a warehouse that does not name another (`lethe keys migrate` names one).
    `read_again` gives the providers of the configuration as it is now: a process that meets a name it does not know
    looks there, so that keys can move to a provider that was set up after it was started. `prepare` runs before a new
    key is made; it raises what keeps this installation from making one.
    """

    def __init__(
        self,
        first: str,
        openers: Openers,
        read_again: Callable[[], Openers] | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self.first = first
        self._openers = dict(openers)
        self._read_again = read_again
        self._prepare = prepare
        self._opened: dict[str, KeyProvider] = {}
        self._lock = threading.Lock()

    @classmethod
    def only(cls, provider: KeyProvider, name: str = LOCAL) -> Providers:
        """Make one provider all there is."""
        return cls(name, {name: lambda: provider})

    @property
    def names(self) -> list[str]:
        """The names of all providers, the first one first."""
        return sorted(self._openers, key=lambda name: (name != self.first, name))

    def to_make_in(self, name: str) -> KeyProvider:
        """Return the provider of that name to make a new key in, once all is there that goes with keys."""
        if self._prepare is not None:
            self._prepare()
        return self.get(name)

    def get(self, name: str) -> KeyProvider:
        """Return a provider, opened; `ConfigurationError` when the configuration has none of that name."""
        with self._lock:
            if name not in self._openers and self._read_again is not None:
                self._openers.update(self._read_again())
            if name not in self._openers:
                raise ConfigurationError(
                    f"keys were wrapped by a provider named {name}, which the configuration does not have: "
                    f"add [keys.providers.{name}] to it"
                )
            if name not in self._opened:
                self._opened[name] = self._openers[name]()
            return self._opened[name]
