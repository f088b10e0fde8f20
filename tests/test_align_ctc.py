"""Exact CTC alignment, held against an independent Viterbi, against enumeration, and against whisperx."""

# ruff: noqa: ANN401, RUF001 - no types shipped; other scripts have their own commas

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from diarist import audio, libraries
from diarist.align import MIN_WORD_SECONDS, AttentionAligner, settle
from diarist.align_ctc import AlignmentModel, Alphabet, CtcAligner, align_segment, spell, viterbi, with_unknown
from diarist.request import Options
from diarist.types import Draft, Segment, Span, Waveform, Word, unobserved
from tiny_checkpoints import wav2vec2_folder

Emission = NDArray[np.floating[Any]]
LETTERS = "abcdefghijklmnopqrstuvwxyz'"
ALPHABET = Alphabet({letter: index for index, letter in enumerate("|" + LETTERS, start=1)}, blank=0)
WIDTH = len(ALPHABET.labels) + 1
FRAME_SECONDS = 0.02


# --- the oracle -------------------------------------------------------------------------------------------


def oracle(emission: Emission, labels: Sequence[int], blank: int) -> tuple[float, list[int]]:
    """The best CTC path by dynamic programming over labels with blanks between them (Graves, 2012, 7.3)."""
    states = [blank, *itertools.chain.from_iterable((label, blank) for label in labels)]
    score = np.full((len(emission), len(states)), -np.inf)
    came = np.zeros(score.shape, int)
    score[0, 0], score[0, 1] = emission[0, blank], emission[0, labels[0]]
    for frame in range(1, len(emission)):
        for state, label in enumerate(states):
            before = [state, state - 1]
            if state > 1 and label != blank and label != states[state - 2]:
                before.append(state - 2)
            best = max((score[frame - 1, s], -s) for s in before if s >= 0)
            came[frame, state] = -best[1]
            score[frame, state] = best[0] + emission[frame, label]
    state = len(states) - 1 if score[-1, -1] >= score[-1, -2] else len(states) - 2
    total, path = float(score[-1, state]), [state]
    for frame in range(len(emission) - 1, 0, -1):
        path.append(came[frame, path[-1]])
    return total, [states[state] for state in reversed(path)]


def collapse(path: Sequence[int], blank: int) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label != blank]


def log_softmax(logits: Emission) -> Emission:
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def random_emission(seed: int, frames: int, width: int, *, sharpness: float = 1.0) -> Emission:
    return log_softmax(np.random.default_rng(seed).standard_normal((frames, width)) * sharpness)


def as_path(runs: list[tuple[int, int, float]], labels: Sequence[int], frames: int, blank: int) -> list[int]:
    path = [blank] * frames
    for (first, stop, _), label in zip(runs, labels, strict=True):
        path[first:stop] = [label] * (stop - first)
    return path


def score_of(path: Sequence[int], emission: Emission) -> float:
    return float(sum(emission[frame, label] for frame, label in enumerate(path)))


@pytest.mark.parametrize("labels", [[1], [1, 2], [1, 1], [2, 1, 2]])
@pytest.mark.parametrize("seed", range(5))
def test_the_oracle_finds_the_best_of_all_paths(labels: list[int], seed: int) -> None:
    emission = random_emission(seed, 6, 3, sharpness=2)
    every = [path for path in itertools.product(range(3), repeat=6) if collapse(path, 0) == labels]
    best = max(every, key=lambda path: score_of(path, emission))
    score, path = oracle(emission, labels, 0)
    assert score == pytest.approx(score_of(best, emission))
    assert tuple(path) == best


