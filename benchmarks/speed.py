"""How long a ten-minute conversation takes as a whole command, ours and stock, and what memory.

    python -m benchmarks.speed                       ours three times, stock once between them: about eight minutes
    python -m benchmarks.speed --recordings F        the longest recording in F, ten minutes of it at most
    python -m benchmarks.speed --quick               the sample call, ours once, without stock

Each command runs in a process of its own, start-up included, on all cores, and nothing is taken from a cache. The
diarization of ours is timed beside it in a process that has loaded it, since in the command it shares a stage with
the transcriber; stock's is the seconds of its pipeline inside its command, where nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import mixes, recordings, scores
from benchmarks.answers import Answer
from benchmarks.ours import answer_of
from benchmarks.processes import Loaded, Measured, Name, measure
from benchmarks.protocol import FOLDER, Row, report
from benchmarks.recordings import Recording

from diarist import engines
from diarist.formats import seed
from diarist.types import Waveform

SPEAKERS = ("1998", "2033", "2609", "3005")
SECONDS = 590.0  # the last utterance ends before ten minutes
SEED = 400
RUNS = 3


@dataclass(slots=True)
class Timed:
    """What one way took and answered."""

    runs: list[Measured] = field(default_factory=list)
    diarization: list[float] = field(default_factory=list)  # seconds
    answer: Answer | None = None

    @property
    def seconds(self) -> float:
        """Of the whole command: the median of its runs."""
        return statistics.median(run.seconds for run in self.runs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Time both ways, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, metavar="FOLDER", help="instead of the built conversation")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of ours; default {RUNS}")
    parser.add_argument("--stock-runs", type=int, default=1, help="default 1; 0 leaves stock out")
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds")
    parser.add_argument("--threads", type=int, default=engines.cpu_count(), help="of each way; default every core")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default build/bench/speed.json")
    given = parser.parse_args(arguments)
    recording = sample() if given.quick else conversation(given.recordings)
    runs, stock_runs = (1, 0) if given.quick else (given.runs, given.stock_runs)
    path = FOLDER / "conversation.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    mixes.write_flac(path, recording.waveform.samples)
    timed = run(path, recording.waveform, runs=runs, stock_runs=stock_runs, threads=given.threads)
    report("speed", rows(recording, timed), data(recording, timed, given.threads), out=given.out)


def sample() -> Recording:
    """The sample call."""
    return next(recordings.default(recordings.default_folder()))


def conversation(folder: Path | None) -> Recording:
    """Ten minutes with a reference: of LibriSpeech's speakers, else of flite's, else the longest one in a folder.

    Raises:
        FileNotFoundError: there is nothing to build it from.
    """
    if folder is not None:
        return max(recordings.in_folder(folder), key=lambda item: item.waveform.duration)
    librispeech = recordings.default_folder() / "librispeech"
    plan = mixes.Plan(SECONDS, pieces="utterances", everyone=True)
    if librispeech.is_dir():
        voices = mixes.librispeech(librispeech, SPEAKERS)
        return recordings.of_mix("conversation", mixes.mix(voices, plan, seed=SEED), recordings.alone(voices))
    if mixes.flite_installed():
        return recordings.of_mix("conversation", mixes.mix(mixes.flite(), plan, seed=SEED))
    raise FileNotFoundError(f"{librispeech} is not there and flite is not installed: name recordings")


def run(path: Path, waveform: Waveform, *, runs: int, stock_runs: int, threads: int) -> dict[Name, Timed]:
    """Run the commands in turn: ours, stock, and what is left of ours."""
    timed: dict[Name, Timed] = {"ours": Timed()}
    if stock_runs:
        timed["stock"] = Timed()
    for number in range(max(runs, stock_runs)):
        if number < runs:
            _say(f"ours, {number + 1} of {runs}")
            _run_ours(path, threads, timed["ours"])
            with Loaded("ours", threads) as loaded:
                loaded.diarize(Waveform(waveform.samples[: len(waveform.samples) // 20]))  # so that it is loaded
                timed["ours"].diarization.append(sum(loaded.diarize(waveform).seconds.values()))
        if number < stock_runs:
            _say(f"stock, {number + 1} of {stock_runs}: two thirds of real time on two cores")
            _run_stock(path, threads, timed["stock"])
    return timed


def _run_ours(path: Path, threads: int, timed: Timed) -> None:
    out = FOLDER / "ours"
    command = [sys.executable, "-m", "diarist.cli", "transcribe", str(path), "-f", "json", "-o", str(out), "-q"]
    timed.runs.append(measure([*command, "--profile", "embedded", "--threads", str(threads)]))
    timed.answer = answer_of(seed.from_dict(json.loads((out / f"{path.stem}.json").read_text(encoding="utf-8"))))


def _run_stock(path: Path, threads: int, timed: Timed) -> None:
    out = FOLDER / "stock.json"
    command = [sys.executable, "-m", "benchmarks.stock", str(path), "--out", str(out), "--threads", str(threads)]
    timed.runs.append(measure(command))
    timed.answer = Answer.from_json(json.loads(out.read_text(encoding="utf-8")))
    timed.diarization.append(timed.answer.seconds["diarize"])


def _say(what: str) -> None:
    print(f"speed: {what}", file=sys.stderr, flush=True)


# --- rows -------------------------------------------------------------------------------------------------


def rows(recording: Recording, timed: Mapping[Name, Timed]) -> list[Row]:
    """The whole command, the diarization, and the memory."""
    seconds = recording.waveform.duration
    length = f"{seconds / 60:.0f}-minute" if seconds > 90 else f"{seconds:.0f}-second"
    whole = {way: [run.seconds for run in each.runs] for way, each in timed.items()}
    parts = {way: each.diarization for way, each in timed.items()}
    factor = seconds / timed["ours"].seconds
    what = f"whole command on a {length} conversation, words and speakers, start-up included"
    return [
        _ratio_row(
            what, whole, 14, "25 times faster; 30 s of audio a second", f"ours: {factor:.1f} s of audio a second"
        ),
        _ratio_row("diarization of it", parts, 30, "60 times faster", "ours with its segmentation"),
        Row(
            what="peak memory of the whole command",
            stock=_megabytes(timed["stock"]) if "stock" in timed else None,
            ours=_megabytes(timed["ours"]),
            unit="MB",
        ),
    ]


def _ratio_row(what: str, seconds: Mapping[Name, Sequence[float]], must: float, aim: str, note: str) -> Row:
    """The interval is of the ratio, between the slowest and the fastest run of each."""
    stock, ours = seconds.get("stock"), seconds["ours"]
    theirs, mine = statistics.median(stock) if stock else None, statistics.median(ours)
    return Row(
        what=what,
        stock=theirs,
        ours=mine,
        unit="s",
        must=f"{must} times faster",
        aim=aim,
        met=None if theirs is None else theirs / mine >= must,
        counts={way: [round(each, 2) for each in runs] for way, runs in seconds.items()},
        interval=(min(stock) / max(ours), max(stock) / min(ours)) if stock else None,
        note=note,
    )


def _megabytes(timed: Timed) -> float:
    return max(run.peak_bytes for run in timed.runs) / 1e6


def data(recording: Recording, timed: Mapping[Name, Timed], threads: int) -> dict[str, object]:
    """Runs, seconds by stage, speed factors, and the errors of both ways on the conversation."""
    duration = recording.waveform.duration
    ways: dict[str, object] = {}
    for way, each in timed.items():
        counts = scores.count(recording, each.answer) if each.answer else None
        ways[way] = {
            "runs": [asdict(run) for run in each.runs],
            "seconds": each.seconds,
            "speed_factor": duration / each.seconds,
            "stages": _stages(each),
            "diarization": each.diarization,
            "peak_bytes": max(run.peak_bytes for run in each.runs),
            "counts": asdict(counts) if counts else None,
            "rates": scores.rates(counts) if counts else None,
        }
    return {"seconds": duration, "threads": threads, "name": recording.name, "ways": ways}


def _stages(timed: Timed) -> dict[str, float]:
    """Seconds by stage in the last run, and what is left of it: start-up, decoding, writing."""
    stages = dict(timed.answer.seconds) if timed.answer else {}
    return {**stages, "rest": max(0.0, timed.runs[-1].seconds - sum(stages.values()))}


if __name__ == "__main__":
    main()
