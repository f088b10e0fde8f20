"""Voices that are known by name: which of a recording's speakers they are; pure functions.

A speaker gets a name where the cosine similarity of the two voice vectors is at least `SAME_VOICE`. Names are given
out together, so that what the similarities have above it adds up to the most, and each at most once (an assignment
problem; SciPy's `linear_sum_assignment`, Crouse 2016). Whoever is left stays anonymous.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diarist.errors import BadRequest
from diarist.types import Diarization, Turn, Waveform

Vector = NDArray[np.float32]

# Cosine similarity from which two CAM++ vectors are one person's. On LibriSpeech, one utterance against another, tuned
# on speakers 1688, 1998, 2033 and 2414: one person at least 0.51 (first 4 s; 0.57 whole), two people at most 0.41.
# On the other two, 2609 and 3005, it makes no error in 120 pairs of 4 s and in 190 whole ones. From clips of 2 s it
# misses one person in 24 of 270 pairs and takes nobody for another. In one recording of AMI or of the sample
# call, two people have up to 0.42 and one 0.73 or more. It is not measured for the vectors of other networks.
SAME_VOICE = 0.5


@dataclass(frozen=True, slots=True)
class KnownVoice:
    """Somebody's name and voice: a clip of it, or its vector, `(dimension,)` float32."""

    name: str
    voice: Waveform | Vector


def voice_in(diarization: Diarization) -> Vector | None:
    """The vector of the first speaker, `(dimension,)`; None where nobody is heard well enough to have one."""
    vectors = diarization.embeddings
    return vectors[0] if vectors is not None and len(vectors) and np.any(vectors[0]) else None


def name_speakers(diarization: Diarization, known: Mapping[str, Vector]) -> tuple[Diarization, tuple[str, ...]]:
    """Give speakers the names of voices that are known, and say how sure that is, or who was not heard.

    Raises:
        BadRequest: a vector is of another length than the diarizer's.
    """
    vectors = diarization.embeddings
    if vectors is None or not known:
        return diarization, tuple(f"{name} was not looked for: this diarizer gives no voice vectors" for name in known)
    _check_lengths(known, vectors.shape[1])
    names = list(known)
    similarity = _unit(vectors) @ _unit(np.stack([known[name] for name in names])).T  # (num_speakers, num_names)
    pairs = _best_pairs(similarity)
    labels = {diarization.speakers[row]: names[column] for row, column in pairs}
    notes = [
        f"{diarization.speakers[row]} is {names[column]}: similarity {similarity[row, column]:.2f}"
        for row, column in pairs
    ]
    found = {column for _, column in pairs}
    notes += [
        f"{name} was not heard: no speaker left has a similarity of {SAME_VOICE} or more"
        for column, name in enumerate(names)
        if column not in found
    ]
    return _renamed(diarization, labels), tuple(notes)


def _check_lengths(known: Mapping[str, Vector], dimension: int) -> None:
    for number, vector in enumerate(known.values()):
        if len(vector) != dimension:
            message = f"known_speakers.{number}: the embedding has {len(vector)} numbers, and this model's {dimension}"
            raise BadRequest(f"{message}: take it from an answer of the same model_version, or send a clip")


def _unit(vectors: Vector) -> Vector:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)


def _best_pairs(similarity: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Rows and columns, each at most once, whose values are high enough and add up to the most."""
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - slow to import

    rows, columns = linear_sum_assignment(np.maximum(similarity - SAME_VOICE, 0), maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(row, column) for row, column in pairs if similarity[row, column] >= SAME_VOICE]


def _renamed(diarization: Diarization, names: Mapping[str, str]) -> Diarization:
    return replace(
        diarization,
        turns=_renamed_turns(diarization.turns, names),
        exclusive=_renamed_turns(diarization.exclusive, names),
        speakers=tuple(names.get(label, label) for label in diarization.speakers),
    )


def _renamed_turns(turns: Sequence[Turn], names: Mapping[str, str]) -> tuple[Turn, ...]:
    return tuple(Turn(turn.span, names.get(turn.speaker, turn.speaker)) for turn in turns)
