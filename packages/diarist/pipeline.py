"""The whole path of a recording, in one straight line: segment, transcribe, align, diarize, assign, group."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Protocol

from diarist.assign import assign_speakers
from diarist.beside import beside
from diarist.channels import check_channels, own_spans, own_speech, own_words
from diarist.clustering import count_notes
from diarist.coverage import uncovered_seconds, uncovered_spans, with_found, words_in_speech
from diarist.errors import BadRequest
from diarist.request import Options
from diarist.segmentation import Activity, speech_spans
from diarist.segments import group_channels, group_words
from diarist.text import join, written_in
from diarist.types import Diarization, Draft, Progress, Span, Transcript, Turn, Waveform, Word, unobserved
from diarist.voices import KnownVoice, Vector, name_speakers, voice_in
from diarist.windows import WINDOW_DURATION, retry_windows, speech_windows
from diarist.word_times import fit_to_speech, keep_apart

STAGES = ("segment", "transcribe", "align", "diarize", "assign")


class Segmenter(Protocol):
    """Finds, frame by frame, how many people speak, and which of a chunk's local voices they are."""

    def __call__(self, waveform: Waveform, *, progress: Progress) -> Activity:
        """Segment a whole recording."""


class Transcriber(Protocol):
    """Hears text in windows of speech."""

    def __call__(self, waveform: Waveform, windows: tuple[Span, ...], *, options: Options, progress: Progress) -> Draft:
        """Transcribe the windows; a recording without any gives an empty draft.

        Raises:
            LanguageUnsupported: the model cannot do the language, or the task, that was asked for.
        """


class Aligner(Protocol):
    """Gives every word of a draft its time."""

    def __call__(
        self, waveform: Waveform, draft: Draft, *, options: Options, progress: Progress
    ) -> tuple[tuple[Word, ...], tuple[str, ...]]:
        """Words in order of start, and notes for the reader; it never fails for want of a language model."""


class Diarizer(Protocol):
    """Decides who spoke when."""

    def __call__(self, waveform: Waveform, activity: Activity, *, options: Options, progress: Progress) -> Diarization:
        """Diarize; silence gives no turn."""


class Observer(Protocol):
    """Told how far the work has come; it may raise `Cancelled` to stop it."""

    def __call__(self, stage: str, completed: float, total: float) -> None:
        """Report that `completed` of `total` units of a stage are done."""


def nobody(stage: str, completed: float, total: float) -> None:
    """The `Observer` of work that nobody watches."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The engines, loaded once and shared by all requests."""

    segment: Segmenter
    transcribe: Transcriber
    align: Aligner
    diarize: Diarizer
    model_version: str  # what is loaded: names of the weights and of the methods
    window_duration: float = WINDOW_DURATION  # seconds of speech that the transcriber hears at once, at most
    retries: bool = True  # false where the transcriber finds its windows itself
    diarize_beside: bool = False  # true where diarizing takes other hardware than transcribing: both go on at once


def transcribe(
    waveform: Waveform,
    stages: Stages,
    options: Options,
    *,
    known: Sequence[KnownVoice] = (),
    observer: Observer = nobody,
) -> Transcript:
    """Turn a recording into a transcript with speakers, who go by their names where their voices are known.

    Raises:
        BadRequest: no voice is heard in the clip of a known speaker, or a vector has another length than the model's.
        LanguageUnsupported: the loaded model cannot do the language asked for.
        Cancelled: the observer stopped the work.
    """
    clock = _Clock(observer)
    voices = _learn(known, stages, clock)  # first: what is wrong with a clip is soon told
    activity = _segment(waveform, stages, clock)
    with _diarizing(waveform, activity, stages, options) as diarize:
        heard = _hear(waveform, activity, stages, options, clock)
        heard = _hear_again(heard, uncovered_spans(heard.speech, heard.words), stages, options, clock)
        return _with_speakers(heard, diarize, voices, stages, options, clock=clock)


def diarize_again(
    waveform: Waveform,
    earlier: Transcript,
    stages: Stages,
    options: Options,
    *,
    known: Sequence[KnownVoice] = (),
    observer: Observer = nobody,
) -> Transcript:
    """Give the words of an earlier transcript of the same recording speakers anew; nothing is transcribed or aligned.

    Text and times of the words are kept. Segments are grouped again, so a text that differs from its words is lost.

    Raises:
        BadRequest: a word lies outside the recording; or as for `transcribe`.
        Cancelled: the observer stopped the work.
    """
    _check_inside(earlier.words, waveform.duration)
    clock = _Clock(observer)
    voices = _learn(known, stages, clock)
    activity = _segment(waveform, stages, clock)
    notes = tuple(note for note in earlier.notes if not _ABOUT_SPEAKERS.match(note))
    if earlier.model_version not in {"", stages.model_version}:
        notes = tuple(dict.fromkeys([*notes, f"the words are of {earlier.model_version}"]))
    written = _written_in(earlier)
    heard = _Heard(waveform, activity, speech_spans(activity), earlier.language, written, earlier.words, notes)
    with _diarizing(waveform, activity, stages, options) as diarize:
        return _with_speakers(heard, diarize, voices, stages, options, clock=clock)


