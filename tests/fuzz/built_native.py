"""Build `lethe._native` with sanitizers, and make the processes that ask for it use that one.

`python tests/fuzz/built_native.py MINUTES` fuzzes it for long: what each target finds new goes to `seeds/`.

As a pytest plugin (`-p built_native`) and when it is imported by the fuzz targets it puts the extension named by
LETHE_TEST_NATIVE in the place of the installed one, before anything of Lethe asks for it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

NAME = "lethe._native"
VARIABLE = "LETHE_TEST_NATIVE"
HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "native"
TARGETS = ("reader", "records", "columns", "blocks", "rows", "pages", "footer", "arguments")
WARNINGS = ("-Wall", "-Wextra", "-Werror")
SANITIZED = (
    "-O1",
    "-g",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
)


def build(folder: Path, compiler: str, *options: str) -> Path:
    """Compile the extension, the real one, with other options; return its file."""
    made = folder / "_native.abi3.so"
    headers = f"-I{sysconfig.get_path('include')}"
    sources = sorted(map(str, SOURCES.glob("*.c")))
    command = [compiler, "-shared", "-fPIC", *WARNINGS, *options, headers, *sources, "-o", str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return made


def use(file: str) -> None:
    """Let `lethe._native` be the extension in this file."""
    assert NAME not in sys.modules, "too late: the installed one is loaded"
    spec = importlib.util.spec_from_file_location(NAME, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)


def sanitized(folder: Path) -> dict[str, str]:
    """Build with gcc; return the environment of a process that uses what was built."""
    compiler = shutil.which("gcc")
    assert compiler, "this needs gcc: apt-get install gcc"
    extension = build(folder, compiler, *SANITIZED)
    return _environment(extension, _shared(compiler, "libasan.so"), _shared(compiler, "libstdc++.so.6"))


def guided(folder: Path) -> dict[str, str]:
    """Build with clang, so that the fuzzer sees which branches were taken; return the environment of a process."""
    import atheris  # (a process that only uses the extension does not need it)

    compiler = shutil.which("clang")
    assert compiler, "the fuzzer needs clang: apt-get install clang"
    extension = build(folder, compiler, *SANITIZED, "-fsanitize=fuzzer-no-link")
    return _environment(
        extension, f"{atheris.path()}/asan_with_fuzzer.so", _shared(compiler, "libstdc++.so.6")
    )


def _shared(compiler: str, name: str) -> str:
    done = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_absolute(), f"{compiler} comes without {name}"
    return done.stdout.strip()


def _environment(extension: Path, *preloaded: str) -> dict[str, str]:
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(preloaded),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "PYTHONMALLOC": "malloc",  # each object in memory of its own, so that what lies beyond it is seen
        "PYTHONPATH": str(HERE),
        VARIABLE: str(extension),
    }


def fuzz(minutes: float) -> int:
    """Run each target for its share of the time; return how many of them found something wrong."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        env = guided(Path(folder))
        for target in TARGETS:
            seeds, found = HERE / "seeds" / target, Path(folder, target)
            found.mkdir()
            command = [sys.executable, str(HERE / "native_targets.py"), target]
            seconds = max(1, round(minutes * 60 / len(TARGETS)))
            options = [
                f"-max_total_time={seconds}",
                "-timeout=20",
                "-rss_limit_mb=4096",
                f"-artifact_prefix={target}-",
            ]
            done = subprocess.run([*command, *options, str(found), str(seeds)], env=env, check=False)
            wrong += done.returncode != 0
            subprocess.run([*command, "-merge=1", str(seeds), str(found)], env=env, check=False)
    return wrong


if _file := os.environ.get(VARIABLE):
    use(_file)

if __name__ == "__main__":
    sys.exit(1 if fuzz(float(sys.argv[1])) else 0)
