"""How often the number of speakers is right: mixes of one to six speakers, of one to sixty minutes.

    python -m benchmarks.count             62 mixes, ours; stock on 12 of one minute
    python -m benchmarks.count --quick     two mixes of twenty seconds, ours alone

The mixes are of LibriSpeech's speakers, cut into pieces of 1 to 8 s, everyone speaking at least once, with gains up to
12 dB apart and white, pink or humming noise; nothing is transcribed. What counts speakers was tuned on other people;
an earlier part of the diarization on four of these six (see benchmarks/recordings.py). Stock's answers are kept as
those of `benchmarks.accuracy` are.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from benchmarks import mixes, recordings, stock
from benchmarks.answers import Answer
from benchmarks.processes import Loaded
from benchmarks.protocol import Row, report

from diarist import engines

LENGTHS = {1: 8, 10: 2}  # minutes -> mixes for each number of speakers
HOURS = (3, 5)  # speakers of the mixes of an hour
STOCK_MIXES = 2  # of one minute for each number of speakers
NOISES: tuple[mixes.Noise, ...] = ("white", "pink", "hum")
MUST, AIM = 0.92, 0.99
Z = 1.96  # of a 95 % interval


@dataclass(frozen=True, slots=True)
class Case:
    """A mix to build."""

    speakers: int
    minutes: float
    seed: int
    with_stock: bool = False


@dataclass(frozen=True, slots=True)
class Counted:
    """How many speakers there are, and how many each way found."""

    case: Case
    ours: int
    stock: int | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Count, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", action="store_true", help="ask stock again, whatever it answered before")
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds: it says nothing about accuracy")
    parser.add_argument("--threads", type=int, default=engines.cpu_count(), help="of each way; default every core")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default build/bench/count.json")
    given = parser.parse_args(arguments)
    folder = recordings.default_folder() / "librispeech"
    if not folder.is_dir():
        print(f"left out: mixes to count, since {folder} is not there; DIARIST_RECORDINGS names another folder")
        return
    chosen = [Case(2, 1 / 3, 1), Case(3, 1 / 3, 2)] if given.quick else list(cases())
    with Loaded("ours", given.threads) as ours, Loaded("stock", given.threads) as slow:
        counted = list(run(chosen, folder, ours, slow, fresh=given.fresh))
    report("count", rows(counted), data(counted), out=given.out)


def cases() -> Iterator[Case]:
    """Short ones first."""
    for minutes, number in LENGTHS.items():
        for speakers, index in product(range(1, 7), range(number)):
            yield Case(speakers, minutes, 1000 * speakers + 100 * minutes + index, minutes == 1 and index < STOCK_MIXES)
    for speakers in HOURS:
        yield Case(speakers, 60, 1000 * speakers + 600)


def build(folder: Path, case: Case) -> mixes.Mix:
    """The mix of a case: the speakers, the spread of gains and the noise, too, come from its seed."""
    random = np.random.default_rng(case.seed)
    speakers = _drawn(case, random)
    plan = mixes.Plan(
        60 * case.minutes,
        gain_spread=random.uniform(6, 12),
        noise=NOISES[case.seed % len(NOISES)],
        noise_level=random.uniform(-60, -40),
        everyone=True,
    )
    return mixes.mix(mixes.librispeech(folder, speakers), plan, seed=case.seed)


def _drawn(case: Case, random: np.random.Generator) -> list[str]:
    return sorted(random.choice(recordings.SPEAKERS, case.speakers, replace=False).tolist())


def untuned(case: Case) -> bool:
    """Whether nobody speaks in it on whom the diarization was tuned."""
    return set(_drawn(case, np.random.default_rng(case.seed))) <= recordings.UNTUNED


def run(cases: Sequence[Case], folder: Path, ours: Loaded, slow: Loaded, *, fresh: bool) -> Iterator[Counted]:
    """Let each way count, one mix after the other."""
    for number, case in enumerate(cases, start=1):
        what = f"{case.speakers} speakers, {case.minutes:.2g} min"
        print(f"count: {number} of {len(cases)}, {what}", file=sys.stderr, flush=True)
        waveform = build(folder, case).waveform
        found = stock.remembered(slow, waveform, words=False, fresh=fresh) if case.with_stock else None
        yield Counted(case, _speakers(ours.diarize(waveform)), None if found is None else _speakers(found))


def _speakers(answer: Answer) -> int:
    return len({turn.speaker for turn in answer.turns})


# --- rows -------------------------------------------------------------------------------------------------


def rows(counted: Sequence[Counted]) -> list[Row]:
    """All mixes, and those of speakers on whom nothing was tuned."""
    what = "speaker count exact: mixes of 1 to 6 speakers, 1 to 60 min, with noise and gain"
    note = "on four of the six an earlier part of the diarization was tuned"
    right = sum(each.ours == each.case.speakers for each in counted)
    promise = {"must": f"{100 * MUST:.0f} %", "aim": f"{100 * AIM:.0f} %", "met": right / len(counted) >= MUST}
    made = [replace(_row(what, counted, note), **promise)]  # type: ignore[arg-type]
    if part := [each for each in counted if untuned(each.case)]:
        what = "speaker count exact: mixes of 2609, of 3005, or of both, on whom nothing of the diarization was tuned"
        made.append(_row(what, part, f"{len(part)} of the mixes above"))
    return made


def _row(what: str, counted: Sequence[Counted], note: str) -> Row:
    right = sum(each.ours == each.case.speakers for each in counted)
    both = [each for each in counted if each.stock is not None]
    beside = f"stock on {len(both)} mixes of one minute, where ours has {sum(e.ours == e.case.speakers for e in both)}"
    return Row(
        what=what,
        stock=100 * sum(each.stock == each.case.speakers for each in both) / len(both) if both else None,
        ours=100 * right / len(counted),
        unit="%",
        counts={"ours": {"right": right, "mixes": len(counted)}, "stock": {"mixes": len(both)}},
        interval=wilson(right, len(counted)),
        note=f"{note}; {beside}" if both else note,
    )


def wilson(right: int, number: int) -> tuple[float, float]:
    """The 95 % interval of a share, in per cent, after Wilson: bootstrapping 62 of 62 would give no width."""
    share = right / number
    centre = (share + Z**2 / (2 * number)) / (1 + Z**2 / number)
    half = Z / (1 + Z**2 / number) * math.sqrt(share * (1 - share) / number + Z**2 / (4 * number**2))
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


def data(counted: Sequence[Counted]) -> dict[str, object]:
    """What was found in every mix."""
    return {
        "mixes": [
            {"speakers": each.case.speakers, "minutes": each.case.minutes, "seed": each.case.seed,
             "ours": each.ours, "stock": each.stock}
            for each in counted
        ]
    }  # fmt: skip


if __name__ == "__main__":
    main()
