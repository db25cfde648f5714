"""What `lethe lookup` costs before it reads: `python -m bench.start [TURNS]`, in turns with pyarrow's import alone.

The goal is 0.4 s of processor time also in a slow hour of the machine, in which importing pyarrow and numpy, which no
look-up can do without, takes 0.16 s: a ratio of at most 2.5. Run it with the Python of an installation that has nothing
else (`requirements.lock`): where pandas is installed, pyarrow brings it in.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from typing import Final

LOOKUP: Final = (
    "import sys; sys.argv = ['lethe', 'lookup', '+923001234567', '--case', 'C', '--purpose', 'bench']"
)
PROGRAMS: Final = {
    "import pyarrow and numpy": "import pyarrow, numpy",
    "lethe lookup, up to its warehouse": f"{LOOKUP}; from lethe.console.cli.start import main; main()",
}


def processor_time(program: str, folder: str) -> float:
    """Run a program in a process of its own and return the seconds of processor time it took."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], env=env, cwd=folder, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main(turns: int) -> None:
    """Print the best and the median of each, and the median ratio of a turn."""
    with tempfile.TemporaryDirectory() as folder:
        for program in PROGRAMS.values():
            processor_time(program, folder)  # compiled files are there from now on
        times = [[processor_time(program, folder) for program in PROGRAMS.values()] for _ in range(turns)]
    for name, mine in zip(PROGRAMS, zip(*times, strict=True), strict=True):
        print(f"{name:<36} best {min(mine):.3f} s, median {statistics.median(mine):.3f} s")
    print(f"ratio {statistics.median(own / alone for alone, own in times):.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