@pytest.mark.parametrize("sharpness", [0.5, 2.0, 10.0])
@pytest.mark.parametrize("seed", range(8))
def test_alignment_is_the_best_path(seed: int, sharpness: float) -> None:
    random = np.random.default_rng(seed)
    labels = [int(label) for label in random.integers(1, 6, random.integers(1, 25))]  # five labels: many repeat
    emission = random_emission(seed, 60, 6, sharpness=sharpness).astype(np.float32)
    runs = viterbi(torch.from_numpy(emission), labels, 0)
    assert runs is not None
    path = as_path(runs, labels, 60, 0)
    score, expected = oracle(emission.astype(float), labels, 0)
    assert score_of(path, emission) == pytest.approx(score, rel=1e-5)
    assert path == expected  # ties have probability zero
    assert [probability for *_, probability in runs] == pytest.approx(
        [np.exp(emission[first:stop, label]).mean() for (first, stop, _), label in zip(runs, labels, strict=True)],
        rel=1e-4,
    )


def test_the_blank_may_be_any_column() -> None:
    emission = random_emission(3, 30, 5).astype(np.float32)
    runs = viterbi(torch.from_numpy(emission), [0, 1, 1], 4)
    assert runs is not None
    assert as_path(runs, [0, 1, 1], 30, 4) == oracle(emission, [0, 1, 1], 4)[1]


def test_the_fewest_frames_that_can_hold_the_labels_do() -> None:
    runs = viterbi(torch.from_numpy(random_emission(1, 4, 3)), [1, 1, 2], 0)  # a, blank, a, b
    assert runs is not None
    assert [run[:2] for run in runs] == [(0, 1), (2, 3), (3, 4)]


@pytest.mark.parametrize(("frames", "labels"), [(3, [1, 1, 2]), (1, [1, 2]), (5, [])])
def test_labels_that_do_not_fit_are_no_path(frames: int, labels: list[int]) -> None:
    assert viterbi(torch.from_numpy(random_emission(1, frames, 3)), labels, 0) is None


# --- against whisperx -------------------------------------------------------------------------------------


def peaked(text: str, seed: int) -> tuple[Emission, list[float]]:
    """An emission like a real model's: each letter a peak of one frame, blanks between; and the words' starts."""
    random = np.random.default_rng(seed)
    logits = random.standard_normal((len(text) * 5 + 40, WIDTH))
    logits[:, 0] += 8
    frame, starts = 10, []
    for index, letter in enumerate(text):
        if index == 0 or text[index - 1] == " ":
            starts.append(frame * FRAME_SECONDS)
        label = ALPHABET.labels["|" if letter == " " else letter]
        logits[frame, 0], logits[frame, label] = 0, 9
        frame += int(random.integers(2, 6))
    return log_softmax(logits), starts


def sentence(seed: int, length: int = 12) -> str:
    random = np.random.default_rng(seed)
    letters = "etaoinshrdlu"
    return " ".join("".join(random.choice(list(letters), random.integers(2, 8))) for _ in range(length))


