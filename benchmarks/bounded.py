"""Memory that stays bounded: two hours of audio in one command, and a hundred requests in one server. Ours alone.

    python -m benchmarks.bounded                          both: about fifteen minutes on two cores
    python -m benchmarks.bounded --minutes 1 --requests 0 a smoke run
    python -m benchmarks.bounded --minutes 10 60 120 --requests 0

The recordings are built conversations of four speakers, nested: the shorter is the beginning of the longer. Each
length is one `diarist transcribe`, a process of its own, start-up included; its peak is the operating system's count.
The server is the Truss's own, in its own environment (`make truss-env`); requests of 2 to 60 s come one after another
in a seeded order, and after each the resident memory of the server and its children is read.
"""

from __future__ import annotations

import argparse
import base64
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
from benchmarks import mixes, recordings
from benchmarks.processes import Measured, measure
from benchmarks.protocol import Row, report

from diarist import engines
from diarist.types import SAMPLE_RATE, Samples

SPEAKERS = ("1998", "2033", "2609", "3005")
SEED = 500
MUST_BYTES, AIM_BYTES = 3e9, 2e9
GROWTH = 1.15  # cost per second of audio, the longest against the shortest: timings here vary by this much
WARM_UP = 20  # requests
SHORTEST, LONGEST = 2.0, 60.0  # seconds of a request
LEVEL = 0.05  # share that memory may grow after the warm-up


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="*", default=[10, 60, 120], help="lengths; default 10 60 120")
    parser.add_argument("--requests", type=int, default=100, help="of the server; 0 leaves it out; default 100")
    parser.add_argument("--threads", type=int, default=engines.cpu_count(), help="default every core")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default build/bench/bounded.json")
    given = parser.parse_args(arguments)
    longest = max([*given.minutes, 2.0 if given.requests else 0.0])
    samples = conversation(longest * 60)
    found: dict[float, Measured] = {}
    for minutes in sorted(given.minutes):
        found[minutes] = command(samples, minutes, given.threads)
        write(found, [], given.threads, given.out)  # what comes later may fail
    if given.requests:
        write(found, serve(samples, given.requests, given.threads), given.threads, given.out)


def write(found: dict[float, Measured], levels: Sequence[int], threads: int, out: Path | None) -> None:
    """The rows of what is measured so far."""
    rows = ([*length_rows(found)] if found else []) + ([level_row(levels)] if len(levels) > 1 else [])
    data = {
        "threads": threads,
        "commands": {f"{minutes:g} min": asdict(each) for minutes, each in found.items()},
        "resident_bytes": list(levels),
    }
    report("bounded", rows, data, out=out)


def conversation(seconds: float) -> Samples:
    """At least so many seconds of four speakers' conversation: LibriSpeech's where they are, else flite's.

    Raises:
        FileNotFoundError: there is nothing to build it from.
    """
    librispeech = recordings.default_folder() / "librispeech"
    if librispeech.is_dir():
        voices = mixes.librispeech(librispeech, SPEAKERS)
    elif mixes.flite_installed():
        voices = mixes.flite()
    else:
        raise FileNotFoundError(f"{librispeech} is not there and flite is not installed")
    plan = mixes.Plan(seconds, pieces="utterances", everyone=True)
    return mixes.mix(voices, plan, seed=SEED).waveform.samples


# --- one long recording -----------------------------------------------------------------------------------


def command(samples: Samples, minutes: float, threads: int) -> Measured:
    """`diarist transcribe` on the first minutes."""
    _say(f"{minutes:g} minutes in one command")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "conversation.flac"
        mixes.write_flac(path, samples[: round(minutes * 60 * SAMPLE_RATE)])
        transcribe = [sys.executable, "-m", "diarist.cli", "transcribe", str(path), "-f", "json", "-o", folder, "-q"]
        return measure([*transcribe, "--profile", "embedded", "--threads", str(threads)])


