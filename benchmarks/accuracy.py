"""Errors of ours and of stock on the same recordings: who spoke when, and who said which words.

    python -m benchmarks.accuracy                    the default sets (see benchmarks/recordings.py)
    python -m benchmarks.accuracy --recordings F     recordings in F with .rttm, .stm or .seglst.json beside them
    python -m benchmarks.accuracy --quick            ten seconds of the sample call, ours alone

Each way is loaded once, in a process of its own, and gets the recordings one after the other. Stock's answers are kept
under build/bench/stock and used again while samples, weights and code are the same; --fresh asks it again.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks import recordings, scores, stock
from benchmarks.answers import Answer
from benchmarks.processes import Loaded
from benchmarks.protocol import Row, report
from benchmarks.recordings import Recording
from benchmarks.scores import Counts, Rate

from diarist import engines

REPORTED = ("sample", "ami", "mixes", "cuts")  # DER in total is theirs; recordings.py says what was tuned on
WORDED = ("sample", "ami-tuned", "ami", "synthetic", "mixes")  # whose words are known
TUNED = "ami-tuned"
BUILT = ("mixes", "cuts")
POINTS = 100  # percentage points in 1

Found = dict[str, dict[str, Counts]]  # recording -> way -> counts


@dataclass(frozen=True, slots=True)
class Scored:
    """What was counted, and the set of each recording."""

    sets: Mapping[str, str]  # recording -> set
    found: Found
    untuned: frozenset[str] = frozenset()  # recordings of nobody on whom the diarization was tuned

    def of(self, way: str, sets: Sequence[str]) -> list[Counts]:
        """The counts of one way on the recordings of some sets."""
        return [by_way[way] for name, by_way in self.found.items() if self.sets[name] in sets and way in by_way]

    @property
    def names(self) -> tuple[str, ...]:
        """The sets, in order."""
        return tuple(dict.fromkeys(self.sets.values()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Score every recording, and write the rows."""
    given = _parser().parse_args(arguments)
    chosen = _chosen(given.recordings, quick=given.quick)
    with Loaded("ours", given.threads) as ours, Loaded("stock", given.threads) as slow:
        scored = run(chosen, ours, None if given.quick else slow, fresh=given.fresh)
    report("accuracy", rows(scored), data(scored), out=given.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, metavar="FOLDER", help="instead of the default sets")
    parser.add_argument("--fresh", action="store_true", help="ask stock again, whatever it answered before")
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds: it says nothing about accuracy")
    parser.add_argument("--threads", type=int, default=engines.cpu_count(), help="of each way; default every core")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default build/bench/accuracy.json")
    return parser


def _chosen(folder: Path | None, *, quick: bool) -> list[Recording]:
    if folder is not None:
        return list(recordings.in_folder(folder))
    found = recordings.default(recordings.default_folder())
    return [recordings.cut(next(found), 10.0)] if quick else list(found)


def run(chosen: Sequence[Recording], ours: Loaded, slow: Loaded | None, *, fresh: bool = False) -> Scored:
    """Count the errors of both ways on each recording in turn; without a stock way, of ours alone."""
    found: Found = {}
    for number, recording in enumerate(chosen, start=1):
        name = f"{recording.set}/{recording.name}"
        print(f"accuracy: {number} of {len(chosen)}, {name}", file=sys.stderr, flush=True)
        answers = {"ours": answer(ours, recording)}
        if slow is not None:
            words = bool(recording.segments)
            answers["stock"] = stock.remembered(slow, recording.waveform, words=words, fresh=fresh)
        found[name] = {way: scores.count(recording, each) for way, each in answers.items()}
    sets = {f"{item.set}/{item.name}": item.set for item in chosen}
    return Scored(sets, found, frozenset(f"{item.set}/{item.name}" for item in chosen if untuned(item)))


def untuned(recording: Recording) -> bool:
    """Whether it is built of people on whom nothing of the diarization was tuned."""
    return recording.set in BUILT and {turn.speaker for turn in recording.turns} <= recordings.UNTUNED


def answer(way: Loaded, recording: Recording) -> Answer:
    """Words and speakers where the words are known, else speakers alone."""
    return (way.transcribe if recording.segments else way.diarize)(recording.waveform)


# --- rows -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """What is promised of a rate on some sets; `met` is given stock's value and ours."""

    what: str
    sets: Sequence[str]
    rate: Rate
    must: str
    aim: str
    met: Callable[[float, float], bool]
    note: str = ""


def rows(scored: Scored) -> list[Row]:
    """A row for each claim that the sets at hand allow."""
    reported = [name for name in scored.names if name in REPORTED] or list(scored.names)
    worded = [name for name in scored.names if name in WORDED and name != "sample"] or list(scored.names)
    built = [name for name in scored.names if name in BUILT]
    claims = [_in_total(reported), _worst(scored, reported)]
    if built:
        claims.append(_confusion(built))
    groups = [worded, *(group for group in (("ami", TUNED), ("synthetic",), ("mixes",)) if {*group} < {*worded})]
    for name, rate in (("WDER", scores.wder), ("cpWER less WER", scores.excess)):
        claims += [_halved(f"{name}: {_list(group)}", group, rate) for group in groups]
    everything = scored.names
    claims.append(Claim("words in speech with a time and a speaker", everything, scores.placed, "100 %", "", _all))
    return [_row(scored, claim) for claim in claims] + _of_untuned(scored)


