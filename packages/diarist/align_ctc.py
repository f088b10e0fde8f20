"""Segments -> timed Words, by wav2vec2 and exact CTC Viterbi (extra `whisperx`).

Model and dictionary come from `whisperx.load_align_model`. Everything after the network is our own: emissions in
batches, Viterbi in compiled code, digits and symbols timed, no sentence splitter and no download.
"""

from __future__ import annotations

import logging
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diarist import libraries
from diarist.align import fill, interpolated, settle, units
from diarist.batching import in_batches
from diarist.types import Draft, Progress, Segment, Span, Waveform, Word

if TYPE_CHECKING:
    import torch

    from diarist.pipeline import Aligner
    from diarist.request import Options

MIN_SAMPLES = 400  # the receptive field of wav2vec2's convolutions
LOADED_MODELS = 2  # each takes 0.4 to 1.3 GB
UNKNOWN_PENALTY = -0.1  # log-probability, see `with_unknown`
TYPOGRAPHIC_APOSTROPHE = "\u2019"
SPOKEN_SYMBOLS = "@%&#§°"  # punctuation to Unicode, but words to a speaker

logger = logging.getLogger(__name__)


class CtcAligner:
    """Times words with the wav2vec2 model of the draft's language.

    `folder` holds one Hugging Face folder (`config.json`, `vocab.json`, weights) for each language, named by
    Whisper's code. Drafts in other languages, and translations, whose text is not what was said, go to `fallback`.
    """

    def __init__(self, folder: Path, fallback: Aligner, *, device: str = "cpu", batch_size: int = 8) -> None:
        libraries.whisperx()
        self._folder = folder
        self._fallback = fallback
        self._device = device
        # On a CPU the network is the floor and batches do not help: 1.0 s alone, 1.3 s in eights, for 10 s of speech.
        self._batch_size = batch_size if device != "cpu" else 1
        self._models: OrderedDict[str, AlignmentModel] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def languages(self) -> tuple[str, ...]:
        """Whisper's codes of the languages that have a model."""
        return tuple(sorted(path.parent.name for path in self._folder.glob("*/config.json")))

    def __call__(
        self, waveform: Waveform, draft: Draft, *, options: Options, progress: Progress
    ) -> tuple[tuple[Word, ...], tuple[str, ...]]:
        """Words in order of start, inside the recording; a note where another way had to be taken."""
        is_wanted = options.align and options.task == "transcribe" and bool(draft.segments)
        if not is_wanted or draft.language not in self.languages:
            words, notes = self._fallback(waveform, draft, options=options, progress=progress)
            missing = f"no alignment model for {draft.language!r}: words timed by attention"
            return words, (*notes, missing) if is_wanted else notes
        model = self._model(draft.language)
        batch_size = self._batch_size if model.takes_lengths else 1
        every = align_segments(waveform, draft, model.emit, model.alphabet, batch_size=batch_size, progress=progress)
        return settle(every, waveform.duration), ()

    def _model(self, language: str) -> AlignmentModel:
        with self._lock:
            if language not in self._models:
                while len(self._models) >= LOADED_MODELS:
                    self._models.popitem(last=False)  # the one unused for longest
                self._models[language] = AlignmentModel.load(self._folder / language, language, self._device)
                logger.info("loaded the alignment model for %r", language)
            self._models.move_to_end(language)
            return self._models[language]


@dataclass(frozen=True, slots=True)
class Alphabet:
    """What a CTC model can spell: `labels` from a lower-case character to its column, and the blank's column."""

    labels: Mapping[str, int]
    blank: int

    @property
    def separator(self) -> int | None:
        """The column of the mark between words, where the model has one."""
        return self.labels.get("|")


Run = tuple[int, int, float]
"""A label in a path: its first frame, the frame after its last, and its mean probability."""

Emit = Callable[[Sequence[Any]], "list[torch.Tensor]"]
"""Samples of segments -> log-probabilities of each, shape `(num_frames, num_labels)`."""


def align_segments(
    waveform: Waveform, draft: Draft, emit: Emit, alphabet: Alphabet, *, batch_size: int, progress: Progress
) -> list[Word]:
    """Words of every segment, in order. Segments of about the same length share a batch."""
    segments = draft.segments
    by_length = sorted(range(len(segments)), key=lambda index: segments[index].span.duration)
    words: dict[int, tuple[Word, ...]] = {}

    def run(batch: Sequence[int]) -> list[torch.Tensor]:
        return emit([waveform.crop(segments[index].span) for index in batch])

    for batch, emissions in in_batches(by_length, run, batch_size=batch_size):
        for index, emission in zip(batch, emissions, strict=True):
            words[index] = align_segment(segments[index], draft.language, emission, alphabet)
        progress(len(words), len(segments))
    return [word for index in range(len(segments)) for word in words[index]]