def transcribe_channels(
    channels: Sequence[Waveform], stages: Stages, options: Options, *, observer: Observer = nobody
) -> Transcript:
    """Turn a recording with a speaker on each channel into a transcript, without diarizing.

    Labels count channels: SPEAKER_00 is the first one, whether or not the others say anything, and a channel
    without speech is no speaker. Words that came through from another channel are left out.

    Raises:
        BadRequest: there is one channel, or two hold the same sound.
        LanguageUnsupported, Cancelled: as for `transcribe`.
    """
    check_channels(channels)
    labels = [f"SPEAKER_{index:02d}" for index in range(len(channels))]
    whole = Span(0.0, channels[0].duration)
    clock = _Clock(observer)
    parts = [clock.part(index, len(channels)) for index in range(len(channels))]
    heard = tuple(
        _hear(waveform, _segment(waveform, stages, part), stages, options, part)
        for waveform, part in zip(channels, parts, strict=True)
    )
    heard = tuple(
        _hear_again(
            channel,
            own_spans(index, channels, uncovered_spans(channel.speech, channel.words)),
            stages,
            options,
            parts[index],
        )
        for index, channel in enumerate(heard)
    )
    with clock.stage("assign"):
        own = own_words(channels, [channel.words for channel in heard])
        speech = [
            own_speech(index, channels, channel.speech, channel.words, own[index])
            for index, channel in enumerate(heard)
        ]
        turns = _turns(speech, labels)
        words = [
            assign_speakers(kept, Diarization(turns, (Turn(whole, label),), (label,)))  # turns say where two speak
            for label, kept in zip(labels, own, strict=True)
        ]
        segments = group_channels(words, languages=[channel.written for channel in heard])
    most = max(range(len(channels)), key=lambda index: len(words[index]))
    return Transcript(
        segments=segments,
        language=heard[most].language if segments else None,
        duration=whole.end,
        turns=turns,
        speakers=tuple(dict.fromkeys([turn.speaker for turn in turns])),
        model_version=stages.model_version,
        uncovered=round(sum(map(uncovered_seconds, speech, words)), 3),
        notes=tuple(dict.fromkeys(chain.from_iterable(channel.notes for channel in heard))) + _left_out(heard, own),
        timings=clock.seconds,
    )


# --- pieces -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Heard:
    """What was said in a waveform, in which language, and where anyone speaks."""

    waveform: Waveform
    activity: Activity
    speech: tuple[Span, ...]
    language: str | None
    written: str | None  # the language of the words, which a translation has in English
    words: tuple[Word, ...]  # whose speakers are not known yet
    notes: tuple[str, ...]


def _learn(known: Sequence[KnownVoice], stages: Stages, clock: _Clock) -> dict[str, Vector]:
    """The vector of every known voice, `(dimension,)`, by name; an extra stage where there are any."""
    if not known:
        return {}
    vectors: dict[str, Vector] = {}
    with clock.stage("voices") as progress:
        for number, voice in enumerate(known):
            given = voice.voice
            vectors[voice.name] = _vector_of(given, number, stages) if isinstance(given, Waveform) else given
            progress(number + 1, len(known))
    return vectors


def _vector_of(clip: Waveform, number: int, stages: Stages) -> Vector:
    activity = stages.segment(clip, progress=unobserved)
    vector = voice_in(stages.diarize(clip, activity, options=Options(num_speakers=1), progress=unobserved))
    if vector is None:
        message = f"known_speakers.{number}: no voice is heard in the clip of {clip.duration:.1f} s"
        raise BadRequest(f"{message}: send some seconds in which this person speaks alone")
    return vector


def _segment(waveform: Waveform, stages: Stages, clock: _Clock) -> Activity:
    with clock.stage("segment") as progress:
        return stages.segment(waveform, progress=progress)


@contextmanager
def _diarizing(
    waveform: Waveform, activity: Activity, stages: Stages, options: Options
) -> Iterator[Callable[[Progress], Diarization]]:
    """Who spoke when, when it is asked for; worked on from now on where that takes other hardware."""

    def work(progress: Progress) -> Diarization:
        return stages.diarize(waveform, activity, options=options, progress=progress)

    if not options.diarize:
        yield lambda _: _NOBODY
    elif stages.diarize_beside:
        with beside(work) as result:
            yield result
    else:
        yield work


def _hear(waveform: Waveform, activity: Activity, stages: Stages, options: Options, clock: _Clock) -> _Heard:
    speech = speech_spans(activity)  # where anyone speaks
    windows = speech_windows(activity, longest=stages.window_duration)  # cut where nobody speaks, or changes
    with clock.stage("transcribe") as progress:
        draft = stages.transcribe(waveform, windows, options=options, progress=progress)
    with clock.stage("align") as progress:
        words, notes = stages.align(waveform, draft, options=options, progress=progress)
    words = fit_to_speech(words_in_speech(words, speech), speech, waveform.duration)
    return _Heard(waveform, activity, speech, draft.language, written_in(draft.language, options.task), words, notes)


