"""From a network's emissions to timed words: `whisperx.align` beside ours, the network itself left out of both.

    PYTHONPATH=packages:. python -m benchmarks.alignment [--minutes 10] [--repeats 5] [--out FILE]

Ten minutes in windows of 30 s (1500 frames, 33 labels, about 90 words in 6 sentences), on seeded emissions that are
peaked as a trained wav2vec2's are: one frame for each letter, blanks between. A stand-in for the network hands the same
logits to both; each then does all of its own work: log-softmax, trellis, best path, words. The two take turns.

Where they can agree: whisperx has no exact Viterbi, so against it only the starts of words are compared; its ends
give the blanks after a word's last letter to that letter. Ours end with the letter's last frame, and are
compared once as they are and once by its convention. That ours is exact is tested in tests/test_align_ctc.py.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from benchmarks.protocol import Row, report
from numpy.typing import NDArray

from diarist import libraries
from diarist.align_ctc import Alphabet, align_segment, align_segments, spell, viterbi, with_unknown
from diarist.types import Draft, Segment, Span, Waveform, Word, unobserved

WINDOW_SECONDS = 30.0
FRAMES = 1500  # wav2vec2 gives 50 a second
LABELS = 33
ALPHABET = Alphabet({label: index for index, label in enumerate("|abcdefghijklmnopqrstuvwxyz'", start=1)}, blank=0)
SENTENCES, WORDS = 6, 15  # in a window: three words a second
TOLERANCE = 0.0205  # seconds: one frame, and whisperx rounds to a millisecond
MUST, AIM = 10, 30


@dataclass(frozen=True, slots=True)
class Window:
    """Half a minute of speech as the network hears it."""

    segment: Segment
    logits: torch.Tensor  # (FRAMES, LABELS) float32


def main(minutes: float, repeats: int, out: Path | None) -> None:
    """Measure, print and write."""
    random = np.random.default_rng(2)
    windows = [build(random, number) for number in range(max(1, round(minutes * 60 / WINDOW_SECONDS)))]
    waveform = Waveform(np.zeros(round(len(windows) * WINDOW_SECONDS * 16_000), np.float32))
    with sentences_without_a_download():
        theirs = [whisperx_words(window, waveform) for window in windows]  # also warms both up
        ours = [our_words(window, waveform) for window in windows]
        seconds = [times(windows, waveform) for _ in range(repeats)]
    stock_seconds, our_seconds = (statistics.median(each) for each in zip(*seconds, strict=True))
    ratios = sorted(stock / own for stock, own in seconds)
    data = {
        "windows": len(windows), "words": sum(map(len, ours)), "threads": torch.get_num_threads(),
        "seconds": seconds, **agreement(windows, theirs, ours),
    }  # fmt: skip
    report("alignment", [speed_row(stock_seconds, our_seconds, ratios, data), *agreement_rows(data)], data, out=out)


# --- what both are given ----------------------------------------------------------------------------------


def build(random: np.random.Generator, number: int) -> Window:
    """Words of random letters, and peaked logits that say them."""
    letters = list("etaoinshrdlucmfwygpbvk")
    words = ["".join(random.choice(letters, random.integers(2, 8))) for _ in range(SENTENCES * WORDS)]
    text = " ".join(f"{' '.join(words[first : first + WORDS]).capitalize()}." for first in range(0, len(words), WORDS))
    start = number * WINDOW_SECONDS
    return Window(Segment(Span(start, start + WINDOW_SECONDS), text), torch.from_numpy(peaked(text, random)))


def peaked(text: str, random: np.random.Generator) -> NDArray[np.float32]:
    """Noise, the blank far above it, and each letter above the blank in one frame of its own; some frames apart."""
    labels = [ALPHABET.labels["|" if letter == " " else letter] for letter in text.lower() if letter != "."]
    logits = random.standard_normal((FRAMES, LABELS)).astype(np.float32)
    logits[:, ALPHABET.blank] += 8
    frames = np.sort(random.choice(np.arange(5, FRAMES // 2 - 5), len(labels), replace=False)) * 2
    logits[frames, ALPHABET.blank], logits[frames, labels] = 0, 9
    return logits


@contextmanager
def sentences_without_a_download() -> Iterator[None]:
    """Let whisperx cut sentences at full stops, which all have here, and not by a model that NLTK would download."""
    alignment = libraries.whisperx().alignment
    theirs = alignment.nltk_load
    splitter = SimpleNamespace(
        span_tokenize=lambda text: [match.span() for match in re.finditer(r"[^ .][^.]*\.", text)]
    )
    alignment.nltk_load = lambda _: splitter
    try:
        yield
    finally:
        alignment.nltk_load = theirs


# --- the two ways -----------------------------------------------------------------------------------------


class SaysJustThis(torch.nn.Module):
    """In place of the network: these logits, whatever it hears."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, _samples: torch.Tensor) -> Any:  # noqa: ANN401 - transformers' output
        """The logits, as transformers answers."""
        return SimpleNamespace(logits=self.logits[None])


