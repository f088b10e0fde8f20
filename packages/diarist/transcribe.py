"""Windows of speech -> draft segments and language, with faster-whisper on CTranslate2.

The encoder's output serves the text and the word times, so words cost little beside the text. See
`transcribe_whisperx.py` for the production engine.
"""

from __future__ import annotations

import logging
import math
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.align import APPENDED, PREPENDED
from diarist.batching import MAX_THREADS, in_batches, in_threads
from diarist.errors import LanguageUnsupported, ModelMissing
from diarist.request import Gates, Options
from diarist.types import Draft, Progress, Segment, Span, Waveform, Word
from diarist.windows import WINDOW_DURATION

HOPELESS_LOG_PROBABILITY = -1.5  # nobody could have said this, however sure the model is that somebody spoke
END_PADDING = 5.0  # seconds of silence after the longest window of a batch; without any, Whisper finds no end

CPU_BATCH = 6  # windows that a CPU core decodes at once, at most; more are no faster, see docs/adr/0016
SMALLEST_CPU_BATCH = 2
CPU_SHARE = 16  # a batch takes no more than this part of a recording, so that no core is idle while another decodes
END_SLACK = 0.03  # seconds before a window's end, a frame of attention and a half, in which no word begins
SPARE_SECONDS = 2.0  # added to a window's length when its share of Whisper's tokens for 30 s is counted

LANGUAGE_WINDOWS = 3  # windows, spread over the recording, whose language probabilities are averaged