def whisperx_starts(text: str, emission: Emission, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Word starts by whisperx's own `align`, given the emission by a model that says just this."""
    whisperx = libraries.whisperx()

    class SaysJustThis(torch.nn.Module):
        def forward(self, samples: torch.Tensor) -> Any:
            return SimpleNamespace(logits=torch.from_numpy(emission)[None].float())

    # Its sentence splitter is data that NLTK would download.
    splitter = SimpleNamespace(span_tokenize=lambda text: [(0, len(text))])
    monkeypatch.setattr(whisperx.alignment, "nltk_load", lambda _: splitter)
    duration = len(emission) * FRAME_SECONDS
    dictionary = {"<pad>": 0, **ALPHABET.labels}
    answer = whisperx.align(
        [{"start": 0.0, "end": duration, "text": text}],
        SaysJustThis(),
        {"language": "en", "dictionary": dictionary, "type": "huggingface"},
        np.zeros(round(duration * 16_000), np.float32),
        "cpu",
    )
    return [word["start"] for word in answer["word_segments"]]


def test_word_starts_agree_with_whisperx_on_peaked_emissions(monkeypatch: pytest.MonkeyPatch) -> None:
    # On starts only: whisperx gives blanks to the letter before them, so its ends follow another convention.
    theirs: list[float] = []
    ours: list[float] = []
    true: list[float] = []
    for seed in range(10):
        text = sentence(seed)
        emission, starts = peaked(text, seed)
        segment = Segment(Span(0, len(emission) * FRAME_SECONDS), text)
        words = align_segment(segment, "en", torch.from_numpy(emission).float(), ALPHABET)
        ours += [word.span.start for word in words]
        theirs += whisperx_starts(text, emission, monkeypatch)
        true += starts
    assert np.abs(np.array(ours) - true).max() < 1e-6
    assert np.mean(np.abs(np.array(ours) - theirs) <= FRAME_SECONDS + 1e-3) > 0.97


# --- words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("don't", "don't"),
        ("Don’t", "don't"),
        ("café", "cafe"),
        ("3rd", "?rd"),
        ("$5,000", "?"),
        ("50%", "?"),
        ("me@x.org", "me?xorg"),
        ("C++", "c?"),
        ("2014.", "?"),
        ("£13.60", "?"),
        ("4,9", "?"),
        ("AT&T", "at?t"),
        ("e-mail", "email"),
        ("-", ""),
        ("well...", "well"),
        ("«—»", ""),
        ("漢字", "?"),
    ],
)
def test_a_word_is_spelled_by_what_the_model_can_spell(text: str, spelled: str) -> None:
    labels, owners = spell([text], ALPHABET, unknown=99)
    letters = {index: letter for letter, index in ALPHABET.labels.items()} | {99: "?"}
    assert "".join(letters[label] for label in labels) == spelled
    assert owners == [0] * len(labels)


def test_models_without_a_separator_get_none() -> None:
    alphabet = Alphabet({"你": 1, "好": 2}, blank=0)
    assert spell(["你", "好。"], alphabet, unknown=9) == ([1, 2], [0, 1])


def test_every_word_has_a_time_whatever_it_is_made_of() -> None:
    text = "It cost $5,000 (approx.) — write to me@x.org by 12:30, naïve 漢字!"
    words = align_segment(
        Segment(Span(3, 13), text), "en", torch.from_numpy(random_emission(5, 499, WIDTH)).float(), ALPHABET
    )
    assert [word.text for word in words] == text.split()
    assert {word.text for word in words if word.timing == "interpolated"} == {"—"}
    assert {word.text for word in words if word.score is None} == {"—", "$5,000", "12:30,", "漢字!"}
    assert all(3 <= word.span.start <= word.span.end <= 13 for word in words)
    starts = [word.span.start for word in words]
    assert starts == sorted(starts)


