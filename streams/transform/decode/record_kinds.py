"""Topics that carry records of several kinds: a batch is divided by what a header or a field of each record says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lethe.schemas.declaration.fields import FieldSpec
from lethe.schemas.declaration.format import Declaration, Format, Kinds, formats_of
from lethe.streams.transform.batch import Batch, Reason, Reject
from lethe.streams.transform.decode.decode import ROW, decode


@dataclass(frozen=True, slots=True)
class Part:
    """The messages of a batch that have one format. `rows` are their places in the batch; those of `rejects` are local.

    Of a part with rejects every message is rejected; `fmt` says what could be content in them.
    """

    batch: Batch
    fmt: Format
    rows: Sequence[int]
    rejects: list[Reject] = field(default_factory=list)


def by_kind(batch: Batch, declared: Declaration, rejects: list[Reject], max_bytes: int) -> list[Part]:
    """Divide a batch; `rejects` are the messages rejected already."""
    rejected = {reject.row: reject for reject in rejects}
    where: dict[str, list[int]] = {}
    formats = formats_of(declared)
    if isinstance(declared, Kinds):
        for row, word in enumerate(_words(batch, declared, rejected, max_bytes)):
            if row in rejected:
                continue
            if word is None or word not in formats:
                rejected[row] = Reject(
                    row, None, Reason.TOMBSTONE if batch.values[row] is None else Reason.UNKNOWN_KIND
                )
            else:
                where.setdefault(formats[word].name, []).append(row)
    else:
        where[declared.name] = [row for row in range(len(batch.values)) if row not in rejected]
    named = {fmt.name: fmt for fmt in formats.values()}
    parts = [Part(_some(batch, rows), named[name], rows) for name, rows in where.items()]
    if rejected:
        rows = sorted(rejected)
        local = [replace(rejected[row], row=at) for at, row in enumerate(rows)]
        parts.append(Part(_some(batch, rows), _of_any_kind(declared, list(named.values())), rows, local))
    return parts


def _words(batch: Batch, declared: Kinds, rejected: dict[int, Reject], max_bytes: int) -> list[str | None]:
    """Return what each message says its kind is."""
    count = len(batch.values)
    if declared.header is not None:
        told = batch.kinds if batch.kinds is not None else [None] * count
        return [_text(word) for word in told]
    words: list[str | None] = [None] * count
    values = [None if row in rejected else value for row, value in enumerate(batch.values)]
    decoded = decode(values, _looking_at(declared), max_bytes)
    for reject in decoded.rejects:
        rejected.setdefault(reject.row, replace(reject, index=None, value=None))
    for row, word in decoded.frame.select(ROW, declared.by_field).rows():
        words[row] = _text(word)
    return words


def _text(word: bytes | str | None) -> str | None:
    if isinstance(word, bytes):
        try:
            word = word.decode("utf-8")
        except UnicodeDecodeError:
            return None
    return word.strip() if word is not None else None


def _looking_at(declared: Kinds) -> Format:
    """Make a format that reads nothing but the kind."""
    spec = FieldSpec.model_validate({"path": declared.by_field, "class": "window"})
    return Format.model_construct(
        name=declared.name, version=declared.version, title=declared.title, fields=(spec,)
    )


def _of_any_kind(declared: Declaration, formats: list[Format]) -> Format:
    """Make a format for records of unknown kind: whatever is content in one of the kinds may be content here."""
    if isinstance(declared, Format):
        return declared
    content = {spec.path: spec for fmt in formats for spec in fmt.content}
    if content and any(fmt.reshaped for fmt in formats):
        # Where content lies depends on the kind: of a line that no column can be found in nothing is kept.
        return Format.model_construct(
            name=declared.name, version=declared.version, title=declared.title, encoding="csv",
            fields=tuple(content.values()),
        )  # fmt: skip
    envelope = next((fmt.envelope for fmt in formats if fmt.envelope), None)
    return Format.model_construct(
        name=declared.name, version=declared.version, title=declared.title, envelope=envelope,
        fields=tuple(content.values()) or formats[0].fields[:1]
    )  # fmt: skip


def _some(batch: Batch, rows: list[int]) -> Batch:
    return replace(
        batch, offsets=batch.offsets[rows], values=[batch.values[row] for row in rows],
        received_ms=batch.received_ms[rows], kinds=None,
    )  # fmt: skip
