"""The real extension under AddressSanitizer and UBSan: by its own tests, and by fuzz targets.

`make fuzz` runs the same targets for as long as one likes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import built_native
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
THOSE_THAT_TOUCH_IT = [
    "tests/unit/streams/test_plain.py",
    "tests/unit/streams/test_texts.py",
    "tests/unit/streams/test_json_columns.py",
    "tests/unit/streams/test_native.py",
    "tests/unit/keys/test_tokens.py",
    "tests/unit/integrity/test_compiled_rows.py",
    "tests/unit/tiers/test_picked.py",
    "tests/unit/tiers/test_row_groups.py",
    "tests/property/splitting/test_fields.py",
]
RUNS = {
    "reader": 8_000,
    "records": 100,
    "columns": 8_000,
    "blocks": 8_000,
    "rows": 4_000,
    "pages": 8_000,
    "footer": 8_000,
    "arguments": 4_000,
}
PLANTED = """
import ctypes, numpy as np, built_native
from lethe import _native
texts = np.ones(64, np.uint8)
ctypes.CDLL(None).__asan_poison_memory_region(ctypes.c_void_p(texts.ctypes.data + 8), ctypes.c_size_t(8))
_native.blocks(texts, np.array([0, {end}, 64], np.int64), {codes})
print("nothing was seen")
"""


def run(command: list[str], env: dict[str, str], seconds: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, cwd=ROOT, env=env, check=False
    )


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return built_native.sanitized(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return built_native.guided(tmp_path_factory.mktemp("native"))


@pytest.mark.parametrize(("end", "codes"), [(36, None), (10, b"\1\1")])
def test_a_byte_that_is_not_to_be_read_is_noticed(
    sanitized: dict[str, str], end: int, codes: bytes | None
) -> None:
    """Without this, everything below could pass because nothing watches."""
    done = run([sys.executable, "-c", PLANTED.format(end=end, codes=codes)], sanitized, 60)
    assert done.returncode != 0
    assert "use-after-poison" in done.stderr
    assert "nothing was seen" not in done.stdout


def test_its_own_tests_touch_no_byte_that_is_not_theirs(sanitized: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "built_native", "-q"]
    done = run([*command, *THOSE_THAT_TOUCH_IT], sanitized, 280)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "ERROR: AddressSanitizer" not in done.stderr
    assert "runtime error" not in done.stderr


@pytest.mark.parametrize("target", RUNS)
def test_no_law_is_broken_in_a_short_run(guided: dict[str, str], target: str, tmp_path: Path) -> None:
    seeds = HERE / "seeds" / target
    assert len(list(seeds.iterdir())) >= 10, "a fuzzer that starts from nothing finds nothing"
    options = [
        f"-runs={RUNS[target]}",
        "-seed=1",
        "-timeout=20",
        "-rss_limit_mb=4096",
        f"-artifact_prefix={tmp_path}/",
    ]
    command = [sys.executable, str(HERE / "native_targets.py"), target, *options, str(tmp_path), str(seeds)]
    done = run(command, guided, 280)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "inline 8-bit counters" in done.stderr, "nothing guides it"
    assert "Done " in done.stderr
