"""RESULTS.md: what was promised and what was measured, in tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

REASONS = Path(__file__).with_name("SHORT.md")  # why rows fall short: written by people

Content = Mapping[str, Any]  # what one benchmark wrote, or a part of it


TITLES = {
    "speed": "speed and memory of the whole command",
    "accuracy": "errors of speakers and words",
    "count": "number of speakers",
    "alignment": "times of words by CTC alignment",
    "silence": "words invented where nobody speaks",
    "bounded": "memory over two hours and over a hundred requests",
    "gpu": "speed on a GPU (make bench-gpu)",
}


def results(found: Mapping[str, Content], machine: Content, *, chart: str | None, failed: Sequence[str] = ()) -> str:
    """The whole page.

    Args:
        found: what each benchmark wrote, by its name.
        machine: what it was measured on.
        chart: the file beside the page, where there is one.
        failed: the benchmarks that ended with an error; what they had found by then counts.
    """
    rows = [row for content in found.values() for row in content["rows"]]
    introduction = (
        "Written by `make bench`, which anyone can repeat: the stock pipeline and ours on the same recordings, with "
        f"the same weights and as many threads. {_on(machine)} Ratios carry over to other machines better than seconds."
    )
    parts = [
        "# Results",
        introduction,
        "## What was promised",
        _promises([row for row in rows if row["must"]]),
        *_absent(found, failed),
        *_short([row for row in rows if row["met"] is False]),
        *_measured([row for row in rows if not row["must"]]),
        *([f"## Speed against error\n\n![Speed and errors of both ways]({chart})"] if chart else []),
        *([_stages(found["speed"]["data"])] if "speed" in found else []),
        *([_sets(found["accuracy"]["data"])] if "accuracy" in found else []),
        *([_counts(found["count"]["data"])] if "count" in found else []),
        METHOD,
    ]
    return "\n\n".join(parts) + "\n"


METHOD = """## How it is measured

- **Stock** is what the field runs with these weights: faster-whisper's `BatchedInferencePipeline` with its own
  voice activity detector and word times, pyannote.audio's unchanged pipeline, whisperx's `assign_word_speakers`;
  default options. The weights are those of the embedded profile: Whisper tiny.en (int8), segmentation-3.0 and
  CAM++. Community-1's clustering needs a PLDA of its own embeddings, so the clustering is pyannote 3.1's, with the
  threshold that suits CAM++ best.
- **The whole command** runs in a process of its own, from its start to its end; ours several times with stock in
  between. Peak memory is the largest resident set, as the system counts it. Nothing timed is taken from a cache.
- **Errors.** DER and JER by pyannote.metrics, collar 0, overlap scored. WER by jiwer on the text in order of time;
  cpWER by meeteval; WDER (Shafey et al. 2019) on jiwer's alignment, substitutions included, speakers matched one to
  one by most shared words. Texts go through Whisper's English normalizer (whisper_normalizer). Stock's answers for
  the sets are kept by the hash of samples, weights and code (`make bench BENCH=--fresh` asks it again).
- **Intervals** are 95 %, bootstrapped over recordings, 1000 draws, seeded; those beside two figures are of ours
  less stock, on the same draws. Those of speed are the slowest and fastest
  runs, that of the number of speakers is Wilson's.
- **The sets**: the sample call; AMI clips of 30 s, of which `trn*` were tuned on and `dev*` were not; conversations
  of two to six of LibriSpeech's speakers, of whole utterances (*mixes*) and of pieces (*cuts*), with gains apart
  and noise; conversations of flite's voices (*synthetic*), whose words are known. What LibriSpeech's speakers say
  is what the same speech model hears in each utterance alone. Synthetic voices say nothing about accuracy in the
  field; they do about which words go to whom.
- **What was tuned on what.** Today's constants of clustering and of changes of speaker were chosen on mixes of other
  people's voices: LibriSpeech readers taken from elsewhere, flite, AMI `trn*`; none of the six LibriSpeech readers of
  the sets. Earlier constants (windows of 2.4 s, the least that counts as a speaker) were chosen on four of the six,
  1688, 1998, 2033 and 2414; 2609 and 3005 have rows of their own. The sample's number of speakers was seen when the
  constant that decides it (0.66) was chosen, so its count is no report. Times of words, and where speakers change
  between them, were set on flite's voices and AMI `trn*`, and looked at on the six readers and the sample.
  Windows for Whisper were compared on flite, AMI `trn*` and the four readers named. The step of the segmentation, 2 s
  in recordings of less than 90 s, which all sets of errors are, and 3 s in longer ones, such as the timed one, was
  chosen on flite and the same four, and the limit of 90 s after a look at the sample and at the number of speakers.