@pytest.mark.parametrize(
    ("text", "timing", "has_score"),
    [
        ("2014.", "ctc", False),
        ("£13.60", "ctc", False),
        ("4,9", "ctc", False),
        ("50%", "ctc", False),
        ("AT&T", "ctc", True),
        ("e-mail", "ctc", True),
        ("-", "interpolated", False),
        ("…", "interpolated", False),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_digits_money_symbols_and_hyphens_have_times_wherever_they_stand(
    text: str, timing: str, has_score: bool, place: int
) -> None:
    said = ["so", "far"]
    said.insert(place, text)
    emission, _ = peaked("so twenty far", 3)
    segment = Segment(Span(5, 5 + len(emission) * FRAME_SECONDS), " ".join(said))
    words = align_segment(segment, "en", torch.from_numpy(emission).float(), ALPHABET)
    assert [word.text for word in words] == said
    assert (words[place].timing, words[place].score is not None) == (timing, has_score)
    settled = settle(words, segment.span.end)
    assert all(word.span.duration >= MIN_WORD_SECONDS - 1e-9 for word in settled)
    assert [word.span.start for word in settled] == sorted(word.span.start for word in settled)


def test_a_number_takes_the_sounds_between_its_neighbours_and_not_the_silence() -> None:
    emission, starts = peaked("in twenty four days", 4)
    words = align_segment(
        Segment(Span(0, len(emission) * FRAME_SECONDS), "in 24 days"),
        "en",
        torch.from_numpy(emission).float(),
        ALPHABET,
    )
    assert [word.timing for word in words] == ["ctc"] * 3
    assert [word.span.start for word in words] == pytest.approx([starts[0], starts[1], starts[3]], abs=0.05)
    assert words[1].span.end > starts[2]  # it lasts into "four"
    assert words[1].span.end <= starts[3]


def test_a_segment_with_more_letters_than_frames_is_interpolated() -> None:
    segment = Segment(Span(1, 1.5), "far more letters than frames")
    words = align_segment(segment, "en", torch.from_numpy(random_emission(1, 10, WIDTH)).float(), ALPHABET)
    assert [word.text for word in words] == segment.text.split()
    assert {word.timing for word in words} == {"interpolated"}
    assert words[0].span.start == 1
    assert words[-1].span.end == 1.5


def test_words_that_the_transcriber_timed_are_kept_where_alignment_cannot_work() -> None:
    timed = (Word("far", Span(1.1, 1.2)), Word("toolong", Span(1.3, 1.4)))
    segment = Segment(Span(1, 1.5), "far toolong", words=timed)
    emission = torch.from_numpy(random_emission(1, 3, WIDTH)).float()
    assert align_segment(segment, "en", emission, ALPHABET) == timed


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40), st.integers(1, 120), st.sampled_from(["en", "zh"]))
def test_alignment_never_fails_and_loses_no_word(text: str, frames: int, language: str) -> None:
    emission = torch.from_numpy(random_emission(frames, frames, WIDTH)).float()
    words = align_segment(Segment(Span(2, 4), text), language, emission, ALPHABET)
    assert "".join(word.text for word in words) == "".join(text.split())
    assert all(2 <= word.span.start <= word.span.end <= 4 + 1e-9 for word in words)


def test_the_column_for_the_unknown_is_never_better_than_the_best_label() -> None:
    emission = torch.from_numpy(random_emission(2, 50, WIDTH)).float()
    extended = with_unknown(emission, blank=0)
    assert extended.shape == (50, WIDTH + 1)
    assert (extended[:, -1] <= emission.max(dim=1).values).all()
    assert (extended[:, -1] >= emission[:, 1:].max(dim=1).values).all()


# --- models -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models for three languages: two that are told of padding, and one that is not."""
    libraries.whisperx()
    folder = tmp_path_factory.mktemp("align")
    wav2vec2_folder(folder / "en")
    wav2vec2_folder(folder / "de", letters="abcdefghijklmnopqrstuvwxyzäöüß", masks_padding=False)
    wav2vec2_folder(folder / "zh", letters="你好世界")
    return folder


@pytest.fixture(scope="module")
def call(sample: Path) -> Waveform:
    return audio.decode(sample / "sample.wav", max_duration_seconds=60)


def draft(language: str = "en") -> Draft:
    texts = {"zh": ("你好", "世界，你好。")}.get(language, ("Hello, hello.", "I didn't know that you were there at 9!"))
    return Draft(
        language, (Segment(Span(7.5, 9), texts[0]), Segment(Span(10, 14.5), texts[1]), Segment(Span(20, 22), texts[0]))
    )


def aligned(
    aligner: CtcAligner, call: Waveform, language: str, **options: Any
) -> tuple[tuple[Word, ...], tuple[str, ...]]:
    return aligner(call, draft(language), options=Options(**options), progress=unobserved)