def whisperx_words(window: Window, waveform: Waveform) -> list[dict[str, Any]]:
    """`whisperx.align`, unchanged."""
    span = window.segment.span
    metadata = {"language": "en", "dictionary": {"<pad>": 0, **ALPHABET.labels}, "type": "huggingface"}
    said = [{"start": span.start, "end": span.end, "text": window.segment.text}]
    answer = libraries.whisperx().align(said, SaysJustThis(window.logits), metadata, waveform.samples, "cpu")
    return answer["word_segments"]  # type: ignore[no-any-return]


def our_words(window: Window, waveform: Waveform) -> list[Word]:
    """`diarist.align_ctc`, from the logits on."""
    emit = lambda _samples: [torch.log_softmax(window.logits, dim=-1)]  # noqa: E731
    draft = Draft("en", (window.segment,))
    return align_segments(waveform, draft, emit, ALPHABET, batch_size=1, progress=unobserved)


def times(windows: list[Window], waveform: Waveform) -> tuple[float, float]:
    """Seconds of whisperx and of ours, taking turns window by window."""
    spent = [0.0, 0.0]
    for window in windows:
        for way, run in enumerate((whisperx_words, our_words)):
            started = time.perf_counter()
            run(window, waveform)
            spent[way] += time.perf_counter() - started
    return spent[0], spent[1]


# --- where they agree -------------------------------------------------------------------------------------


def agreement(
    windows: list[Window], theirs: list[list[dict[str, Any]]], ours: list[list[Word]]
) -> dict[str, int | float]:
    """How many words start, and end, within one frame of each other."""
    pairs = [pair for them, us in zip(theirs, ours, strict=True) for pair in zip(them, us, strict=True)]
    ends = [end for window in windows for end in ends_with_blanks(window)]
    return {
        "same_text": sum(them["word"] == us.text for them, us in pairs),
        "starts": sum(bool(abs(them["start"] - us.span.start) <= TOLERANCE) for them, us in pairs),
        "ends": sum(bool(abs(them["end"] - us.span.end) <= TOLERANCE) for them, us in pairs),
        "ends_by_its_convention": sum(
            bool(abs(them["end"] - end) <= TOLERANCE) for (them, _), end in zip(pairs, ends, strict=True)
        ),
    }


def ends_with_blanks(window: Window) -> list[float]:
    """Our words' ends by whisperx's convention: where the label after the word's last begins.

    The last word of a window ends with its last letter.
    """
    emission = torch.log_softmax(window.logits, dim=-1)
    labels, owners = spell(window.segment.text.split(), ALPHABET, unknown=LABELS)
    runs = viterbi(with_unknown(emission, ALPHABET.blank), labels, ALPHABET.blank)
    if runs is None:
        return [word.span.end for word in align_segment(window.segment, "en", emission, ALPHABET)]
    begins = [run[0] for run in runs]
    stops = [begins[index] for index, owner in enumerate(owners) if owner is None] + [runs[-1][1]]
    return [window.segment.span.start + stop * WINDOW_SECONDS / FRAMES for stop in stops]


# --- rows -------------------------------------------------------------------------------------------------


def speed_row(stock: float, ours: float, ratios: list[float], data: dict[str, Any]) -> Row:
    """The ratio of seconds, with the smallest and the largest of the repeats."""
    return Row(
        what="trellis, backtrack and words, without the network",
        stock=1.0,
        ours=stock / ours,
        unit="times as fast",
        must=f"{MUST}x",
        aim=f"{AIM}x",
        met=stock / ours >= MUST,
        counts={"stock_seconds": stock, "our_seconds": ours, "windows": data["windows"], "words": data["words"]},
        interval=(ratios[0], ratios[-1]),
        note=f"median of {len(ratios)} repeats; the interval is their range",
    )


def agreement_rows(data: dict[str, Any]) -> list[Row]:
    """Shares of words that agree with whisperx."""
    texts = {
        "starts": ("words that start within 20 ms of whisperx's", ""),
        "ends_by_its_convention": (
            "words that end there, by whisperx's convention",
            "it gives the blanks after a letter to that letter",
        ),
        "ends": ("words that end there, as they are", "ours end with the last frame of the last letter"),
    }
    words = data["words"]
    return [
        Row(what, None, 100 * data[key] / words, "%", counts={"agree": data[key], "words": words}, note=note)
        for key, (what, note) in texts.items()
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="From emissions to words: whisperx.align beside ours.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    main(arguments.minutes, arguments.repeats, arguments.out)