def align_segment(segment: Segment, language: str, emission: torch.Tensor, alphabet: Alphabet) -> tuple[Word, ...]:
    """One segment's words by exact CTC Viterbi; with fewer frames than labels, as they came or interpolated.

    A word runs from the first frame of its first label to the end of the last frame of its last label: blanks
    belong to no word. Its score is the mean probability of its labels over their frames, None where it has only
    characters that the model cannot spell.
    """
    texts = tuple(word.text for word in segment.words) or units(segment.text, language)
    labels, owners = spell(texts, alphabet, unknown=emission.shape[1])
    frames = viterbi(with_unknown(emission, alphabet.blank), labels, alphabet.blank)
    if frames is None:
        return segment.words or interpolated(segment, language)
    spans, scores = _by_word(frames, labels, owners, unknown=emission.shape[1], count=len(texts))
    seconds = segment.span.duration / emission.shape[0]
    placed = [None if span is None else _seconds(span, seconds, segment.span) for span in spans]
    return tuple(
        Word(text=text, span=span, score=score, timing="ctc" if known else "interpolated")
        for text, span, score, known in zip(texts, fill(texts, placed, segment.span), scores, placed, strict=True)
    )


def _by_word(
    runs: Sequence[Run], labels: Sequence[int], owners: Sequence[int | None], *, unknown: int, count: int
) -> tuple[list[tuple[int, int] | None], list[float | None]]:
    """First frame and the one after the last of every word, and the mean probability of its known labels."""
    spans: list[tuple[int, int] | None] = [None] * count
    sums, lengths = [0.0] * count, [0] * count
    for (first, stop, probability), label, owner in zip(runs, labels, owners, strict=True):
        if owner is None:
            continue
        before = spans[owner]
        spans[owner] = (before[0] if before else first, stop)
        if label != unknown:
            sums[owner] += probability * (stop - first)
            lengths[owner] += stop - first
    return spans, [total / length if length else None for total, length in zip(sums, lengths, strict=True)]


def _seconds(frames: tuple[int, int], seconds: float, within: Span) -> Span:
    first, stop = frames
    return Span(within.start + first * seconds, min(within.start + stop * seconds, within.end))


def spell(texts: Sequence[str], alphabet: Alphabet, *, unknown: int) -> tuple[list[int], list[int | None]]:
    """Labels of all words, and for each label the number of its word (None between words).

    Digits, symbols and foreign letters become the label `unknown`, one for each run: nobody knows how many
    sounds "2024" has. Punctuation is silent.

    >>> spell(["It's", "$5!"], Alphabet({"|": 1, "i": 2, "t": 3, "s": 4, "'": 5}, blank=0), unknown=9)
    ([2, 3, 5, 4, 1, 9], [0, 0, 0, 0, None, 1])
    """
    labels: list[int] = []
    owners: list[int | None] = []
    known = {character: _spelled(character, alphabet, unknown) for character in set().union(*texts)}
    for number, text in enumerate(texts):
        word: list[int] = []
        for character in text:
            spelled = known[character]
            if spelled != [unknown] or word[-1:] != [unknown]:
                word += spelled
        if word and labels and alphabet.separator is not None:
            labels.append(alphabet.separator)
            owners.append(None)
        labels += word
        owners += [number] * len(word)
    return labels, owners


def _spelled(character: str, alphabet: Alphabet, unknown: int) -> list[int]:
    character = "'" if character == TYPOGRAPHIC_APOSTROPHE else character
    for candidate in (character.lower(), unicodedata.normalize("NFKD", character.lower())):
        found = [alphabet.labels[part] for part in candidate if part in alphabet.labels and part != "|"]
        if found:
            return found
    is_spoken = unicodedata.category(character)[0] in "LNS" or character in SPOKEN_SYMBOLS
    return [unknown] if is_spoken else []


def with_unknown(emission: torch.Tensor, blank: int) -> torch.Tensor:
    """Add a column for characters that the model cannot spell, shape `(num_frames, num_labels + 1)`.

    It is worth as much as the best label, or a little less than blank: so it takes all the letters of the spoken
    number, the pauses between them, and leaves the silence around it alone.
    """
    import torch  # noqa: PLC0415

    best = emission.clone()
    best[:, blank] += UNKNOWN_PENALTY
    return torch.cat([emission, best.max(dim=1, keepdim=True).values], dim=1)