@pytest.mark.parametrize("language", ["en", "de", "zh"])
def test_words_are_timed_by_the_model_of_their_language(folder: Path, call: Waveform, language: str) -> None:
    reports: list[float] = []
    words, notes = CtcAligner(folder, AttentionAligner())(
        call, draft(language), options=Options(), progress=lambda done, total: reports.append(done / total)
    )
    assert notes == ()
    assert {word.timing for word in words} == {"ctc"}
    assert [word.span.start for word in words] == sorted(word.span.start for word in words)
    assert "".join(word.text for word in words) == "".join(s.text.replace(" ", "") for s in draft(language).segments)
    assert reports[-1] == 1.0


def test_a_batch_gives_the_same_emissions_as_one_at_a_time(folder: Path, call: Waveform) -> None:
    model = AlignmentModel.load(folder / "en", "en", "cpu")
    items = [call.crop(Span(7.5, 9)), call.crop(Span(10, 14.5)), call.crop(Span(20, 20.01))]
    together, alone = model.emit(items), [model.emit([item])[0] for item in items]
    assert model.takes_lengths
    for batched, single in zip(together, alone, strict=True):
        assert batched.shape == single.shape
        assert torch.allclose(batched, single, atol=1e-4)


def test_emissions_survive_a_gpu_that_is_too_small(
    folder: Path, call: Waveform, monkeypatch: pytest.MonkeyPatch
) -> None:
    aligner = CtcAligner(folder, AttentionAligner(), batch_size=8)
    one_by_one = aligned(aligner, call, "en")
    aligner._batch_size = 8  # as on a GPU
    network, sizes = aligner._model("en").network, []

    def forward(samples: torch.Tensor, forward: Any = network.forward, **options: Any) -> Any:
        sizes.append(len(samples))
        if len(samples) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(samples, **options)

    monkeypatch.setattr(network, "forward", forward)
    assert aligned(aligner, call, "en") == one_by_one
    assert sizes == [3, 1, 1, 1]


def test_a_model_that_cannot_be_told_of_padding_gets_one_segment_at_a_time(folder: Path, call: Waveform) -> None:
    aligner = CtcAligner(folder, AttentionAligner(), batch_size=8)
    aligner._batch_size = 8  # as on a GPU
    one_by_one = aligned(CtcAligner(folder, AttentionAligner()), call, "de")
    assert aligned(aligner, call, "de") == one_by_one
    assert not AlignmentModel.load(folder / "de", "de", "cpu").takes_lengths


def test_no_more_than_two_models_stay_loaded_and_the_last_used_do(folder: Path, call: Waveform) -> None:
    aligner = CtcAligner(folder, AttentionAligner())
    for language in ("en", "de", "en", "zh"):
        aligned(aligner, call, language)
    assert list(aligner._models) == ["en", "zh"]


def test_a_language_without_a_model_is_timed_by_attention_and_says_so(folder: Path, call: Waveform) -> None:
    words, notes = aligned(CtcAligner(folder, AttentionAligner()), call, "fr")
    assert notes == ("no alignment model for 'fr': words timed by attention",)
    assert len(words) == 13


@pytest.mark.parametrize("options", [{"task": "translate"}, {"align": False}])
def test_translations_and_unwanted_alignment_go_to_the_fallback(
    folder: Path, call: Waveform, options: dict[str, Any]
) -> None:
    words, notes = aligned(CtcAligner(folder, AttentionAligner()), call, "en", **options)
    assert {word.timing for word in words} == {"interpolated"}
    assert notes == ()


def test_a_folder_that_is_not_there_has_no_languages(tmp_path: Path, call: Waveform) -> None:
    aligner = CtcAligner(tmp_path / "absent", AttentionAligner())
    assert aligner.languages == ()
    assert aligned(aligner, call, "en")[1] == ("no alignment model for 'en': words timed by attention",)


def test_an_empty_draft_has_no_words_and_no_notes(folder: Path, call: Waveform) -> None:
    aligner = CtcAligner(folder, AttentionAligner())
    assert aligner(call, Draft("xx", ()), options=Options(), progress=unobserved) == ((), ())