class FasterWhisperTranscriber:
    """A Whisper model in CTranslate2's format, run in batches of windows.

    Raises:
        ModelMissing: the folder does not hold such a model.
        RuntimeError, ValueError: CTranslate2 cannot load it so, on that device or with that precision.
    """

    def __init__(
        self, folder: Path, *, name: str, device: str, compute_type: str, threads: int, batch_size: int, beam_size: int
    ) -> None:
        check_folder(folder)
        from faster_whisper import WhisperModel  # noqa: PLC0415 - slow to import

        logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # it reports every recording at INFO
        on_cpu = device == "cpu"
        # Batches at once; where there are more cores than may run one each, each runs on several.
        self._workers = min(max(1, threads), MAX_THREADS) if on_cpu else 1
        self._model = WhisperModel(
            str(folder),
            device=device,
            compute_type=compute_type,
            cpu_threads=threads // self._workers,
            num_workers=self._workers,
            local_files_only=True,
        )
        self.name, self._beam_size = name, beam_size
        self._batch_size, self._on_cpu = batch_size, on_cpu

    @property
    def model(self) -> Any:  # noqa: ANN401 - faster-whisper ships no types
        """The loaded `faster_whisper.WhisperModel`, for aligning other drafts."""
        return self._model

    def __call__(self, waveform: Waveform, windows: tuple[Span, ...], *, options: Options, progress: Progress) -> Draft:
        """Transcribe the windows; one segment a window, with words timed by cross-attention."""
        check_language(options, self._model.supported_languages, self.name)
        language, probability = options.language, None
        if language is None:
            language, probability = self._detect_language(waveform, windows, options)
        hear = _Ear(self._model, waveform, language, options, self._beam_size, one_by_one=self._on_cpu)
        batches = self._batches(windows)

        def run(batch: Sequence[Span]) -> list[Segment]:
            found = in_batches(batch, hear, batch_size=len(batch))
            spoken = (one.segment for _, heard in found for one in heard if is_speech(one, options.gates))
            return [segment for segment in map(inside, spoken) if segment.text]

        heard = in_threads(batches, run, threads=self._workers, progress=progress)
        return Draft(language, tuple(sorted(chain.from_iterable(heard), key=lambda one: one.span)), probability)

    def _batches(self, windows: Sequence[Span]) -> list[Sequence[Span]]:
        """Windows of like length together, since the longest of a batch says what it costs; the longest first.

        So no worker begins the longest when the others are done. What is together does not depend on their number.
        """
        alike = sorted(windows, key=lambda window: -window.duration)
        size = min(self._batch_size, cpu_batch(len(alike))) if self._on_cpu else self._batch_size
        return [alike[first : first + size] for first in range(0, len(alike), size)]

    def _detect_language(
        self, waveform: Waveform, windows: tuple[Span, ...], options: Options
    ) -> tuple[str, float | None]:
        """Average the probabilities over windows from the whole recording; its start may be a jingle."""
        if not self._model.model.is_multilingual:
            return "en", None
        if not windows:
            return "en", 0.0
        chosen = windows[:: max(1, len(windows) // LANGUAGE_WINDOWS)][:LANGUAGE_WINDOWS]
        heard = [self._model.detect_language(waveform.crop(window))[2] for window in chosen]
        return likeliest_language(heard, options.languages)


@dataclass(frozen=True, slots=True)
class Heard:
    """What Whisper heard in a window, and what `is_speech` judges it by; the names are openai/whisper's."""

    segment: Segment
    avg_logprob: float  # mean over the tokens
    no_speech_prob: float

    @property
    def compression_ratio(self) -> float:
        """How much text shrinks under zlib: above 2.4 it repeats itself, as Whisper does where it lost the speech."""
        content = self.segment.text.encode()
        return len(content) / len(zlib.compress(content))


class _Ear:
    """One request's windows -> what is heard in each; the encoder runs over no more than the longest needs."""

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - faster-whisper ships no types
        waveform: Waveform,
        language: str,
        options: Options,
        beam_size: int,
        *,
        one_by_one: bool,  # for the encoder, which on a CPU is quicker so
    ) -> None:
        from faster_whisper.tokenizer import Tokenizer  # noqa: PLC0415 - slow to import
        from faster_whisper.transcribe import get_suppressed_tokens  # noqa: PLC0415

        self._model, self._waveform, self._options, self._beam_size = model, waveform, options, beam_size
        self._one_by_one = one_by_one
        self._tokenizer = Tokenizer(
            model.hf_tokenizer, model.model.is_multilingual, task=options.task, language=language
        )
        self._suppressed = list(get_suppressed_tokens(self._tokenizer, [-1]))

    def __call__(self, windows: Sequence[Span]) -> list[Heard]:
        heard = self._hear(windows)
        loops = [
            index
            for index, one in enumerate(heard)
            if one.compression_ratio > self._options.gates.compression_ratio_threshold
        ]
        if loops:  # decode once more without
            again = self._hear([windows[index] for index in loops], no_repeat_ngram_size=4)
            for index, one in zip(loops, again, strict=True):
                heard[index] = one
        return heard

    def _hear(self, windows: Sequence[Span], *, no_repeat_ngram_size: int = 0) -> list[Heard]:
        encoded = self._encode(self._features(windows))
        room = _most_tokens(windows, self._model.max_length)
        prompt = self._prompt(room)
        results = self._model.model.generate(
            encoded,
            [prompt] * len(windows),
            beam_size=self._beam_size,
            max_length=min(len(prompt) + room, self._model.max_length),
            suppress_tokens=self._suppressed,
            return_scores=True,
            return_no_speech_prob=True,
            no_repeat_ngram_size=no_repeat_ngram_size,
        )
        tokens = [result.sequences_ids[0] for result in results]
        words = self._words(encoded, tokens, windows)
        return [
            Heard(
                segment=Segment(window, self._tokenizer.decode(row).strip(), words=timed),
                avg_logprob=float(result.scores[0]) * len(row) / (len(row) + 1),  # the end of text counts too
                no_speech_prob=float(result.no_speech_prob),
            )
            for window, result, row, timed in zip(windows, results, tokens, words, strict=True)
        ]

    def _features(self, windows: Sequence[Span]) -> NDArray[np.float32]:
        """Log-Mel frames, 100 a second, shape `(num_windows, num_mels, num_frames)`.

        After a window comes what is quietest in it: faster-whisper's own padding, zeros, sounds like a murmur.
        """
        extractor = self._model.feature_extractor
        longest = max(window.duration for window in windows)
        num_frames = min(extractor.nb_max_frames, 2 * math.ceil((longest + END_PADDING) * 50))
        features = (extractor(self._waveform.crop(window))[:, :num_frames] for window in windows)
        return np.stack(
            [np.pad(one, ((0, 0), (0, num_frames - one.shape[1])), constant_values=one.min()) for one in features]
        )

    def _encode(self, features: NDArray[np.float32]) -> Any:  # noqa: ANN401 - a StorageView of CTranslate2
        """The encoder's output, `(num_windows, num_frames / 2, dimension)`.

        Attention over two windows of 17 s takes more than 32 MB, which the C library fetches from the system and
        gives back each time: a third slower than one window after the other.
        """
        if not self._one_by_one:
            return self._model.encode(features)
        from ctranslate2 import StorageView  # noqa: PLC0415 - compiled library

        return StorageView.from_array(np.concatenate([self._model.encode(one[None]) for one in features]))

    def _prompt(self, room: int) -> list[int]:
        """Hot words, the end of the text before as far as the decoder holds it beside `room` tokens, and the task."""
        text = self._options.initial_prompt
        previous = self._tokenizer.encode(text) if text else []
        longest = self._model.max_length - room - len(self._prompted([])) - 1  # 1: what says that text goes before
        return self._prompted(previous[-longest:] if longest > 0 else [])

    def _prompted(self, previous: list[int]) -> list[int]:
        prompt: list[int] = self._model.get_prompt(
            self._tokenizer, previous, without_timestamps=True, hotwords=self._options.hotwords
        )
        return prompt

    def _words(self, encoded: Any, tokens: Sequence[list[int]], windows: Sequence[Span]) -> list[tuple[Word, ...]]:  # noqa: ANN401
        """The words of each window, timed by cross-attention."""
        rows: list[list[dict[str, Any]]] = [
            [{"tokens": row, "seek": 0, "start": 0.0, "end": window.duration}]
            for row, window in zip(tokens, windows, strict=True)
        ]
        frames = [math.ceil(window.duration) * self._model.frames_per_second for window in windows]
        self._model.add_word_timestamps(rows, self._tokenizer, encoded, frames, PREPENDED, APPENDED, 0.0)
        return [
            tuple(_word(word, window) for word in row[0].get("words", ()) if word["word"].strip())
            for row, window in zip(rows, windows, strict=True)
        ]


def _most_tokens(windows: Sequence[Span], for_30_s: int) -> int:
    """How many tokens the longest window may hold: a loop goes on for as long as it is let."""
    longest = max(window.duration for window in windows)
    return math.ceil(for_30_s * (longest + SPARE_SECONDS) / WINDOW_DURATION)


def cpu_batch(num_windows: int) -> int:
    """How many windows of a recording a CPU core decodes at once.

    >>> [cpu_batch(num_windows) for num_windows in (1, 32, 60, 1000)]
    [2, 2, 4, 6]
    """
    return min(CPU_BATCH, max(SMALLEST_CPU_BATCH, math.ceil(num_windows / CPU_SHARE)))


def check_folder(folder: Path) -> None:
    """Refuse a folder that is not a converted Whisper model; for some missing files the library would ask the hub.

    Raises:
        ModelMissing: a file is not there; the message names it.
    """
    missing = [name for name in ("model.bin", "config.json", "tokenizer.json") if not (folder / name).is_file()]
    if missing:
        message = (
            f"{folder} is not a converted Whisper model: {', '.join(missing)} missing; "
            "fetch one with `diarist models fetch`, or mount a CTranslate2 folder"
        )
        raise ModelMissing(message)


def likeliest_language(heard: Sequence[Sequence[tuple[str, float]]], expected: Sequence[str]) -> tuple[str, float]:
    """The language with the greatest mean probability over windows, and that probability.

    Args:
        heard: for each window, the probability of every language, as (Whisper's code, probability).
        expected: the only codes to choose from; where there are none, any will do.

    >>> windows = [[("en", 0.5), ("de", 0.3), ("nl", 0.2)], [("nl", 0.8), ("de", 0.2), ("en", 0.0)]]
    >>> likeliest_language(windows, ()), likeliest_language(windows, ["de", "en"])
    (('nl', 0.5), ('de', 0.25))
    """
    total: defaultdict[str, float] = defaultdict(float)
    for window in heard:
        for code, probability in window:
            total[code] += probability / len(heard)
    best = max(expected or total, key=lambda code: total[code])
    return best, total[best]


def check_language(options: Options, supported: Sequence[str], name: str) -> None:
    """Refuse what a model cannot do.

    Raises:
        LanguageUnsupported: the language, one of those expected, or translation, is beyond the model. Of an
            English-only model only English may be expected, perhaps beside others.
    """
    multilingual = len(supported) > 1
    advice = "a multilingual model can: large-v3, large-v3-turbo, medium or small (profile production)"
    known = f"it knows {', '.join(sorted(supported))}" if multilingual else f"it knows only English; {advice}"
    if options.language is not None and options.language not in supported:
        raise LanguageUnsupported(f"language {options.language!r} is unknown to the loaded model {name}: {known}")
    unknown = [code for code in options.languages if code not in supported]
    if unknown and (multilingual or len(unknown) == len(options.languages)):
        named = ", ".join(map(repr, unknown))
        raise LanguageUnsupported(f"of languages, {named} cannot be detected by the loaded model {name}: {known}")
    if options.task == "translate" and not multilingual:
        raise LanguageUnsupported(f"the loaded model {name} is English-only and cannot translate; {advice}")


def is_speech(heard: Any, gates: Gates) -> bool:  # noqa: ANN401
    """Whether what was heard passes the gates; anything with the attributes of `Heard` will do."""
    silent = heard.no_speech_prob > gates.no_speech_threshold and heard.avg_logprob < gates.log_prob_threshold
    loop = heard.compression_ratio > gates.compression_ratio_threshold
    hopeless = heard.avg_logprob < min(HOPELESS_LOG_PROBABILITY, gates.log_prob_threshold)
    return bool(heard.segment.text) and not silent and not loop and not hopeless


def inside(segment: Segment) -> Segment:
    """A segment without the words that attention finds only after its end: Whisper says its last sentence twice."""
    words = tuple(takewhile(lambda word: word.span.start < segment.span.end - END_SLACK, segment.words))
    if len(words) == len(segment.words):
        return segment
    length = sum(len("".join(word.text.split())) for word in words)
    ends = [index + 1 for index, character in enumerate(segment.text) if not character.isspace()]
    return replace(segment, text=segment.text[: ends[length - 1]] if length else "", words=words)


def _word(word: dict[str, Any], window: Span) -> Word:
    start, end = window.start + float(word["start"]), window.start + float(word["end"])
    return Word(word["word"].strip(), Span(start, max(start, end)), score=float(word["probability"]))
