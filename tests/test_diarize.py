"""Who spoke when: the fine diarizer on recordings and conversations whose speakers are known."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from benchmarks import mixes
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from diarist import audio
from diarist.clustering import cluster, count_notes, merged
from diarist.formats import rttm
from diarist.pipeline import Stages, transcribe
from diarist.request import Options
from diarist.types import SAMPLE_RATE, Diarization, Span, Turn, Waveform, unobserved
from diarist.viterbi import smooth

Floats = NDArray[np.float32]


def diarize(stages: Stages, waveform: Waveform, options: Options | None = None) -> Diarization:
    activity = stages.segment(waveform, progress=unobserved)
    return stages.diarize(waveform, activity, options=options or Options(), progress=unobserved)


def seconds_by_speaker(turns: tuple[Turn, ...]) -> dict[str, float]:
    return {name: sum(t.span.duration for t in turns if t.speaker == name) for name in {t.speaker for t in turns}}


@pytest.fixture(scope="module")
def call(sample: Path) -> Waveform:
    return audio.decode(sample / "sample.wav", max_duration_seconds=60)


@pytest.fixture(scope="module")
def found(embedded: Stages, call: Waveform) -> Diarization:
    return diarize(embedded, call)


def test_the_sample_call_has_its_two_speakers(found: Diarization, sample: Path) -> None:
    (reference,) = rttm.read((sample / "sample.rttm").read_text(encoding="utf-8")).values()
    assert found.speakers == ("SPEAKER_00", "SPEAKER_01")
    ours, theirs = sorted(seconds_by_speaker(found.turns).values()), sorted(seconds_by_speaker(reference).values())
    assert ours == pytest.approx(theirs, abs=2.0)


def test_exclusive_turns_never_overlap_and_cover_the_same_speech(found: Diarization) -> None:
    ends = [turn.span.end for turn in found.exclusive]
    assert all(end <= later.span.start + 1e-9 for end, later in zip(ends, found.exclusive[1:], strict=False))
    exclusive = sum(turn.span.duration for turn in found.exclusive)
    assert exclusive == pytest.approx(union_seconds(found.turns), abs=0.01)


def union_seconds(turns: tuple[Turn, ...]) -> float:
    grid = np.zeros(40_000, bool)
    for turn in turns:
        grid[round(turn.span.start * 1000) : round(turn.span.end * 1000)] = True
    return float(grid.sum()) / 1000


def test_overlapped_speech_has_two_speakers(found: Diarization) -> None:
    assert sum(turn.span.duration for turn in found.turns) > union_seconds(found.turns) + 0.5


def test_speakers_are_numbered_in_the_order_of_their_first_words(found: Diarization) -> None:
    firsts = [min(turn.span.start for turn in found.turns if turn.speaker == name) for name in found.speakers]
    assert firsts == sorted(firsts)


def test_turns_lie_inside_the_recording(found: Diarization, call: Waveform) -> None:
    assert all(0 <= turn.span.start < turn.span.end <= call.duration for turn in found.turns)


def test_each_speaker_has_a_voice_vector_of_unit_length(found: Diarization) -> None:
    assert found.embeddings is not None
    assert found.embeddings.shape == (2, 192)
    assert np.linalg.norm(found.embeddings, axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert found.embeddings[0] @ found.embeddings[1] < 0.6


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_number_of_speakers_is_obeyed(embedded: Stages, call: Waveform, count: int) -> None:
    assert len(diarize(embedded, call, Options(num_speakers=count)).speakers) == count


def test_more_speakers_than_a_few_words_can_have_is_no_error(embedded: Stages, call: Waveform) -> None:
    few = Waveform(call.samples[7 * SAMPLE_RATE : 11 * SAMPLE_RATE])
    for count in range(2, 12):
        assert 1 <= len(diarize(embedded, few, Options(num_speakers=count)).speakers) <= count


def test_bounds_on_the_number_of_speakers_are_obeyed(embedded: Stages, call: Waveform) -> None:
    assert len(diarize(embedded, call, Options(max_speakers=1)).speakers) == 1
    assert len(diarize(embedded, call, Options(min_speakers=3)).speakers) == 3
    assert len(diarize(embedded, call, Options(min_speakers=1, max_speakers=5)).speakers) == 2


def test_a_lower_threshold_tells_more_voices_apart(embedded: Stages, call: Waveform) -> None:
    found = [len(diarize(embedded, call, Options(threshold=cut)).speakers) for cut in (0.2, 0.55, 1.0)]
    assert found[0] > found[1] == 2 > found[2] == 1
    assert len(diarize(embedded, call, Options(threshold=0.2, max_speakers=3)).speakers) == 3


@pytest.mark.parametrize("count", [1, 2, 3])
def test_mixed_conversations_have_their_speakers_and_little_confusion(
    embedded: Stages, recordings: Path, count: int
) -> None:
    speakers = ("2609", "3005", "1688")[:count]
    mix = mixes.build(recordings / "librispeech", speakers, duration=60, seed=count)
    found = diarize(embedded, mix.waveform)
    assert len(found.speakers) == count
    right = dict.fromkeys(found.speakers, 0.0)
    for name in found.speakers:
        own = [turn.span for turn in found.exclusive if turn.speaker == name]
        right[name] = max(
            sum(span.overlap(turn.span) for span in own for turn in mix.turns if turn.speaker == speaker)
            for speaker in speakers
        )
    spoken = sum(span.overlap(t.span) for span in (e.span for e in found.exclusive) for t in mix.turns)
    assert sum(right.values()) / spoken > 0.9  # the rest is mostly overlap, where one of two is right


def test_silence_has_no_speaker(embedded: Stages) -> None:
    found = diarize(embedded, Waveform(np.zeros(5 * SAMPLE_RATE, np.float32)))
    assert (found.turns, found.exclusive, found.speakers) == ((), (), ())


@pytest.mark.parametrize("start", [11.0, 15.0, 7.0])
@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.0])
def test_a_few_words_have_one_speaker(embedded: Stages, call: Waveform, start: float, seconds: float) -> None:
    found = diarize(embedded, Waveform(call.crop(Span(start, start + seconds))))
    assert len(found.speakers) <= 1
    assert (len(found.turns) > 0) == (len(found.speakers) == 1)


def voices(random: np.random.Generator, sizes: list[int], spread: float) -> Floats:
    centres = np.linalg.qr(random.normal(size=(192, len(sizes))))[0].T
    points = np.repeat(centres, sizes, axis=0) + random.normal(0, spread / 14, (sum(sizes), 192))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), np.float32)


def test_small_clusters_dissolve_into_their_neighbours() -> None:
    embeddings = voices(np.random.default_rng(0), [60, 50, 2], 0.3)
    found = cluster(embeddings, solo_seconds=112 * 0.4, options=Options())
    assert set(found) == {0, 1}


def test_one_more_speaker_is_the_quiet_person_and_no_stray_window() -> None:
    sizes = [900, 900, 12, 1, 1, 1]
    embeddings = voices(np.random.default_rng(0), sizes, 0.4)
    embeddings[-3:] -= 0.5 * sum(embeddings[first] for first in (0, 900, 1800))  # further away than any voice
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert set(cluster(embeddings, solo_seconds=sum(sizes) * 0.4, options=Options())) == {0, 1}
    found = cluster(embeddings, solo_seconds=sum(sizes) * 0.4, options=Options(num_speakers=3))
    assert [len(set(voice)) for voice in np.split(found, [900, 1800, 1812])[:3]] == [1, 1, 1]
    assert len(set(found[:1812])) == 3


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(8, 40), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_clear_voices_are_told_apart(sizes: list[int], seed: int) -> None:
    embeddings = voices(np.random.default_rng(seed), sizes, 0.4)
    found = cluster(embeddings, solo_seconds=sum(sizes) * 0.4, options=Options())
    truth = np.repeat(np.arange(len(sizes)), sizes)
    assert len({(a, b) for a, b in zip(truth, found, strict=True)}) == len(sizes) == len(set(found))


@given(st.integers(1, 8), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_clustering_obeys_any_possible_number(count: int, seed: int) -> None:
    embeddings = voices(np.random.default_rng(seed), [30, 20, 10], 0.6)
    found = cluster(embeddings, solo_seconds=24, options=Options(num_speakers=count))
    assert set(found) == set(range(count))


@pytest.mark.parametrize(("alike", "seconds", "voices_left"), [
    (0.8, 0.4, 1),  # the halves of one person's speech are at least so alike
    (0.57, 0.4, 2),  # two people on one telephone line
    (0.57, 0.05, 1),  # a second of each is no proof
    (0.1, 0.05, 2),
])  # fmt: skip
def test_groups_are_merged_until_their_centroids_are_unlike(alike: float, seconds: float, voices_left: int) -> None:
    first, second = np.eye(192)[0], alike * np.eye(192)[0] + np.sqrt(1 - alike**2) * np.eye(192)[1]
    windows = np.repeat(np.stack([first, second]), 20, axis=0).astype(np.float32)
    partitions, stop = merged(windows, np.repeat([0, 1], 20), seconds)
    assert len(np.unique(partitions[stop])) == voices_left
    assert [len(np.unique(groups)) for groups in partitions] == [2, 1]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_merging_takes_one_group_away_at_a_time(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    groups = random.permutation(np.concatenate([np.arange(count), random.integers(0, count, 30)]))
    windows = voices(random, [count + 30], 2.0)
    partitions, stop = merged(windows, groups, 0.4)
    assert [len(np.unique(each)) for each in partitions] == list(range(count, 0, -1))
    assert 0 <= stop < count
    for finer, coarser in itertools.pairwise(partitions):
        assert all(len(np.unique(coarser[finer == name])) == 1 for name in np.unique(finer))


@pytest.mark.parametrize(("asked", "found", "note"), [
    (Options(), 3, None),
    (Options(num_speakers=3), 3, None),
    (Options(min_speakers=2, max_speakers=4), 3, None),
    (Options(num_speakers=5), 2, "num_speakers is 5, and 2 speakers were found: the rest say too little alone"),
    (Options(min_speakers=2), 1, "min_speakers is 2, and 1 speaker was found: the rest say too little alone"),
    (Options(num_speakers=2), 0, "num_speakers is 2, and 0 speakers were found: nobody is heard speaking"),
    (Options(max_speakers=2), 3, "max_speakers is 2, and 3 speakers were found: the diarizer would not"),
])  # fmt: skip
def test_a_number_that_was_not_obeyed_is_named(asked: Options, found: int, note: str | None) -> None:
    notes = count_notes(found, asked)
    assert len(notes) == (note is not None)
    assert all(text.startswith(str(note)) for text in notes)


def test_the_answer_says_when_there_are_fewer_speakers_than_asked_for(embedded: Stages, call: Waveform) -> None:
    few = Waveform(call.samples[7 * SAMPLE_RATE : 9 * SAMPLE_RATE])
    transcript = transcribe(few, embedded, Options(num_speakers=40))
    assert any(note.startswith("num_speakers is 40, and ") for note in transcript.notes)
    assert transcribe(few, embedded, Options(num_speakers=1)).notes == ()


def best_value(scores: Floats, costs: Floats) -> float:
    """The value of the best path, by trying every path."""
    paths = itertools.product(range(scores.shape[1]), repeat=len(scores))
    return max(path_value(scores, costs, np.array(path)) for path in paths)


def path_value(scores: Floats, costs: Floats, path: NDArray[np.int64]) -> float:
    changes = np.concatenate([[False], np.diff(path) != 0])
    return float(scores[np.arange(len(path)), path].sum() - costs[changes].sum())


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_smoothing_finds_the_best_path(speakers: int, bins: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.uniform(0, 1, (bins, speakers)).astype(np.float32)
    costs = random.uniform(-0.2, 1, bins).astype(np.float32)
    path = smooth(scores, costs)
    assert path_value(scores, costs, path) == pytest.approx(best_value(scores, costs), abs=1e-5)


def test_after_hours_a_short_turn_still_weighs_more_than_its_change() -> None:
    scores = np.full((80_000, 2), [0.9, 0.0], np.float32)
    scores[-20:] = [0.5, 0.5504]
    path = smooth(scores, np.full(len(scores), 0.99, np.float32))
    assert path.tolist() == [0] * 79_980 + [1] * 20