- **Invented words.** The gates that drop doubtful text were set on a "Woohoo!" that Whisper hears in hum, which
  is one of the kinds of sound that they are measured on."""


def _on(on: Mapping[str, Any]) -> str:
    memory = on["memory_bytes"] / 2**30
    versions = ", ".join(f"{name} {number}" for name, number in on["versions"].items())
    where = (
        f"{on['cores']} cores of {on['processor']}, {memory:.0f} GB of memory, {on['system']}, Python {on['python']}"
    )
    return f"Measured on {on['date']} on {where}; {versions}."


def _promises(rows: Iterable[Content]) -> str:
    head = ["what", "stock", "ours", "compared", "95 %", "must", "aim", "", "counts and notes"]
    cells = (
        [row["what"], _figure(row, "stock"), _figure(row, "ours"), compared(row)[0], _between(row["interval"]),
         row["must"], row["aim"], verdict(row), "; ".join(filter(None, [_counted(row), row["note"]]))]
        for row in rows
    )  # fmt: skip
    return _table(head, cells)


def _measured(rows: Sequence[Content]) -> list[str]:
    if not rows:
        return []
    head = ["what", "stock", "ours", "95 %", "note"]
    cells = (
        [row["what"], _figure(row, "stock"), _figure(row, "ours"), _between(row["interval"]), row["note"]]
        for row in rows
    )
    return ["## What else was measured", _table(head, cells)]


def _short(rows: Sequence[Content]) -> list[str]:
    if not rows:
        return []
    lines = [f"- {row['what']}: {verdict(row)}." for row in rows]
    reasons = [REASONS.read_text(encoding="utf-8").strip()] if REASONS.is_file() else []
    return ["## What falls short", "\n".join(lines), *reasons]


def _absent(found: Mapping[str, Content], failed: Sequence[str]) -> list[str]:
    """What the page has no figures of, or not all."""
    lines = [f"- {title}: failed{'; what it had found by then counts' * (name in found)}."
             if name in failed else f"- {title}: not measured yet."
             for name, title in TITLES.items() if name in failed or name not in found]  # fmt: skip
    return ["## What is not measured", "\n".join(lines)] if lines else []


def verdict(row: Content) -> str:
    """Whether a row keeps what was promised, and else by how much it does not."""
    if row["met"] is None:
        return "not measured"
    if row["met"]:
        return "met"
    words, value, target, unit = compared(row)
    if value is None or target is None:
        return "short"
    if "equal" in row["must"] and words and value >= target:  # fast enough: it is the results that differ
        return "not equal"
    return f"short by {abs(target - value):.2g}{unit}"


def compared(row: Content) -> tuple[str, float | None, float | None, str]:
    """Ours beside stock in the terms of what was promised: in words, as a number, the number promised, its unit."""
    stock, ours, must = row["stock"], row["ours"], row["must"]
    number = re.search(r"\d+(\.\d+)?", must)
    target = float(number[0]) if number else None
    if ours is None:
        return "", None, None, ""
    if re.match(r"[\d.]+ ?(x|times)", must) and stock:
        ratio = stock / ours if row["unit"] == "s" else ours / stock  # of seconds, or of a speed
        return f"{ratio:.3g} times faster", ratio, target, " times"
    if "points" in must and stock is not None:
        value = ours - stock if "higher" in must else stock - ours
        return f"{ours - stock:+.2f} points", value, target, " points"
    if must == "half" and stock:
        return f"{ours / stock:.2f} of stock's", ours / stock, 0.5, " of stock's"
    unit = " points" if row["unit"] == "%" else f" {row['unit']}"
    return "", ours, target, unit


def _counted(row: Content) -> str:
    """The counts that matter for a rate; whatever else there is stands in build/bench.json."""
    counts = row["counts"]
    if not counts or not all(isinstance(value, Mapping) for value in counts.values()):
        return "; ".join(f"{name} {_plain(value)}" for name, value in counts.items())
    return "; ".join(f"{way} {_most_telling(row['what'], values)}" for way, values in counts.items())


def _most_telling(what: str, values: Mapping[str, float]) -> str:
    seconds = f"of {values.get('spoken', 0):.0f} s"
    if what.startswith("DER"):
        return f"{sum(values[name] for name in ('missed', 'false_alarm', 'confusion')):.1f} {seconds}"
    if "confusion" in what:
        return f"{values['confusion']:.1f} {seconds}"
    if what.startswith("WDER"):
        return f"{values['wrong_speaker']:.0f} of {values['aligned']:.0f} words"
    if what.startswith("cpWER"):
        return f"{values['cp_errors']:.0f} less {values['word_errors']:.0f} of {values['words']:.0f} words"
    if "placed_words" in values:
        return f"{values['placed_words']:.0f} of {values['found_words']:.0f} words"
    return ", ".join(f"{name} {_plain(value)}" for name, value in values.items())


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _figure(row: Content, way: str) -> str:
    value = row[way]
    return "-" if value is None else f"{value:.3g} {row['unit']}"


def _between(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3g} to {interval[1]:.3g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _stages(data: Content) -> str:
    """Seconds by stage of both commands."""
    ways = data["ways"]
    names = list(dict.fromkeys(name for way in ways.values() for name in way["stages"]))
    cells = (
        [way, f"{each['seconds']:.1f}", f"{each['speed_factor']:.1f}", f"{each['peak_bytes'] / 1e6:.0f}"]
        + [f"{each['stages'][name]:.2f}" if name in each["stages"] else "" for name in names]
        for way, each in ways.items()
    )
    head = ["way", "seconds", "speed factor", "peak MB", *names]
    about = f"{data['seconds']:.0f} s of audio, {data['threads']} threads. Stages are of one run, in seconds; *rest* is"
    return f"## Seconds by stage\n\n{about} start-up, imports, decoding and writing.\n\n{_table(head, cells)}"


def _sets(data: Content) -> str:
    """Errors by set and way, in per cent."""
    head = ["set", "way", "recordings", "min", "DER", "missed", "false alarm", "confusion", "JER", "count right", "WER",
            "cpWER", "WDER", "words placed"]  # fmt: skip
    rows = [_set_row(name, way, measured) for name, by_way in data["sets"].items() for way, measured in by_way.items()]
    return f"## Errors by set\n\nIn per cent; after ± half the width of the interval.\n\n{_table(head, rows)}"


def _set_row(name: str, way: str, measured: Content) -> list[str]:
    counts, rates, intervals = measured["counts"], measured["rates"], measured["intervals"]
    parts = [_percent(counts[part] / counts["spoken"]) for part in ("missed", "false_alarm", "confusion")]

    def rate(key: str) -> str:
        between = intervals[key]
        return _percent(rates[key]) + (f" ± {50 * (between[1] - between[0]):.1f}" if between else "")

    right = f"{counts['count_right']:.0f} of {counts['recordings']:.0f}"
    words = (
        ([rate(key) for key in ("WER", "cpWER", "WDER")] + [_percent(rates["placed"])]) if counts["words"] else [""] * 4
    )
    return [name, way, f"{counts['recordings']:.0f}", f"{counts['seconds'] / 60:.1f}", rate("DER"), *parts, rate("JER"),
            right, *words]  # fmt: skip


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _counts(data: Content) -> str:
    """How many counts are right, by length and number of speakers."""
    mixes = data["mixes"]
    lengths = list(dict.fromkeys(mix["minutes"] for mix in mixes))
    people = sorted({mix["speakers"] for mix in mixes})
    rows = []
    for length in lengths:
        row = [f"{length:.2g} min"]
        for number in people:
            these = [mix for mix in mixes if (mix["minutes"], mix["speakers"]) == (length, number)]
            right = sum(mix["ours"] == number for mix in these)
            row.append(f"{right} of {len(these)}" if these else "")
        rows.append(row)
    head = ["", *(f"{number} speaker{'s' if number > 1 else ''}" for number in people)]
    return f"## Counts of speakers that are right\n\n{_table(head, rows)}"
