"""Identifiers are stored in the order of their tokens, whichever way they are put into it."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.tiers.delta.files import by_token

ORDER = [(name, "ascending") for name in ("token", "offset", "index", "role")]
KINDS = [pa.binary(16), pa.int64(), pa.int32(), pa.string()]
HALVES = st.sampled_from([b"\0" * 8, b"\0" * 7 + b"\1", b"\x80" + b"\0" * 7, b"\xff" * 8])
TOKENS = st.one_of(st.none(), st.builds(bytes.__add__, HALVES, HALVES), st.binary(min_size=16, max_size=16))
ROWS = st.lists(
    st.tuples(TOKENS, st.integers(0, 3), st.one_of(st.none(), st.integers(0, 2)), st.sampled_from("ab")),
    max_size=40,
)


@given(rows=ROWS, start=st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_rows_are_in_the_order_of_the_whole_key(
    rows: list[tuple[bytes | None, int, int | None, str]], start: int
) -> None:
    columns = [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(KINDS)]
    table = pa.table([*columns, pa.array(range(len(rows)))], ["token", "offset", "index", "role", "at"])
    for given_rows in (table, table.slice(start)):
        expected = given_rows.sort_by(ORDER)
        assert given_rows.take(by_token(given_rows, ORDER)).column("at").equals(expected.column("at"))
