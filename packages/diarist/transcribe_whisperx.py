"""Windows -> text, with whisperx's batched pipeline on CTranslate2 (extra `whisperx`)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from diarist import libraries
from diarist.batching import in_batches
from diarist.request import Options
from diarist.transcribe import Heard, check_folder, check_language, is_speech, likeliest_language
from diarist.types import SAMPLE_RATE, Draft, Progress, Segment, Span, Waveform
from diarist.windows import WINDOW_DURATION

LANGUAGE_WINDOWS = 4  # how many windows vote on the language


class WhisperxTranscriber:
    """Whisper behind whisperx's batched pipeline, loaded from a local folder.

    The pipeline gets our windows through its VAD interface, so no VAD model is loaded. With `own_vad` it finds its
    windows itself, with the pyannote VAD model that ships in the whisperx wheel; the windows given are then ignored.

    `folder` holds a converted model: `model.bin`, `config.json`, `tokenizer.json`, a vocabulary. Nothing is
    downloaded. Requests are served one at a time: whisperx keeps tokenizer and options of the running request
    on the pipeline.

    Raises:
        ModelMissing: the folder lacks one of the files.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str = "cpu",
        compute_type: str = "default",
        threads: int = 0,
        batch_size: int = 8,
        beam_size: int = 5,
        own_vad: bool = False,
    ) -> None:
        check_folder(folder)
        whisperx = libraries.whisperx()
        self._windows: Any = _given_windows()
        with libraries.quiet():
            self._pipeline = whisperx.load_model(
                str(folder),
                device,
                compute_type=compute_type,
                asr_options={"beam_size": beam_size},
                vad_model=self._windows,
                local_files_only=True,
                threads=threads or len(os.sched_getaffinity(0)),
            )
            self._own_vad = _whisperx_vad(device) if own_vad else None
        self._pipeline.model.model = _NoSpeech(self._pipeline.model.model)
        self._name = folder.name
        self._batch_size = batch_size
        self._lock = threading.Lock()

    @property
    def model(self) -> Any:  # noqa: ANN401 - faster-whisper ships no types
        """The `faster_whisper.WhisperModel` inside, for `diarist.align.AttentionAligner`."""
        return self._pipeline.model

    def __call__(self, waveform: Waveform, windows: tuple[Span, ...], *, options: Options, progress: Progress) -> Draft:
        """Transcribe the windows, each into one segment without words; one without speech gives none.

        Raises:
            LanguageUnsupported: the model cannot do the language, or the task, that was asked for.
        """
        check_language(options, self._languages(), self._name)
        with self._lock, self._request(options):
            if self._own_vad is not None:
                windows = self._own_vad(waveform)
            if not windows:
                return Draft(language=options.language or "en", segments=())
            language, probability = self._language(waveform, windows, options)
            segments = tuple(self._segments(waveform, windows, language, options, progress))
        return Draft(language=language, segments=segments, language_probability=probability)

    def _languages(self) -> list[str]:
        """Whisper's codes of the languages that have a token: large-v3 has one more than large-v2."""
        model = self.model
        return [code for code in model.supported_languages if model.hf_tokenizer.token_to_id(f"<|{code}|>") is not None]

    def _segments(
        self, waveform: Waveform, windows: tuple[Span, ...], language: str, options: Options, progress: Progress
    ) -> Iterator[Segment]:
        def run(batch: Sequence[Span]) -> list[Heard]:
            self._windows.windows = batch
            answer = self._pipeline.transcribe(
                waveform.samples, batch_size=len(batch), language=language, task=options.task
            )
            silences = self.model.model.no_speech_probabilities
            return [
                Heard(Segment(window, segment["text"].strip()), float(segment["avg_logprob"]), silence)
                for window, segment, silence in zip(batch, answer["segments"], silences, strict=True)
            ]

        done = 0
        for batch, answers in in_batches(windows, run, batch_size=self._batch_size):
            for window, answer in zip(batch, answers, strict=True):
                heard = answer
                if heard.compression_ratio > options.gates.compression_ratio_threshold:
                    with self._without_repeats():
                        (heard,) = run([window])
                if is_speech(heard, options.gates):
                    yield heard.segment
            done += len(batch)
            progress(done, len(windows))

    def _language(self, waveform: Waveform, windows: tuple[Span, ...], options: Options) -> tuple[str, float | None]:
        """The language asked for, or the one heard among those expected, with its probability.

        The longest windows are heard, up to four, and their probabilities averaged: whisperx listens to the first 30 s
        only, which may be a jingle, a greeting in another language, or silence.
        """
        if not self._pipeline.model.model.is_multilingual:
            return "en", None
        if options.language is not None:
            return options.language, None
        import torch  # noqa: PLC0415

        longest = sorted(windows, key=lambda window: -window.duration)[:LANGUAGE_WINDOWS]
        features = [self._pipeline.preprocess({"inputs": waveform.crop(_at_most_30_s(span))}) for span in longest]
        encoded = self._pipeline.model.encode(torch.stack([item["inputs"] for item in features]))
        heard = self._pipeline.model.model.detect_language(encoded)  # for each window ("<|en|>", probability), …
        return likeliest_language([[(token[2:-2], value) for token, value in row] for row in heard], options.languages)

    @contextmanager
    def _request(self, options: Options) -> Iterator[None]:
        """Set what whisperx keeps on the pipeline, and put it back even after an error."""
        usual = self._pipeline.options
        self._pipeline.options = replace(usual, initial_prompt=self._text_before(options), hotwords=options.hotwords)
        try:
            yield
        finally:
            self._pipeline.options = usual
            self._pipeline.tokenizer = None  # whisperx keeps the last language after an error
            self._windows.windows = ()

    def _text_before(self, options: Options) -> str | None:
        """The end of the initial prompt, as far as half of the decoder holds it beside the hot words."""
        if not options.initial_prompt or not options.hotwords:
            return options.initial_prompt
        tokenizer = self.model.hf_tokenizer
        tokens, hotwords = (
            tokenizer.encode(f" {text.strip()}", add_special_tokens=False).ids
            for text in (options.initial_prompt, options.hotwords)
        )
        room = self.model.max_length // 2 - 1 - len(hotwords)
        if len(tokens) <= room:
            return options.initial_prompt
        return str(tokenizer.decode(tokens[-room:])) if room > 0 else None

    @contextmanager
    def _without_repeats(self) -> Iterator[None]:
        """Forbid the decoder to say the same four tokens twice."""
        usual = self._pipeline.options
        self._pipeline.options = replace(usual, no_repeat_ngram_size=4)
        try:
            yield
        finally:
            self._pipeline.options = usual


