"""The exception roots of Lethe. Each is raised with what went wrong and what to do, in one line."""

from __future__ import annotations


class LetheError(Exception):
    """Something a person has to act on; the message says what. Never holds an identifier."""


class ConfigurationError(LetheError):
    """A setting, a file or a right is not as it must be."""


class InputError(LetheError):
    """What was asked cannot be done as it was asked: nothing was looked at and nothing changed."""


class TransientError(LetheError):
    """Trying again later may succeed: a broker or a store that does not answer."""


class UnknownOutcomeError(LetheError):
    """A commit may or may not have landed: reload the table and look, never assume."""


class FencedError(LetheError):
    """Another worker owns a topic-partition now; what this one holds of it must be dropped.

    `sources` are the transaction ids at fault, empty when the store did not say which.
    """

    def __init__(self, message: str, sources: frozenset[str] = frozenset()) -> None:
        super().__init__(message)
        self.sources = sources


class GapError(LetheError):
    """Records between the committed position and what the topic still holds are gone."""


class ClockError(LetheError):
    """The clock contradicts what there is to compare it with; nothing was done that cannot be undone."""


class ExpiredKeyError(LetheError):
    """The month's window has ended; its keys may not be opened any more, late sweep or not."""


class Interrupted(KeyboardInterrupt):
    """Somebody pressed Ctrl-C; the message says what has been done by then and how to go on."""


class IntegrityError(LetheError):
    """Something that was proven once is altered, missing, added or out of order. Raised, never returned."""
