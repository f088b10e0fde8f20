"""Every benchmark in order, each in a process of its own, then one page with what they found.

    make bench                             all of them; about an hour on two cores
    make bench RECORDINGS=folder           speed and accuracy on recordings with .rttm, .stm or .seglst.json beside them
    make bench BENCH=--fresh               ask stock again, whatever it answered before
    make bench BENCH="--only speed,count"  some of them; the page takes the others as they were measured before
    make bench QUICK=1                     a smoke run of a minute, which says nothing about speed or accuracy

Writes build/bench.json, benchmarks/RESULTS.md and the chart beside it; with RECORDINGS or QUICK, the page goes to
build/bench instead. Recordings are looked for in DIARIST_RECORDINGS, by default ../shared/audio; what is not
there is left out and named. Each benchmark runs alone, too, and explains itself:

    python -m benchmarks.accuracy --help
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.protocol import FOLDER

HERE = Path(__file__).parent
RUN = tuple(name for name in report.ORDER if name != "gpu")  # that one has a target and a machine of its own
QUICK = ("speed", "accuracy", "count")
ON_RECORDINGS = ("speed", "accuracy")
CACHING = ("accuracy", "count")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them; 1 where one of them failed."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recordings", type=Path, metavar="FOLDER", help="instead of the default sets")
    parser.add_argument("--only", metavar="NAMES", help=f"some of {', '.join(RUN)}, separated by commas")
    parser.add_argument("--fresh", action="store_true", help="do not use what stock answered before")
    parser.add_argument("--quick", action="store_true", help="a smoke run of a minute")
    given = parser.parse_args(arguments)
    some = QUICK if given.quick else ON_RECORDINGS if given.recordings else RUN
    wanted = given.only.split(",") if given.only else some
    if unknown := sorted(set(wanted) - set(RUN)):
        parser.error(f"no benchmark is called {', '.join(unknown)}: there are {', '.join(RUN)}")
    apart = given.quick or given.recordings is not None
    folder = FOLDER / ("quick" if given.quick else "own") if apart else FOLDER
    names = [name for name in wanted if (HERE / f"{name}.py").is_file()]
    failed = [
        name
        for number, name in enumerate(names, start=1)
        if not run(name, f"{number} of {len(names)}", folder, options(name, given))
    ]
    for path in report.write(folder, (folder if apart else HERE) / "RESULTS.md", failed=failed):
        print(path)
    if failed:
        print(f"failed: {', '.join(failed)}; the page says so", file=sys.stderr)
    return 1 if failed else 0


def options(name: str, given: argparse.Namespace) -> list[str]:
    """What of the command's options a benchmark knows."""
    chosen = ["--quick"] if given.quick and name in QUICK else []
    chosen += ["--fresh"] if given.fresh and name in CACHING else []
    chosen += ["--recordings", str(given.recordings)] if given.recordings and name in ON_RECORDINGS else []
    return chosen


def run(name: str, place: str, folder: Path, chosen: Sequence[str]) -> bool:
    """Run one benchmark; whether it ended well. What it found before is gone if it does not."""
    out = folder / f"{name}.json"
    out.unlink(missing_ok=True)
    print(f"\n{place}: {name}", file=sys.stderr, flush=True)
    started = time.perf_counter()
    command = [sys.executable, "-m", f"benchmarks.{name}", "--out", str(out), *chosen]
    done = subprocess.run(command, check=False)  # noqa: S603 - no shell
    print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
