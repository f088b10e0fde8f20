"""Errors of an answer, as counts; rates of them; and how far those could be chance.

| rate | what it is | by |
| --- | --- | --- |
| DER | missed speech, false alarm, confusion, as shares of the speech; collar 0, overlap scored | pyannote.metrics |
| JER | Jaccard error, averaged over the reference's speakers | pyannote.metrics |
| WER | word errors of the whole text in order of time | jiwer |
| cpWER | word errors speaker by speaker, with the best match of speakers | meeteval |
| WDER | of the words that align, right or substituted, those with the wrong speaker | jiwer's alignment |

WDER is that of Shafey et al. 2019; its speakers are matched one to one, such that they share most words. Texts go
through Whisper's English normalizer (whisper_normalizer) first: in one piece what a speaker says until the next one.
Rates of a set are those of its summed counts. Intervals are bootstrapped over recordings: 95 %, 1000 draws, seeded.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np
from benchmarks.answers import Answer
from benchmarks.recordings import Recording
from numpy.typing import NDArray

from diarist.types import Segment, Span, Turn, Word

DRAWS, SEED, COVERED = 1000, 5, 0.95
_NOBODY = "nobody"  # whoever said words that were given to nobody: no speaker of the reference is called so

Said = tuple[str, str | None]  # a normalized word and who said it


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted, in seconds or in words; of several recordings, the sums."""

    recordings: float
    seconds: float
    spoken: float
    missed: float
    false_alarm: float
    confusion: float
    speakers: float
    jaccard: float  # sum over the reference's speakers
    count_right: float  # recordings with as many speakers as the reference
    words: float
    word_errors: float
    cp_words: float
    cp_errors: float
    aligned: float  # words of the answer that align with one of the reference
    wrong_speaker: float  # of these
    found_words: float  # words of the answer in speech, or without a time
    placed_words: float  # of these, with a time and a speaker


Rate = Callable[[Counts], float]


def der(counts: Counts) -> float:
    """Diarization error rate."""
    return _share(counts.missed + counts.false_alarm + counts.confusion, counts.spoken)


def confusion(counts: Counts) -> float:
    """The part of DER that is speech given to the wrong speaker."""
    return _share(counts.confusion, counts.spoken)


def jer(counts: Counts) -> float:
    """Jaccard error rate."""
    return _share(counts.jaccard, counts.speakers)


def count_right(counts: Counts) -> float:
    """Share of the recordings with the right number of speakers."""
    return _share(counts.count_right, counts.recordings)


def wer(counts: Counts) -> float:
    """Word error rate."""
    return _share(counts.word_errors, counts.words)


def cpwer(counts: Counts) -> float:
    """Concatenated minimum-permutation word error rate."""
    return _share(counts.cp_errors, counts.cp_words)


def excess(counts: Counts) -> float:
    """CpWER less WER: what speakers add to the errors of words."""
    return cpwer(counts) - wer(counts)


def wder(counts: Counts) -> float:
    """Word diarization error rate."""
    return _share(counts.wrong_speaker, counts.aligned)


def placed(counts: Counts) -> float:
    """Share of the words in speech that have a time and a speaker."""
    return _share(counts.placed_words, counts.found_words)


RATES: dict[str, Rate] = {
    "DER": der, "confusion": confusion, "JER": jer, "count": count_right, "WER": wer, "cpWER": cpwer,
    "cpWER-WER": excess, "WDER": wder, "placed": placed,
}  # fmt: skip


def rates(counts: Counts) -> dict[str, float | None]:
    """Every rate; None where there is nothing to divide by."""
    values = {name: rate(counts) for name, rate in RATES.items()}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


# --- counting ---------------------------------------------------------------------------------------------


def count(recording: Recording, answer: Answer) -> Counts:
    """Count the errors of an answer; without words in the reference, those of its turns alone."""
    parts = turn_errors(recording.turns, answer.turns, recording.waveform.duration)
    words = word_errors(recording.segments, answer.words) if recording.segments else dict.fromkeys(_WORD_COUNTS, 0.0)
    found = [word for word in answer.words if _in_speech(word, recording.turns)] if recording.segments else []
    return Counts(
        recordings=1.0,
        seconds=recording.waveform.duration,
        found_words=float(len(found)),
        placed_words=float(sum(word.speaker is not None for word in found)),
        **parts,
        **words,
    )


_WORD_COUNTS = ("words", "word_errors", "cp_words", "cp_errors", "aligned", "wrong_speaker")


def _in_speech(word: Word, turns: Sequence[Turn]) -> bool:
    return any(turn.span.overlap(word.span) > 0 or turn.span.gap(word.span) == 0 for turn in turns)


def total(counts: Iterable[Counts]) -> Counts:
    """The sums."""
    return _of(np.sum([_row(each) for each in counts], axis=0))


def turn_errors(reference: Sequence[Turn], hypothesis: Sequence[Turn], duration: float) -> dict[str, float]:
    """Seconds of missed, false and confused speech, collar 0, overlap scored; the sum of Jaccard errors; the count."""
    from pyannote.core import Segment as PyannoteSegment
    from pyannote.core import Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate

    scored = Timeline([PyannoteSegment(0, duration)])
    true, found = _annotation(reference), _annotation(hypothesis)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about speakers who never speak inside the recording
        parts = DiarizationErrorRate(collar=0.0, skip_overlap=False)(true, found, uem=scored, detailed=True)
        jaccard = JaccardErrorRate(collar=0.0, skip_overlap=False)(true, found, uem=scored, detailed=True)
    people = {turn.speaker for turn in reference}
    return {
        "spoken": float(parts["total"]),
        "missed": float(parts["missed detection"]),
        "false_alarm": float(parts["false alarm"]),
        "confusion": float(parts["confusion"]),
        "speakers": float(jaccard["speaker count"]),
        "jaccard": float(jaccard["speaker error"]),
        "count_right": float(len({turn.speaker for turn in hypothesis}) == len(people)),
    }


