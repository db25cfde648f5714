"""Which files are merged, how often a row is written, where tables are cut."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.tiers.compaction import layout, plan
from lethe.tiers.compaction.layout import TOKENS, Place, place_of
from lethe.tiers.compaction.plan import RUNS, Task, merges, new_job, runs_of, tasks
from lethe.tiers.delta.log import DataFile

NOW = datetime(2026, 11, 20, tzinfo=UTC)
MONTH = {"month": "2026-11", "window_months": "12"}
OLD = {"month": "2026-08", "window_months": "12"}


def file(name: str, size: int, rows: int = 0, partition: dict[str, str] | None = None) -> DataFile:
    return DataFile(f"{name}.parquet", size, partition or MONTH, rows or size // 30 + 1, 0, "{}")


def small(count: int, size: int = 1_500_000, partition: dict[str, str] | None = None) -> list[DataFile]:
    return [file(f"w{n}", size, 0, partition) for n in range(count)]


def merged(files: list[DataFile], table: str = "identifiers") -> tuple[list[DataFile], int]:
    """Every merge that is due, made in numbers alone; and the bytes it wrote."""
    written = 0
    for _ in range(50):
        jobs = merges(table, files, NOW)
        if not jobs:
            return files, written
        for job in jobs:
            gone = {f.path for f in job.inputs}
            parts = tasks(job, [(("s", 0, 0), ("s", 0, 1), job.rows)])
            new = [
                file(f"{Place(job.id, t.number, t.of).name}-{'0' * 16}", job.size // t.of, job.rows // t.of)
                for t in parts
            ]
            files = [f for f in files if f.path not in gone] + new
            written += job.size
    raise AssertionError("it never ends")


def test_fifteen_files_wait_and_the_sixteenth_merges_them() -> None:
    assert merges("identifiers", small(RUNS - 1), NOW) == []
    [job] = merges("identifiers", small(RUNS), NOW)
    assert len(job.inputs) == RUNS


def test_a_month_of_100_000_files_writes_each_row_less_than_five_times_and_ends_in_few_runs() -> None:
    files: list[DataFile] = []
    size, written, most = 1_500_000, 0, 0
    for batch in range(500):
        files += [file(f"w{batch}-{n}", size) for n in range(200)]
        files, more = merged(files)
        written += more
        most = max(most, len(runs_of(files)))
    assert written < 5 * 100_000 * size
    assert most < 5 * RUNS
    [whole] = merges("identifiers", files, NOW, whole=True)
    assert written + whole.size < 6 * 100_000 * size


def test_a_month_that_is_over_becomes_one_run_and_late_files_do_not_rewrite_it() -> None:
    [job] = merges("metadata", small(3, partition=OLD), NOW)
    assert len(job.inputs) == 3
    run = file(f"run-{'a' * 16}-00000of00001-{'0' * 16}", 100_000_000, 0, OLD)
    assert merges("metadata", [run], NOW) == []
    assert merges("metadata", [run, *small(3, 10_000, OLD)], NOW) == []
    [late] = merges("metadata", [run, *small(4, 10_000, OLD)], NOW)
    assert run not in late.inputs
    [worth] = merges("metadata", [run, *small(2, 20_000_000, OLD)], NOW)
    assert run in worth.inputs


def test_partitions_never_mix() -> None:
    jobs = merges("identifiers", small(16) + small(16, partition=OLD), NOW)
    assert sorted({tuple(f.partition["month"] for f in j.inputs) for j in jobs}) == [
        ("2026-08",) * 16,
        ("2026-11",) * 16,
    ]


def test_the_same_files_are_the_same_job_in_any_order() -> None:
    files = small(20)
    assert new_job("identifiers", MONTH, files) == new_job("identifiers", MONTH, reversed(files))
    assert new_job("identifiers", MONTH, files).id != new_job("identifiers", MONTH, files[1:]).id


@given(st.integers(1, 5_000), st.integers(0, TOKENS - 1))
def test_each_token_is_in_the_one_file_its_name_says(megabytes: int, prefix: int) -> None:
    job = new_job("identifiers", MONTH, [file("a", megabytes << 20)])
    here = []
    for task in tasks(job):
        (lower, _), (_, upper) = task.slices[0], task.slices[-1]
        assert isinstance(lower, int)
        if lower <= prefix and (upper is None or prefix < int(str(upper))):
            here.append(task)
    [task] = here
    named = [t for t in tasks(job) if Place(job.id, t.number, t.of).may_hold(prefix)]
    assert named == [task]


KEYS = st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 99))


@given(st.lists(st.tuples(KEYS, st.integers(1, 400_000)), max_size=40))
@settings(deadline=None)
def test_slices_follow_on_each_other_and_leave_no_hole(
    groups: list[tuple[tuple[str, int, int], int]],
) -> None:
    rows = sum(count for _, count in groups)
    job = new_job("metadata", {"month": "2026-11"}, [file("a", rows * 20 + 1, rows or 1)])
    bounds = [s for task in tasks(job, [(key, key, count) for key, count in groups]) for s in task.slices]
    assert bounds[0][0] is None
    assert bounds[-1][1] is None
    assert all(a[1] == b[0] for a, b in pairwise(bounds))


@pytest.mark.parametrize("together", [1_000_000, 300])
def test_files_with_rows_of_all_partitions_are_cut_into_slices_that_fit(
    monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    """A worker writes rows of all its partitions into one file: none of the slices may hold nearly all of them."""
    monkeypatch.setitem(layout.SLICE_ROWS, "metadata", 5_000)
    monkeypatch.setattr(plan, "_MOST_FOOTERS", together)
    partitions, each, files = 12, 100, 60
    job = new_job("metadata", MONTH, [file(f"w{n}", 40_000, partitions * each) for n in range(files)])
    footers = [
        (("s", 0, n * each), ("s", partitions - 1, n * each + each - 1), partitions * each)
        for n in range(files)
    ]
    slices = [bounds for task in tasks(job, footers) for bounds in task.slices]
    rows = [("s", p, o) for p in range(partitions) for o in range(files * each)]
    held = [
        sum((low is None or row >= low) and (high is None or row < high) for row in rows)
        for low, high in slices
    ]
    assert sum(held) == len(rows)
    assert max(held) <= 2 * 5_000


def test_a_task_survives_the_way_through_an_engine() -> None:
    job = new_job("metadata", {"month": "2026-11"}, [file("a", 100_000_000, 3_000_000)])
    keys = [(("s", 0, at), ("s", 0, at), 400_000) for at in range(8)]
    for task in [*tasks(job, keys), *tasks(new_job("identifiers", MONTH, small(3)))]:
        assert Task.from_json(task.to_json()) == task


def test_names_of_workers_and_of_other_engines_are_no_place() -> None:
    assert place_of("month=2026-11/0123456789abcdef-0123456789abcdef.parquet") is None
    assert place_of("part-00000-abc.snappy.parquet") is None
    assert place_of(f"month=2026-11/run-{'a' * 16}-00003of00016-{'b' * 16}.parquet") == Place("a" * 16, 3, 16)


def test_a_footer_that_claims_every_partition_there_could_be_is_taken_as_a_whole() -> None:
    """Its ends may have been tampered with: shared out, it would take all memory there is."""
    claimed = (("s", -1, 0), ("s", (1 << 31) - 1, 9), 10)
    real = (("s", 0, 0), ("s", 2, 9), 30)
    found = plan._by_partition([claimed, real])
    assert claimed in found
    assert [one for one in found if one != claimed] == [(("s", at, 0), ("s", at, 9), 10) for at in range(3)]