def _hear_again(heard: _Heard, lost: Sequence[Span], stages: Stages, options: Options, clock: _Clock) -> _Heard:
    """Listen once more, alone, to speech that no word covers; an extra stage where there is any."""
    windows = retry_windows(lost, heard.activity) if stages.retries and options.retry_uncovered else ()
    if not windows:
        return heard
    options = replace(options, language=heard.language)  # as it was heard in all of the recording
    with clock.stage("retry") as progress:
        draft = stages.transcribe(heard.waveform, windows, options=options, progress=_first_half(progress))
        found, notes = stages.align(heard.waveform, draft, options=options, progress=_second_half(progress))
        found = fit_to_speech(words_in_speech(found, heard.speech), heard.speech, heard.waveform.duration)
        words = keep_apart(with_found(heard.words, found), heard.waveform.duration)
    return replace(heard, words=words, notes=tuple(dict.fromkeys([*heard.notes, *notes])))


def _first_half(progress: Progress) -> Progress:
    return lambda completed, total: progress(completed, 2 * total)


def _second_half(progress: Progress) -> Progress:
    return lambda completed, total: progress(total + completed, 2 * total)


def _with_speakers(
    heard: _Heard,
    diarize: Callable[[Progress], Diarization],
    voices: Mapping[str, Vector],
    stages: Stages,
    options: Options,
    *,
    clock: _Clock,
) -> Transcript:
    with clock.stage("diarize") as progress:
        diarization, naming = name_speakers(diarize(progress), voices)
        counting = count_notes(len(diarization.speakers), options) if options.diarize else ()
    with clock.stage("assign"):
        words = assign_speakers(heard.words, diarization)
        segments = group_words(words, language=heard.written)
    return Transcript(
        segments=segments,
        language=heard.language if segments else None,
        duration=heard.waveform.duration,
        turns=diarization.turns,
        speakers=diarization.speakers,
        model_version=stages.model_version,
        uncovered=uncovered_seconds(heard.speech, words),
        notes=(*heard.notes, *counting, *naming),
        timings=clock.seconds,
        embeddings=_by_speaker(diarization) if options.return_embeddings else None,
    )


def _written_in(earlier: Transcript) -> str | None:
    """The language of an answer's text: a translation is one that has spaces where what was spoken would have none."""
    texts = [([word.text for word in segment.words], segment.text) for segment in earlier.segments]
    spaced = any(text == join(words, "en") != join(words, earlier.language) for words, text in texts)
    return "en" if spaced else earlier.language


_ABOUT_SPEAKERS = re.compile(  # notes of `count_notes` and `name_speakers`, which new speakers make untrue
    r"(num|min|max)_speakers is \d+, and |\S+ is \S+: similarity |\S+ was not (heard|looked for): "
)
_SLACK = 0.01  # seconds by which an answer's rounded times may pass the end


def _check_inside(words: Sequence[Word], duration: float) -> None:
    first = min((word.span.start for word in words), default=0.0)
    last = max((word.span.end for word in words), default=0.0)
    if first < 0 or last > duration + _SLACK:
        message = (
            f"transcript: its words run from {first:.3f} to {last:.3f} s and the recording from 0 to {duration:.3f} s"
        )
        raise BadRequest(f"{message}: send the recording that it was made from")


def _turns(speech: Sequence[Sequence[Span]], labels: Sequence[str]) -> tuple[Turn, ...]:
    turns = (Turn(span, label) for spans, label in zip(speech, labels, strict=True) for span in spans)
    return tuple(sorted(turns, key=lambda turn: (turn.span.start, turn.speaker)))


def _left_out(heard: Sequence[_Heard], own: Sequence[Sequence[Word]]) -> tuple[str, ...]:
    """Notes about words that came through from another channel."""
    lost = [len(channel.words) - len(kept) for channel, kept in zip(heard, own, strict=True)]
    return tuple(
        f"channel {number}: {count} words were left out, since another channel has them louder"
        for number, count in enumerate(lost, start=1)
        if count
    )


_NOBODY = Diarization((), (), ())


def _by_speaker(diarization: Diarization) -> Mapping[str, tuple[float, ...]]:
    if diarization.embeddings is None:
        return {}
    rows = (tuple(float(value) for value in row) for row in diarization.embeddings)
    return dict(zip(diarization.speakers, rows, strict=True))


@dataclass(slots=True)
class _Clock:
    """Times the stages and passes their progress on: of all the work, or of one part of several alike."""

    observer: Observer
    seconds: dict[str, float] = field(default_factory=dict)
    index: int = 0
    num_parts: int = 1

    def part(self, index: int, num_parts: int) -> _Clock:
        """A clock for one part; its seconds are added to those of the others."""
        return replace(self, index=index, num_parts=num_parts)

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        def progress(completed: float, total: float) -> None:
            self.observer(name, self.index * total + completed, self.num_parts * total)

        started = time.perf_counter()
        progress(0, 1)
        yield progress
        progress(1, 1)
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 3)
