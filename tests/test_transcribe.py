"""The embedded transcriber hears real speech, and nothing where there is none."""

# ruff: noqa: ANN401 - CTranslate2 ships no types

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from whisper_normalizer.english import EnglishTextNormalizer

from diarist import audio, pipeline
from diarist.errors import Cancelled, LanguageUnsupported
from diarist.pipeline import Stages
from diarist.request import Gates, Options
from diarist.transcribe import Heard, _Ear, inside, is_speech
from diarist.types import SAMPLE_RATE, Draft, Progress, Segment, Span, Waveform, Word, unobserved

JFK = "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country."


def words_of(text: str) -> list[str]:
    return str(EnglishTextNormalizer()(text)).split()


def test_a_known_sentence_is_heard_word_for_word(embedded: Stages, jfk: Waveform) -> None:
    transcript = pipeline.transcribe(jfk, embedded, Options())
    assert words_of(" ".join(segment.text for segment in transcript.segments)) == words_of(JFK)
    assert transcript.language == "en"


def test_words_are_timed_where_they_are_said(embedded: Stages, jfk: Waveform) -> None:
    words = pipeline.transcribe(jfk, embedded, Options()).words
    (americans,) = (word for word in words if word.text.startswith("Americans"))
    assert americans.span.overlap(Span(1.5, 2.4)) > 0.3  # heard at 1.6 to 2.3 s
    country = [word for word in words if word.text.startswith("country")]
    assert country[-1].span.end == pytest.approx(10.4, abs=0.4)


def test_windows_are_heard_apart(embedded: Stages, jfk: Waveform) -> None:
    windows = (Span(0, 2.9), Span(3.0, 7.9), Span(8.0, 11.0))
    draft = embedded.transcribe(jfk, windows, options=Options(), progress=unobserved)
    assert [segment.span for segment in draft.segments] == list(windows)
    assert "country" not in draft.segments[0].text
    assert all(segment.words for segment in draft.segments)


@pytest.mark.parametrize(
    ("text", "avg_logprob", "no_speech_prob", "expected"),
    [
        ("Hello there.", -0.3, 0.1, True),
        ("Hello there.", -0.3, 0.9, True),  # sure of its words
        ("Well, er…", -0.9, 0.1, True),  # hesitant, and no silence
        ("Woohoo!", -0.8, 0.58, False),
        ("Hello there.", -1.6, 0.1, False),
        ("Thank you. " * 20, -0.1, 0.1, False),
        ("", -0.1, 0.1, False),
    ],
)
def test_text_has_to_pass_the_gates(text: str, avg_logprob: float, no_speech_prob: float, *, expected: bool) -> None:
    heard = Heard(Segment(Span(0, 9), text), avg_logprob, no_speech_prob)
    assert is_speech(heard, Gates()) is expected


def test_a_sentence_said_again_after_the_window_is_dropped() -> None:
    times = [(1, 1.5), (1.5, 2), (2.6, 3.1), (2.98, 3.0), (3.0, 3.0), (3.0, 3.0)]
    words = tuple(
        Word(text, Span(*at)) for text, at in zip(["I", "am", "here.", "I", "am", "here."], times, strict=True)
    )
    heard = Segment(Span(0, 3), "I am here. I am here.", words=words)
    assert inside(heard) == Segment(Span(0, 3), "I am here.", words=words[:3])
    assert inside(replace(heard, words=words[:3])) == replace(heard, words=words[:3])


