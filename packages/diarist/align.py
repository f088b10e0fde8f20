"""Segments -> timed Words, from the transcriber's own times or from Whisper's cross-attention.

`AttentionAligner` serves every draft: words that are timed already pass through, tidied; a segment without words is
aligned by cross-attention (Whisper's own word times: dynamic time warping over the weights of its alignment
heads, openai/whisper `timing.py`) where a model is given; what is left is interpolated. So every word has a time
and no request fails for want of one. `diarist.align_ctc` builds on the same functions.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from diarist.batching import in_batches
from diarist.pieces import whole_words
from diarist.text import SPACELESS, flat, written_in
from diarist.types import Draft, Progress, Segment, Span, Waveform, Word
from diarist.windows import WINDOW_DURATION

if TYPE_CHECKING:
    from diarist.request import Options

MIN_WORD_SECONDS = 0.02  # one frame of Whisper's attention and of wav2vec2
MAX_CHARACTER_SECONDS = 0.1  # an interpolated word is no longer than this for each of its characters
MAX_TEXT_TOKENS = 440  # Whisper's decoder has 448 positions; its prompt and the end of text take some
PREPENDED = "\"'“¿([{-"  # punctuation that belongs to the next word, as openai/whisper has it
APPENDED = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001 - and to the word before
BATCH_SIZE = 8


class AttentionAligner:
    """Times words by Whisper's cross-attention.

    `model` is a `faster_whisper.WhisperModel` (whisperx's is one), or None where the transcriber times its
    words itself: a segment without words is then interpolated.
    """

    def __init__(self, model: Any | None = None) -> None:  # noqa: ANN401 - faster-whisper ships no types
        self._model = model

    def __call__(
        self, waveform: Waveform, draft: Draft, *, options: Options, progress: Progress
    ) -> tuple[tuple[Word, ...], tuple[str, ...]]:
        """Words in order of start, inside the recording, each at least 20 ms long; and no notes.

        With `options.align` false, segments without words are interpolated: no second pass of the model.
        """
        found: dict[int, tuple[Word, ...]] = {}
        wordless: list[int] = []
        for index, segment in enumerate(draft.segments):
            if segment.words:
                found[index] = segment.words
            elif options.align and segment.span.duration <= WINDOW_DURATION + MIN_WORD_SECONDS:
                wordless.append(index)
        if wordless and self._model is not None:
            attend = _Attention(self._model, waveform, draft, options)
            for batch, words in in_batches(wordless, attend, batch_size=BATCH_SIZE):
                found.update(zip(batch, words, strict=True))
                progress(len(found), len(draft.segments))
        language = written_in(draft.language, options.task)
        every = (
            word
            for index, segment in enumerate(draft.segments)
            for word in _words(segment, found.get(index, ()), language)
        )
        return settle(every, waveform.duration), ()


def _words(segment: Segment, found: Sequence[Word], language: str) -> tuple[Word, ...]:
    """A segment's words as its text has them; interpolated where none were found."""
    if not found:
        return interpolated(segment, language)
    return tuple(found) if language in SPACELESS else whole_words(found, units(segment.text, language))


class _Attention:
    """One request's segments by their number -> their words."""

    def __init__(self, model: Any, waveform: Waveform, draft: Draft, options: Options) -> None:  # noqa: ANN401
        from faster_whisper.tokenizer import Tokenizer  # noqa: PLC0415 - only where words are missing

        self._model = model
        self._waveform = waveform
        self._segments = draft.segments
        self._tokenizer = Tokenizer(
            model.hf_tokenizer, model.model.is_multilingual, task=options.task, language=draft.language
        )

    def __call__(self, indices: Sequence[int]) -> list[tuple[Word, ...]]:
        segments = [self._segments[index] for index in indices]
        tokens = [self._tokenizer.encode(f" {flat(segment.text)}") for segment in segments]
        fits = [0 < len(row) <= MAX_TEXT_TOKENS for row in tokens]
        frames = [round(segment.span.duration * self._model.frames_per_second) for segment in segments]
        # features: (num_segments, num_mels, 3000) float32, each padded to 30 s
        features = np.stack([self._features(segment) for segment in segments])
        rows = [
            [{"tokens": row if fit else [], "seek": 0, "start": 0.0, "end": segment.span.duration}]
            for row, fit, segment in zip(tokens, fits, segments, strict=True)
        ]
        self._model.add_word_timestamps(
            rows, self._tokenizer, self._model.encode(features), frames, PREPENDED, APPENDED, 0.0
        )
        return [
            tuple(_placed(word, segment.span) for word in row[0].get("words", ()) if word["word"].strip())
            for row, segment in zip(rows, segments, strict=True)
        ]

    def _features(self, segment: Segment) -> np.ndarray[Any, Any]:
        extractor = self._model.feature_extractor
        samples = self._waveform.crop(segment.span)[: extractor.n_samples]
        features = extractor(np.pad(samples, (0, extractor.n_samples - len(samples))))
        return features[:, : extractor.nb_max_frames]  # type: ignore[no-any-return]


def _placed(word: dict[str, Any], segment: Span) -> Word:
    """A word of faster-whisper's, timed from its window, kept inside of its segment."""
    start = min(segment.start + max(0.0, float(word["start"])), segment.end)
    end = min(max(segment.start + float(word["end"]), start), segment.end)
    score = float(np.clip(word["probability"], 0.0, 1.0))
    return Word(text=word["word"].strip(), span=Span(start, end), score=score, timing="attention")


def units(text: str, language: str) -> tuple[str, ...]:
    """Cut a segment's text into words; in a spaceless language into characters with what belongs to them.

    There, marks and punctuation stay with the character before, and foreign letters and digits with each other.

    >>> units(" Well, it's $5.", "en"), units("我用AI。", "zh")
    (('Well,', "it's", '$5.'), ('我', '用', 'AI。'))
    """
    if language not in SPACELESS:
        return tuple(text.split())
    cut: list[str] = []
    for piece in re.findall(r"[0-9A-Za-z]+|\S", text):
        if cut and unicodedata.category(piece[0])[0] in "MP":
            cut[-1] += piece
        else:
            cut.append(piece)
    return tuple(cut)


def interpolated(segment: Segment, language: str) -> tuple[Word, ...]:
    """A segment's words spread over its span by their length in characters."""
    texts = units(segment.text, language)
    spans = spread(texts, segment.span)
    return tuple(Word(text, span, timing="interpolated") for text, span in zip(texts, spans, strict=True))


def spread(texts: Sequence[str], within: Span) -> tuple[Span, ...]:
    """Divide a span among words by their length in characters.

    >>> spread(["a", "bcd"], Span(1, 3))
    (Span(start=1.0, end=1.5), Span(start=1.5, end=3.0))
    """
    lengths = np.cumsum([0, *(len(text) for text in texts)], dtype=float)
    edges = [float(edge) for edge in within.start + within.duration * lengths / max(1.0, lengths[-1])]
    return tuple(Span(start, max(start, end)) for start, end in pairwise(edges))


def fill(texts: Sequence[str], spans: Sequence[Span | None], within: Span) -> tuple[Span, ...]:
    """Place the words without a span between their neighbours, next to the word before where there is one.

    >>> fill(["so", "-", "yes"], [Span(0, 1), None, Span(3, 4)], Span(0, 9))[1]
    Span(start=1.0, end=1.1)
    """
    if not any(spans):
        return spread(texts, within)
    filled: list[Span] = []
    for index, span in enumerate(spans):
        if span is not None:
            filled.append(span)
        elif len(filled) == index:  # the first of a run: place all of it
            stop = next((later for later in range(index, len(spans)) if spans[later] is not None), len(spans))
            following = spans[stop] if stop < len(spans) else None
            left = filled[-1].end if filled else None
            right = following.start if following else within.end
            filled += spread(texts[index:stop], _beside(left, right, texts[index:stop], within))
    return tuple(filled)


def _beside(left: float | None, right: float, texts: Sequence[str], within: Span) -> Span:
    longest = MAX_CHARACTER_SECONDS * sum(len(text) for text in texts)
    if left is None:
        return Span(max(within.start, right - longest, 0.0), max(right, within.start))
    return Span(left, max(left, min(right, left + longest)))


def settle(words: Iterable[Word], duration: float) -> tuple[Word, ...]:
    """Keep words inside the recording, in order of start, and at least 20 ms long; blank ones vanish."""
    shortest = min(MIN_WORD_SECONDS, duration)
    settled: list[Word] = []
    earliest = 0.0
    for word in words:
        if not word.text.strip():
            continue
        start = min(max(word.span.start, earliest), duration - shortest)
        end = min(max(word.span.end, start + shortest), duration)
        settled.append(replace(word, text=word.text.strip(), span=Span(start, end)))
        earliest = start
    return tuple(settled)
