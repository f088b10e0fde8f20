"""What was counted in corrections: sums that add up over recordings, and the rates that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

_SECONDS_PER_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Measured:
    """Counts over one or many corrected recordings; the annotation is the truth, the prediction is judged.

    Every count adds up, so those of many recordings give rates that weigh each recording by its size.
    """

    recordings: int = 0
    # cpWER: concatenated minimum-permutation word error rate
    words: int = 0  # in the annotations, after the normalizer
    insertions: int = 0  # words that the model made up
    deletions: int = 0  # words that it missed
    substitutions: int = 0
    # DER: diarization error rate, collar 0 s, overlap scored; all in seconds
    spoken: float = 0.0  # by all speakers of the annotations, overlaps counted for each
    missed: float = 0.0
    false_alarm: float = 0.0
    confusion: float = 0.0
    # regions
    untouched: int = 0  # the same in prediction and annotation
    changed: int = 0  # times, speaker or text
    deleted: int = 0  # predicted, and gone
    added: int = 0  # drawn by people
    # time
    audio_seconds: float = 0.0
    lead_seconds: float = 0.0  # that people worked, as Label Studio counts it
    timed_seconds: float = 0.0  # of the recordings for which it counted that
    normalizers: tuple[str, ...] = ()  # names of those that words went through before they were compared

    zero: ClassVar[Measured]

    def __add__(self, other: Measured) -> Measured:
        """The counts of both."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return Measured(**sums, normalizers=tuple(sorted({*self.normalizers, *other.normalizers})))

    @property
    def word_errors(self) -> int:
        """Insertions, deletions and substitutions."""
        return self.insertions + self.deletions + self.substitutions

    @property
    def cpwer(self) -> float | None:
        """Word errors for each word of the annotations, with the best match of speakers; None without words."""
        return self.word_errors / self.words if self.words else None

    @property
    def der(self) -> float | None:
        """Missed, false and confused seconds for each spoken second; None where nobody spoke."""
        return (self.missed + self.false_alarm + self.confusion) / self.spoken if self.spoken else None

    @property
    def regions(self) -> int:
        """All regions, of either side."""
        return self.untouched + self.changed + self.deleted + self.added

    @property
    def changed_share(self) -> float | None:
        """The share of all regions that people changed, deleted or added, 0..1; None without regions."""
        return (self.changed + self.deleted + self.added) / self.regions if self.regions else None

    @property
    def seconds_per_audio_minute(self) -> float | None:
        """Seconds that people worked for each minute of audio; None where nobody counted them."""
        return self.lead_seconds / self.timed_seconds * _SECONDS_PER_MINUTE if self.timed_seconds else None

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON's own types; the rates follow from them."""
        return {name: getattr(self, name) for name in _COUNTS} | {"normalizers": list(self.normalizers)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """The counts again; what an older version did not count is zero."""
        counts = {name: body[name] for name in _COUNTS if name in body}
        return cls(**counts, normalizers=tuple(body.get("normalizers", ())))


_COUNTS = tuple(field.name for field in fields(Measured) if field.name != "normalizers")
Measured.zero = Measured()