@pytest.mark.parametrize(
    ("pieces", "text", "kept", "expected"),
    [
        (["£13", ".60", "by", "e", "-mail.", "£13"], "£13.60 by e-mail. £13", 5, "£13.60 by e-mail."),
        (["£13", ".60", "by", "e", "-mail."], "£13.60 by e-mail.", 0, ""),
        (["Do", "n't", "go.", "Do", "n't", "go."], "Don't go. Don't go.", 3, "Don't go."),
        (["我", "用", "AI", "。", "我"], "我用 AI。我", 4, "我用 AI。"),
    ],
)
def test_what_is_dropped_leaves_the_text_before_it_as_it_was(
    pieces: list[str], text: str, kept: int, expected: str
) -> None:
    times = [Span(index / 10, index / 10) if index < kept else Span(3, 3) for index in range(len(pieces))]
    words = tuple(Word(piece, at) for piece, at in zip(pieces, times, strict=True))
    assert inside(Segment(Span(0, 3), text, words=words)).text == expected


def test_gates_can_be_opened_and_closed() -> None:
    doubtful = Heard(Segment(Span(0, 9), "Woohoo!"), avg_logprob=-0.8, no_speech_prob=0.58)
    assert is_speech(doubtful, Gates(no_speech_threshold=0.6))
    assert is_speech(doubtful, Gates(log_prob_threshold=-1.0))
    hopeless = replace(doubtful, avg_logprob=-1.6)
    assert not is_speech(hopeless, Gates(no_speech_threshold=1.0))
    assert is_speech(hopeless, Gates(no_speech_threshold=1.0, log_prob_threshold=-2.0))
    assert not is_speech(doubtful, Gates(compression_ratio_threshold=0.1, no_speech_threshold=1.0))


def test_closed_gates_leave_no_text(embedded: Stages, jfk: Waveform) -> None:
    closed = Gates(no_speech_threshold=0.0, log_prob_threshold=0.0)
    transcript = pipeline.transcribe(jfk, embedded, Options(gates=closed, retry_uncovered=False, diarize=False))
    assert transcript.segments == ()
    assert transcript.uncovered > 8


def forgetful(embedded: Stages, *, invents: Segment | None = None) -> Stages:
    """The real engines, but the first time that they are asked they hear nothing from 3 to 8 s, and perhaps more."""
    calls = []

    def transcribe(waveform: Waveform, windows: tuple[Span, ...], **others: Any) -> Draft:
        draft = embedded.transcribe(waveform, windows, **others)
        calls.append(windows)
        if len(calls) > 1:
            return draft
        kept = (
            replace(segment, words=tuple(word for word in segment.words if not 3 < word.span.middle < 8))
            for segment in draft.segments
        )
        return replace(draft, segments=(*kept, *([invents] if invents else [])))

    return replace(embedded, transcribe=transcribe)


def test_missed_speech_is_heard_again(embedded: Stages, jfk: Waveform) -> None:
    transcript = pipeline.transcribe(jfk, forgetful(embedded), Options())
    assert words_of(" ".join(segment.text for segment in transcript.segments)) == words_of(JFK)
    assert transcript.uncovered < 0.5
    assert transcript.timings["retry"] > 0


def test_missed_speech_is_counted_where_it_is_not_heard_again(embedded: Stages, jfk: Waveform) -> None:
    transcript = pipeline.transcribe(jfk, forgetful(embedded), Options(retry_uncovered=False))
    assert "ask not" not in " ".join(segment.text for segment in transcript.segments)
    assert transcript.uncovered > 2
    assert "retry" not in transcript.timings


def test_words_where_nobody_speaks_are_dropped(embedded: Stages, jfk: Waveform) -> None:
    longer = Waveform(np.pad(jfk.samples, (0, 5 * SAMPLE_RATE)))
    thanks = Segment(Span(11, 16), "Thanks", words=(Word("Thanks", Span(14, 14.5)),))
    transcript = pipeline.transcribe(longer, forgetful(embedded, invents=thanks), Options())
    assert words_of(" ".join(segment.text for segment in transcript.segments)) == words_of(JFK)