def viterbi(emission: torch.Tensor, labels: Sequence[int], blank: int) -> list[Run] | None:
    """The most probable CTC path: for each label its first frame, the frame after its last, and mean probability.

    `emission` has shape `(num_frames, num_labels)`, log-probabilities on the CPU. None where there are no labels, or
    fewer frames than labels (and a blank between two equal ones), which no path fits.
    """
    repeats = sum(label == before for before, label in pairwise(labels))
    if not labels or emission.shape[0] < len(labels) + repeats:
        return None
    import torch  # noqa: PLC0415
    from torchaudio.functional import forced_align  # noqa: PLC0415

    # 2.8 announces its end with a warning on each call; the function itself is below the wrapper that warns.
    align = getattr(forced_align, "__wrapped__", forced_align)
    path, scores = align(emission[None].contiguous(), torch.tensor([list(labels)], dtype=torch.int32), blank=blank)
    return _runs(path[0].numpy(), scores[0].exp().numpy(), blank)


def _runs(path: NDArray[np.int32], probabilities: NDArray[np.float32], blank: int) -> list[Run]:
    """Stretches of one label that is not the blank, in a path of one label a frame."""
    edges = np.flatnonzero(np.diff(path)) + 1
    firsts, stops = np.concatenate([[0], edges]), np.concatenate([edges, [len(path)]])
    means = np.add.reduceat(probabilities, firsts, dtype=np.float64) / (stops - firsts)
    spoken = path[firsts] != blank
    return list(zip(firsts[spoken].tolist(), stops[spoken].tolist(), means[spoken].tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class AlignmentModel:
    """A loaded wav2vec2 and its alphabet.

    `network` is a `transformers.Wav2Vec2ForCTC` in eval mode on `device`.
    """

    network: Any
    alphabet: Alphabet
    device: str
    normalizes: bool  # was trained on samples of mean 0 and variance 1
    takes_lengths: bool  # can be told which samples of a batch are padding

    @classmethod
    def load(cls, folder: Path, language: str, device: str) -> AlignmentModel:
        """Load what transformers has written to a folder; nothing is downloaded."""
        import whisperx  # noqa: PLC0415
        from transformers import Wav2Vec2FeatureExtractor  # noqa: PLC0415

        with libraries.quiet():
            network, metadata = whisperx.load_align_model(
                language, device, model_name=str(folder), model_cache_only=True
            )
            extractor = Wav2Vec2FeatureExtractor.from_pretrained(str(folder), local_files_only=True)
        return cls(
            network=network.eval(),
            alphabet=Alphabet(metadata["dictionary"], blank=network.config.pad_token_id),
            device=device,
            normalizes=extractor.do_normalize,
            # Models with group normalization were trained without a mask: padding would change their answer.
            takes_lengths=network.config.feat_extract_norm == "layer",
        )

    def emit(self, samples: Sequence[Any]) -> list[torch.Tensor]:
        """Log-probabilities for each item, shape `(num_frames, num_labels)`, float32 on the CPU."""
        import torch  # noqa: PLC0415

        items = [self._prepared(torch.as_tensor(item)) for item in samples]
        lengths = torch.tensor([len(item) for item in items])
        padded = torch.nn.utils.rnn.pad_sequence(items, batch_first=True)
        mask = (torch.arange(padded.shape[1])[None] < lengths[:, None]).long() if self.takes_lengths else None
        with torch.inference_mode():
            logits = self.network(
                padded.to(self.device), attention_mask=None if mask is None else mask.to(self.device)
            ).logits
            emissions = torch.log_softmax(logits.float(), dim=-1).cpu()
        # The network's own count of frames for each length, the same that its mask uses.
        frames = self.network._get_feat_extract_output_lengths(lengths)  # noqa: SLF001
        return [emission[:count] for emission, count in zip(emissions, frames.tolist(), strict=True)]

    def _prepared(self, samples: torch.Tensor) -> torch.Tensor:
        import torch  # noqa: PLC0415

        if len(samples) < MIN_SAMPLES:
            samples = torch.nn.functional.pad(samples, (0, MIN_SAMPLES - len(samples)))
        if self.normalizes:  # transformers' Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm
            samples = (samples - samples.mean()) / torch.sqrt(samples.var(correction=0) + 1e-7)
        return samples