class _NoSpeech:
    """CTranslate2's Whisper, asked also how likely each window holds no speech, which whisperx does not ask."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401
        self._model = model
        self.no_speech_probabilities: list[float] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._model, name)

    def generate(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        results = self._model.generate(*arguments, return_no_speech_prob=True, **options)
        self.no_speech_probabilities = [float(result.no_speech_prob) for result in results]
        return results


def _at_most_30_s(span: Span) -> Span:
    return Span(span.start, min(span.end, span.start + WINDOW_DURATION))


def _given_windows() -> Any:  # noqa: ANN401 - a subclass of a class that ships no types
    """A whisperx `Vad` that answers with the windows it was told."""
    from whisperx.vads import Vad  # noqa: PLC0415

    class GivenWindows(Vad):  # type: ignore[misc]
        windows: Sequence[Span] = ()

        def __call__(self, audio: Any, **_: Any) -> Sequence[Span]:  # noqa: ANN401, ARG002
            return self.windows

        @staticmethod
        def preprocess_audio(audio: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return audio

        @staticmethod
        def merge_chunks(windows: Sequence[Span], *_: object, **__: object) -> list[dict[str, float]]:
            return [{"start": window.start, "end": window.end} for window in windows]

    return GivenWindows(vad_onset=0.5)


def _whisperx_vad(device: str) -> Any:  # noqa: ANN401
    """Waveform -> windows by whisperx's own VAD, with whisperx's own settings."""
    import torch  # noqa: PLC0415
    from whisperx.vads import Pyannote  # noqa: PLC0415

    thresholds = {"vad_onset": 0.500, "vad_offset": 0.363}  # whisperx.load_model's
    detect = Pyannote(torch.device(device), **thresholds)

    def windows(waveform: Waveform) -> tuple[Span, ...]:
        scores = detect({"waveform": detect.preprocess_audio(waveform.samples), "sample_rate": SAMPLE_RATE})
        merged = detect.merge_chunks(scores, WINDOW_DURATION, onset=0.500, offset=0.363)
        ends = (min(float(window["end"]), waveform.duration) for window in merged)
        return tuple(Span(float(window["start"]), end) for window, end in zip(merged, ends, strict=True))

    return windows