class SmallMemory:
    """CTranslate2's model on a GPU without much memory, which the machine of the tests does not have."""

    def __init__(self, model: Any, limit: int) -> None:
        self._model, self._limit = model, limit
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, encoded: Any, *arguments: Any, **options: Any) -> Any:
        self.sizes.append(int(encoded.shape[0]))
        if self.sizes[-1] > self._limit:
            raise RuntimeError("CUDA failed with error out of memory")
        return self._model.generate(encoded, *arguments, **options)


def test_a_batch_too_large_for_the_gpu_is_halved(
    embedded: Stages, jfk: Waveform, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = (Span(0, 2.9), Span(3.0, 7.9), Span(8.0, 11.0))
    whisper = embedded.transcribe.model  # type: ignore[attr-defined]
    memory = SmallMemory(whisper.model, limit=1)
    monkeypatch.setattr(whisper, "model", memory)
    draft = embedded.transcribe(jfk, windows, options=Options(), progress=unobserved)
    assert {1} < set(memory.sizes)
    assert [segment.span for segment in draft.segments] == list(windows)
    memory.sizes, memory._limit = [], 0
    with pytest.raises(RuntimeError, match="out of memory"):
        embedded.transcribe(jfk, windows, options=Options(), progress=unobserved)


def test_windows_encoded_one_by_one_are_those_encoded_together(embedded: Stages, jfk: Waveform) -> None:
    windows = (Span(0, 2.9), Span(3.0, 7.9), Span(8.0, 11.0))
    whisper = embedded.transcribe.model  # type: ignore[attr-defined]
    alone, together = (_Ear(whisper, jfk, "en", Options(), 5, one_by_one=one_by_one) for one_by_one in (True, False))
    features = together._features(windows)
    np.testing.assert_allclose(alone._encode(features), together._encode(features), atol=1e-5)


@pytest.mark.parametrize("name", ["silence", "noise", "tone", "chords", "hum"])
def test_nothing_is_invented(embedded: Stages, recordings: Path, name: str) -> None:
    times = np.arange(40 * SAMPLE_RATE) / SAMPLE_RATE
    chords = sum(np.sin(2 * np.pi * f * times * (1 + (times // 2) % 4 / 4)) for f in (220, 277.2, 329.6)) * 0.1
    sounds = {
        "silence": np.zeros(len(times)),
        "noise": np.random.default_rng(0).normal(0, 0.05, len(times)),
        "tone": 0.3 * np.sin(2 * np.pi * 440 * times),
        "chords": chords,
    }
    waveform = (
        audio.decode(recordings / "misc" / "empty.wav", max_duration_seconds=60)
        if name == "hum"
        else Waveform(np.asarray(sounds[name], np.float32))
    )
    transcript = pipeline.transcribe(waveform, embedded, Options())
    assert transcript.segments == ()
    assert transcript.language is None


@pytest.mark.parametrize(
    "options",
    [Options(language="de"), Options(task="translate"), Options(language="xx"), Options(languages=("de", "fr"))],
)
def test_what_an_english_model_cannot_do_is_refused_by_name(embedded: Stages, jfk: Waveform, options: Options) -> None:
    with pytest.raises(LanguageUnsupported, match=r"tiny\.en.*large-v3"):
        pipeline.transcribe(jfk, embedded, options)


def test_an_english_model_may_be_told_to_expect_english_among_others(embedded: Stages, jfk: Waveform) -> None:
    transcript = pipeline.transcribe(jfk, embedded, Options(languages=("de", "en")))
    assert transcript.language == "en"
    assert transcript.segments


def test_a_prompt_changes_the_spelling(embedded: Stages, sample: Path) -> None:
    call = audio.decode(sample / "sample.wav", max_duration_seconds=60)
    plain, primed = (
        " ".join(segment.text for segment in pipeline.transcribe(call, embedded, options).segments)
        for options in (Options(), Options(initial_prompt="Diane and Sheela talk.", hotwords="Sheela"))
    )
    assert "Sheela" not in plain
    assert "Sheela" in primed


def test_a_long_prompt_beside_many_hotwords_leaves_room_for_the_text(embedded: Stages, jfk: Waveform) -> None:
    options = Options(initial_prompt="A president speaks. " * 150, hotwords="Washington " * 300)
    windows = (Span(0, jfk.duration),)
    draft = embedded.transcribe(jfk, windows, options=options, progress=unobserved)
    assert "what you can do for your country" in draft.segments[0].text


def test_a_translation_has_spaces_though_the_language_spoken_has_none(embedded: Stages, jfk: Waveform) -> None:
    def translate(*arguments: Any, options: Options, **others: Any) -> Draft:
        heard = embedded.transcribe(*arguments, options=replace(options, language="en", task="transcribe"), **others)
        return replace(heard, language="ja")

    stages = replace(embedded, transcribe=translate)
    mono = pipeline.transcribe(jfk, stages, Options(task="translate"))
    again = pipeline.diarize_again(jfk, mono, stages, Options())
    both = [jfk, Waveform(np.zeros_like(jfk.samples))]
    split = pipeline.transcribe_channels(both, stages, Options(task="translate", channels="split"))
    for transcript in (mono, again, split):
        assert transcript.language == "ja"
        assert words_of(" ".join(segment.text for segment in transcript.segments)) == words_of(JFK)


def test_hearing_again_can_be_stopped_while_it_aligns(embedded: Stages, jfk: Waveform) -> None:
    def stop(stage: str, completed: float, total: float) -> None:
        if stage == "retry" and total / 2 < completed < total:
            raise Cancelled("stopped")

    def align(waveform: Waveform, draft: Draft, *, options: Options, progress: Progress) -> Any:
        progress(1, 2)
        return embedded.align(waveform, draft, options=options, progress=progress)

    with pytest.raises(Cancelled):
        pipeline.transcribe(jfk, replace(forgetful(embedded), align=align), Options(), observer=stop)


def test_every_stage_reports_and_can_be_stopped(embedded: Stages, jfk: Waveform) -> None:
    seen: list[tuple[str, float, float]] = []
    pipeline.transcribe(jfk, embedded, Options(), observer=lambda *event: seen.append(event))
    assert list(dict.fromkeys(stage for stage, _, _ in seen)) == list(pipeline.STAGES)
    assert all(0 <= completed <= total for _, completed, total in seen)

    def stop(stage: str, completed: float, total: float) -> None:
        if stage == "transcribe" and completed:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        pipeline.transcribe(jfk, embedded, Options(), observer=stop)


def test_the_next_request_is_not_touched_by_the_last(embedded: Stages, jfk: Waveform) -> None:
    first = pipeline.transcribe(jfk, embedded, Options())
    pipeline.transcribe(jfk, embedded, Options(initial_prompt="SHOUTING TEXT WITHOUT COMMAS", num_speakers=2))
    again = pipeline.transcribe(jfk, embedded, Options())
    assert again.segments == first.segments


def test_without_diarization_nobody_is_named(embedded: Stages, jfk: Waveform) -> None:
    transcript = pipeline.transcribe(jfk, embedded, Options(diarize=False))
    assert (transcript.turns, transcript.speakers) == ((), ())
    assert transcript.segments
    assert {word.speaker for word in transcript.words} == {None}


def test_words_lie_inside_the_recording_and_do_not_run_backwards(embedded: Stages, recordings: Path) -> None:
    for path in sorted((recordings / "ami").glob("*.flac")):
        waveform = audio.decode(path, max_duration_seconds=60)
        transcript = pipeline.transcribe(waveform, embedded, Options(return_embeddings=True))
        starts = [word.span.start for word in transcript.words]
        assert starts == sorted(starts)
        assert all(0 <= word.span.start < word.span.end <= waveform.duration for word in transcript.words)
        assert {word.speaker for word in transcript.words} <= {None, *transcript.speakers}
        assert transcript.embeddings is not None
        assert set(transcript.embeddings) == set(transcript.speakers)