def _annotation(turns: Iterable[Turn]) -> Any:  # noqa: ANN401 - pyannote's
    from pyannote.core import Annotation
    from pyannote.core import Segment as PyannoteSegment

    found = Annotation()
    for number, turn in enumerate(turns):
        found[PyannoteSegment(turn.span.start, turn.span.end), number] = turn.speaker
    return found


def word_errors(reference: Sequence[Segment], hypothesis: Sequence[Word]) -> dict[str, float]:
    """Words and errors for WER, cpWER and WDER."""
    import jiwer
    from meeteval.wer import cp_word_error_rate

    true = normalized((segment.span, segment.text, segment.speaker) for segment in reference)
    found = normalized((word.span, word.text, word.speaker) for word in hypothesis)
    output = jiwer.process_words(_text(true), _text(found))
    logging.getLogger("preprocess").setLevel(logging.ERROR)  # meeteval says each time that plain texts have no times
    by_speaker = cp_word_error_rate(reference=_by_speaker(true), hypothesis=_by_speaker(found) or {_NOBODY: ""})
    pairs = [
        (true[chunk.ref_start_idx + step][1], found[chunk.hyp_start_idx + step][1])
        for chunk in output.alignments[0]
        if chunk.type in {"equal", "substitute"}
        for step in range(chunk.ref_end_idx - chunk.ref_start_idx)
    ]
    return {
        "words": float(len(true)),
        "word_errors": float(output.substitutions + output.deletions + output.insertions),
        "cp_words": float(by_speaker.length),
        "cp_errors": float(by_speaker.errors),
        "aligned": float(len(pairs)),
        "wrong_speaker": float(len(pairs) - shared_words(pairs)),
    }


def normalized(parts: Iterable[tuple[Span, str, str | None]]) -> list[Said]:
    """Normalized words in order of time; what one speaker says without a break is normalized as one text.

    Whisper's normalizer looks at several words at once: "twenty one" becomes "21".
    """
    ordered = sorted(parts, key=lambda part: part[0])
    runs = [(who, " ".join(text for _, text, _ in run)) for who, run in groupby(ordered, key=lambda part: part[2])]
    return [(word, who) for who, text in runs for word in _normalizer()(text).split()]


@lru_cache(maxsize=1)
def _normalizer() -> Callable[[str], str]:
    from whisper_normalizer.english import EnglishTextNormalizer

    return EnglishTextNormalizer()  # type: ignore[no-any-return]


def _text(words: Sequence[Said]) -> str:
    return " ".join(word for word, _ in words)


def _by_speaker(words: Sequence[Said]) -> dict[str, str]:
    """Each speaker's words; those of nobody count as one more speaker's."""
    speakers = dict.fromkeys(who or _NOBODY for _, who in words)
    return {name: " ".join(word for word, who in words if (who or _NOBODY) == name) for name in speakers}


def shared_words(pairs: Sequence[tuple[str | None, str | None]]) -> int:
    """Of pairs (true speaker, speaker found), those that agree when speakers are matched one to one as suits best."""
    from scipy.optimize import linear_sum_assignment

    table = Counter((true, found) for true, found in pairs if true is not None and found is not None)
    rows, columns = (sorted({key[side] for key in table}) for side in (0, 1))
    shared = np.array([[table[row, column] for column in columns] for row in rows]).reshape(len(rows), len(columns))
    return int(shared[linear_sum_assignment(shared, maximize=True)].sum())


# --- chance -----------------------------------------------------------------------------------------------


def interval(rate: Rate, counts: Sequence[Counts]) -> tuple[float, float] | None:
    """Between which values a rate lies in 95 of 100 draws of as many recordings; None of fewer than two."""
    return _between([rate(drawn) for drawn in _draws(counts)], len(counts))


def difference_interval(rate: Rate, ones: Sequence[Counts], others: Sequence[Counts]) -> tuple[float, float] | None:
    """The same of `rate(ones) - rate(others)`, where both ways are drawn on the same recordings."""
    pairs = zip(_draws(ones), _draws(others), strict=True)
    return _between([rate(one) - rate(other) for one, other in pairs], len(ones))


def _draws(counts: Sequence[Counts]) -> Iterable[Counts]:
    """Sums over drawn recordings; for as many recordings, always the same draws."""
    rows = np.array([_row(each) for each in counts])
    drawn = np.random.default_rng(SEED).integers(len(rows), size=(DRAWS, len(rows)))
    return (_of(rows[indices].sum(0)) for indices in drawn)


def _between(values: Sequence[float], recordings: int) -> tuple[float, float] | None:
    finite = [value for value in values if math.isfinite(value)]
    if recordings < 2 or not finite:
        return None
    low, high = np.quantile(finite, [(1 - COVERED) / 2, (1 + COVERED) / 2])
    return float(low), float(high)


def _row(counts: Counts) -> list[float]:
    return list(asdict(counts).values())


def _of(row: NDArray[np.float64]) -> Counts:
    return Counts(**dict(zip((field.name for field in fields(Counts)), map(float, row), strict=True)))