def _in_total(sets: Sequence[str]) -> Claim:
    must, aim = "3 points lower", "6 points lower"
    return Claim(f"DER in total: {_list(sets)}", sets, scores.der, must, aim, lambda stock, ours: stock - ours >= 0.03)


def _worst(scored: Scored, sets: Sequence[str]) -> Claim:
    """About the set on which ours compares worst."""

    def harm(name: str) -> float:
        stock, ours = (_rate(scores.der, scored.of(way, [name])) for way in ("stock", "ours"))
        return -math.inf if stock is None or ours is None else ours - stock

    worst = max(sets, key=harm)
    what = f"DER where ours compares worst: {_list([worst])}"
    return Claim(what, [worst], scores.der, "0.5 points higher at most", "", lambda stock, ours: ours - stock <= 0.005)


def _confusion(sets: Sequence[str]) -> Claim:
    what = "speaker confusion: mixes of 2 to 6 of LibriSpeech's speakers"
    note = "on four of the six an earlier part of the diarization was tuned"
    return Claim(what, sets, scores.confusion, "1 %", "0.3 %", lambda _, ours: ours <= 0.01, note)


def _of_untuned(scored: Scored) -> list[Row]:
    """Confusion where none of those who speak was tuned on: measured, with nothing promised of it."""
    sets = {name: set_name for name, set_name in scored.sets.items() if name in scored.untuned}
    if not sets:
        return []
    part = Scored(sets, {name: scored.found[name] for name in sets})
    what = "speaker confusion: mixes of 2609 and 3005 alone, on whom nothing of the diarization was tuned"
    claim = Claim(what, part.names, scores.confusion, "", "", _all)
    return [replace(_row(part, claim), met=None, note=f"{len(sets)} recordings of those above")]


def _halved(what: str, sets: Sequence[str], rate: Rate) -> Claim:
    notes = {TUNED: "7 of the 8 AMI clips were tuned on", "synthetic": "flite's voices were tuned on"}
    note = "; ".join(text for name, text in notes.items() if name in sets)
    return Claim(what, sets, rate, "half", "a fifth", lambda stock, ours: ours <= stock / 2, note)


def _all(_: float, ours: float) -> bool:
    return ours == 1


def _row(scored: Scored, claim: Claim) -> Row:
    """A rate in per cent, ours and stock's; the interval is that of ours less stock, in points."""
    counted = {way: scored.of(way, claim.sets) for way in ("stock", "ours")}
    stock_rate, our_rate = (_rate(claim.rate, counts) for counts in counted.values())
    paired = bool(counted["stock"])
    between = scores.difference_interval(claim.rate, counted["ours"], counted["stock"]) if paired else None
    return Row(
        what=claim.what,
        stock=None if stock_rate is None else POINTS * stock_rate,
        ours=None if our_rate is None else POINTS * our_rate,
        unit="%",
        must=claim.must,
        aim=claim.aim,
        met=None if our_rate is None or stock_rate is None else claim.met(stock_rate, our_rate),
        counts={way: _counts(counts) for way, counts in counted.items() if counts},
        interval=None if between is None else (POINTS * between[0], POINTS * between[1]),
        note=claim.note,
    )


def _rate(rate: Rate, counts: Sequence[Counts]) -> float | None:
    """A rate of summed counts; None where there is nothing to divide by."""
    value = rate(scores.total(counts)) if counts else math.nan
    return value if math.isfinite(value) else None


def _counts(counts: Sequence[Counts]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in asdict(scores.total(counts)).items()}


def _list(sets: Sequence[str]) -> str:
    names = {"sample": "sample", "ami": "AMI dev", TUNED: "AMI", "mixes": "mixes", "cuts": "cut mixes"}
    words = list(dict.fromkeys(names.get(name, name) for name in sets if not (name == "ami" and TUNED in sets)))
    return ", ".join(words)


def data(scored: Scored) -> dict[str, object]:
    """Counts of every recording; rates, counts and intervals of every set."""
    per_set = {
        name: {way: _measured(scored.of(way, [name])) for way in ("stock", "ours") if scored.of(way, [name])}
        for name in scored.names
    }
    per_recording = {
        name: {way: asdict(counts) for way, counts in by_way.items()} for name, by_way in scored.found.items()
    }
    return {"sets": per_set, "recordings": per_recording}


def _measured(counts: Sequence[Counts]) -> dict[str, object]:
    rates = scores.rates(scores.total(counts))
    intervals = {name: scores.interval(rate, counts) for name, rate in scores.RATES.items()}
    return {"counts": _counts(counts), "rates": rates, "intervals": intervals}


if __name__ == "__main__":
    main()