def length_rows(found: dict[float, Measured]) -> list[Row]:
    """The longest command's peak, and how its cost per second of audio compares to the shortest's."""
    shortest, longest = min(found), max(found)
    peak = found[longest].peak_bytes
    costs = {minutes: each.cpu_seconds / (minutes * 60) for minutes, each in found.items()}
    growth = costs[longest] / costs[shortest]
    name = "two hours of audio" if longest == 120 else f"{longest:g} minutes of audio"
    return [
        Row(
            what=f"{name}: peak memory",
            stock=None,
            ours=peak / 1e9,
            unit="GB",
            must="under 3 GB",
            aim="under 2 GB",
            met=peak < MUST_BYTES,
            counts={f"{minutes:g} min": each.peak_bytes for minutes, each in found.items()},
            note=f"the whole command took {found[longest].seconds:.0f} s",
        ),
        Row(
            what=f"{name}: cost of a second of audio against that in {shortest:g} minutes",
            stock=None,
            ours=growth,
            unit="times",
            must=f"no more than 1 (up to {GROWTH:g} is this machine's noise)",
            aim="1 or less",
            met=growth <= GROWTH,
            counts={f"{minutes:g} min": round(cost, 5) for minutes, cost in costs.items()},
            note="seconds of CPU, start-up included",
        ),
    ]


# --- one server -------------------------------------------------------------------------------------------


def serve(samples: Samples, number: int, threads: int) -> list[int]:
    """Resident bytes of the Truss server after each of its requests."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    import truss_environment as truss

    if not (truss.ROOT / ".venv-truss-server/bin/python").exists() and "DIARIST_TRUSS_SERVER_PYTHON" not in os.environ:
        _say("the server is left out: make truss-env makes its environment")
        return []
    bodies = request_bodies(samples, number)
    levels: list[int] = []
    with TemporaryDirectory() as folder:
        root, home = truss.stage(Path(folder) / "root"), Path(folder) / "home"
        home.mkdir()
        settings = {"DIARIST_THREADS": str(threads), "DIARIST_PROFILE": "embedded"}
        with truss.serving(root, home, python=truss.server_python(), settings=settings) as server:
            process = psutil.Process(server.process.pid)
            for index, body in enumerate(bodies, start=1):
                answer = server.ask(audio_b64=body)
                if answer.status_code != 200:
                    raise RuntimeError(f"request {index} was answered {answer.status_code}: {server.log[-1000:]}")
                time.sleep(0.05)  # what the answer held is given back after it is sent
                levels.append(sum(each.memory_info().rss for each in (process, *process.children(recursive=True))))
                if index % WARM_UP == 0:
                    _say(f"{index} requests: {levels[-1] / 1e6:.0f} MB")
    return levels


def request_bodies(samples: Samples, number: int) -> list[str]:
    """Pieces of the conversation as base64 FLAC, of lengths and places drawn from a seed."""
    random = np.random.default_rng(SEED)
    bodies = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "piece.flac"
        for _ in range(number):
            size = round(random.uniform(SHORTEST, LONGEST) * SAMPLE_RATE)
            first = int(random.integers(len(samples) - size))
            mixes.write_flac(path, samples[first : first + size])
            bodies.append(base64.b64encode(path.read_bytes()).decode())
    return bodies


def level_row(levels: Sequence[int]) -> Row:
    """The highest level after the warm-up against the highest in it; of two requests at least."""
    warm = levels[: min(WARM_UP, len(levels) - 1)]
    later = levels[len(warm) :]
    growth = max(later) / max(warm) - 1
    return Row(
        what=f"{len(levels)} requests of varied length in one server: memory after the first {len(warm)}",
        stock=None,
        ours=100 * growth,
        unit="% more",
        must="level within 5 %",
        aim="",
        met=growth <= LEVEL,
        counts={"highest_at_first": max(warm), "highest_later": max(later), "first": levels[0], "last": levels[-1]},
        note=f"{levels[-1] / 1e6:.0f} MB after the last; the highest level of the later against that of the first",
    )


def _say(what: str) -> None:
    print(f"bounded: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
