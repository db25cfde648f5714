"""What travels between the stages: batches of raw values, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

Offsets = npt.NDArray[np.int64]
Words = list[bytes | str | None]


class Instants(Protocol):
    """Milliseconds since 1970, -1 where unknown, one per value: an int64 array, or what becomes one when asked."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Return that of one row, or of several."""


LOAD_BYTES: Final = 16_000_000
"""Values of a load, at which it is handed over however few they are: splitting takes several times as much memory."""


@dataclass(frozen=True, slots=True)
class Source:
    """One topic-partition (or file) records come from.

    `stream` is its name in positions; `id` is the transaction id its commits carry: cluster, topic id and partition,
    so that a topic created again under the same name is not mistaken for the old one.
    """

    stream: str
    partition: int
    id: str
    format: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive raw values of one source.

    `first` and `last` are the offsets the batch accounts for, both included: with gaps (compaction, aborted
    transactions) there are fewer values than offsets. `sequence` numbers the batches of one assignment without holes.
    """

    source: Source
    sequence: int
    generation: int
    first: int
    last: int
    offsets: Offsets = field(repr=False)  # int64, ascending, one per value
    values: list[bytes | None] = field(repr=False)  # None: a tombstone
    received_ms: Instants = field(repr=False)
    bytes: int = 0
    since: float | None = field(default=None, repr=False)  # monotonic: when the first value was read
    kinds: Words | None = field(default=None, repr=False)  # what a header says of each value's kind
    gap: str | None = None  # why offsets before the first value are missing, if an operator accepted it


@dataclass(frozen=True, slots=True)
class Load:
    """Batches of one format that are split together: what a split costs at least, it costs once for all of them.

    A row is a value's place among all values; `batch_index` says which batch it came in.
    """

    batches: Sequence[Batch]
    values: list[bytes | None] = field(repr=False)
    offsets: Offsets = field(repr=False)
    batch_index: Offsets = field(repr=False)  # int64, ascending, one per value

    @classmethod
    def of(cls, batches: Sequence[Batch]) -> Load:
        """Join batches in the order in which their rows are to be numbered; at least one."""
        if len(batches) == 1:
            one = batches[0]
            return cls(batches, one.values, one.offsets, np.zeros(len(one.values), np.int64))
        return cls(
            batches,
            list(chain.from_iterable(batch.values for batch in batches)),
            np.concatenate([batch.offsets for batch in batches]),
            np.repeat(np.arange(len(batches)), [len(batch.values) for batch in batches]),
        )

    def batch(self, row: int) -> Batch:
        """Return the batch a row is of."""
        return self.batches[int(self.batch_index[row])]

    def place(self, row: int, index: int | None) -> str:
        """Return the name of a record (`lethe.schemas.position.Position`)."""
        source = self.batch(row).source
        name = f"{source.stream}/{source.partition}/{int(self.offsets[row])}"
        return name if index is None else f"{name}/{index}"

    def received_ms(self, row: int) -> int:
        """Return when a row's message came, in milliseconds since 1970; -1: unknown."""
        at = int(self.batch_index[row])
        return int(self.batches[at].received_ms[row - int(np.searchsorted(self.batch_index, at))])


class Reason:
    """Why a record was not split. The words are stored, counted and shown; none of them holds a value."""

    NOT_JSON: Final = "not_json"
    EMPTY: Final = "empty"
    BLANK: Final = "blank"
    TOO_LARGE: Final = "too_large"
    NEWLINE: Final = "embedded_newline"
    NOT_UTF8: Final = "not_utf8"
    TWO_DOCUMENTS: Final = "two_documents"
    TOO_DEEP: Final = "too_deep"
    NOT_AN_OBJECT: Final = "not_an_object"
    EMPTY_ENVELOPE: Final = "empty_envelope"
    WRONG_TYPE: Final = "wrong_type"
    BAD_UNICODE: Final = "bad_unicode"
    MISSING: Final = "missing_field"
    NOT_A_NUMBER: Final = "not_a_number"
    AMOUNT_FORM: Final = "amount_form"
    OTHER_CURRENCY: Final = "other_currency"
    BAD_TIME: Final = "bad_time"
    FUTURE: Final = "future_time"
    UNKNOWN_VALUE: Final = "unknown_value"
    NOT_CANONICAL: Final = "not_canonical"
    TOMBSTONE: Final = "tombstone"
    TOO_OLD: Final = "too_old"
    UNKNOWN_KIND: Final = "unknown_kind"
    WRONG_COLUMNS: Final = "wrong_columns"
    LINE_FORM: Final = "line_form"
    NO_SCHEMA: Final = "no_schema"
    NOT_DECODED: Final = "not_decoded"
    NO_COMMUNICATION: Final = "no_communication"


EXPLAINED: Final[dict[str, str]] = {
    Reason.NOT_JSON: "the value is not JSON",
    Reason.EMPTY: "the value is empty",
    Reason.BLANK: "the value is only white space",
    Reason.TOO_LARGE: "the value is larger than limits.record_bytes",
    Reason.NEWLINE: "the value holds a raw line break; a record is one line",
    Reason.NOT_UTF8: "the value is not UTF-8",
    Reason.TWO_DOCUMENTS: "the value holds more than one JSON document",
    Reason.TOO_DEEP: "the value is nested too deeply",
    Reason.NOT_AN_OBJECT: "the record is JSON, but not an object",
    Reason.EMPTY_ENVELOPE: "the envelope holds no record",
    Reason.WRONG_TYPE: "a field has another type than the declaration says",
    Reason.BAD_UNICODE: "a text holds NUL or half a surrogate pair",
    Reason.MISSING: "a required field is missing",
    Reason.NOT_A_NUMBER: "a field is not the number it should be",
    Reason.AMOUNT_FORM: "an amount has a decimal comma, groups or a currency that no `decimal_mark` declares",
    Reason.OTHER_CURRENCY: "an amount names another currency than the record or the declaration",
    Reason.BAD_TIME: "a time cannot be read",
    Reason.FUTURE: "the event lies further in the future than limits.future_seconds",
    Reason.UNKNOWN_VALUE: "a field has a value outside its enumeration",
    Reason.NOT_CANONICAL: "the record has no canonical form (a key twice, or a number JSON cannot hold exactly)",
    Reason.TOMBSTONE: "the message has no value",
    Reason.TOO_OLD: "the event is older than the archive keeps",
    Reason.UNKNOWN_KIND: "no declared format goes with the message",
    Reason.WRONG_COLUMNS: "the line has another number of columns than the declaration says",
    Reason.LINE_FORM: "the line fits none of the declaration's `lines`",
    Reason.NO_SCHEMA: "the schema registry does not know the schema the value names",
    Reason.NO_COMMUNICATION: "the declaration skips such records: signalling, or a line of headings",
    Reason.NOT_DECODED: "the value does not fit the schema it names",
}


@dataclass(frozen=True, slots=True)
class Reject:
    """One record that was not split. `row` is its place in the batch, `index` its place in the envelope.

    `value` is what the quarantine keeps when it is not the message itself (one element of an envelope).
    """

    row: int
    index: int | None
    reason: str
    detail: str | None = None
    event_ms: int | None = None
    value: bytes | None = field(default=None, repr=False)
