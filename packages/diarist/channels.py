"""Recordings with a speaker on each channel: which can be told apart, and whose words are whose; pure functions.

Crosstalk. A telephone's hybrid or a second microphone lets one channel's speaker be heard, more quietly, on
another, and the same words come out twice. Level alone cannot tell that from a quiet person who speaks at the
same time, so a phrase goes only where it is both: much quieter, and mostly the same words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from diarist.coverage import touching, union, without
from diarist.errors import BadRequest
from diarist.segments import phrases
from diarist.text import plain
from diarist.types import Samples, Span, Waveform, Word

CROSSTALK_BELOW = 10.0  # dB by which crosstalk is quieter than its source: the least that hybrids and headsets promise
SAME_WORDS = 0.5  # share of a phrase's words that the louder channel says, too
SAME_TIME = 0.5  # seconds by which the times of one word may differ between channels
SAME_SOUND = 0.01  # energy of the difference of two channels that hold one sound, as a share of theirs (-20 dB)


def check_channels(channels: Sequence[Waveform]) -> None:
    """Refuse a recording whose channels cannot be a speaker each.

    Raises:
        BadRequest: there is one channel, or two hold the same sound.
    """
    advice = 'leave channels out, or send "mix"'
    if len(channels) == 1:
        raise BadRequest(f"channels: the recording is mono, and split needs a channel for each speaker: {advice}")
    for first, second in combinations(range(len(channels)), 2):
        if _same_sound(channels[first].samples, channels[second].samples):
            raise BadRequest(
                f"channels: {first + 1} and {second + 1} hold the same sound, not a speaker each: {advice}"
            )


def _same_sound(one: Samples, other: Samples) -> bool:
    energy = float(np.dot(one, one))
    difference = one - other
    return energy > 0 and float(np.dot(difference, difference)) < SAME_SOUND * energy


def own_words(channels: Sequence[Waveform], words: Sequence[Sequence[Word]]) -> tuple[tuple[Word, ...], ...]:
    """The words of each channel without those that are another channel's, heard through."""
    return tuple(
        tuple(word for phrase in phrases(own) if not _is_crosstalk(phrase, index, channels, words) for word in phrase)
        for index, own in enumerate(words)
    )


def _is_crosstalk(
    phrase: Sequence[Word], index: int, channels: Sequence[Waveform], words: Sequence[Sequence[Word]]
) -> bool:
    span = _hull(phrase)
    own = Counter(plain(word.text) for word in phrase)
    for louder in _louder(span, index, channels):
        said = Counter(plain(word.text) for word in words[louder] if word.span.gap(span) <= SAME_TIME)
        if (own & said).total() >= SAME_WORDS * len(phrase):
            return True
    return False


def own_spans(index: int, channels: Sequence[Waveform], spans: Sequence[Span]) -> tuple[Span, ...]:
    """Those spans of a channel beside which no other is as loud as a source of crosstalk."""
    return tuple(span for span in spans if not _louder(span, index, channels))


def _louder(span: Span, index: int, channels: Sequence[Waveform]) -> list[int]:
    """The channels beside which one is as quiet as crosstalk."""
    least = _level(channels[index], span) + CROSSTALK_BELOW
    return [other for other, channel in enumerate(channels) if other != index and _level(channel, span) >= least]


def _level(waveform: Waveform, span: Span) -> float:
    """Mean level in dB below full scale."""
    samples = waveform.crop(span)
    return 10 * float(np.log10(np.dot(samples, samples) / max(1, len(samples)) + 1e-12))


def own_speech(
    index: int, channels: Sequence[Waveform], speech: Sequence[Span], heard: Sequence[Word], own: Sequence[Word]
) -> tuple[Span, ...]:
    """Where a channel's own speaker speaks.

    Args:
        index: which channel it is.
        channels: all of them.
        speech: where anyone is heard on it; where no word is, and another channel is as much louder, nobody speaks.
        heard: its words.
        own: those of them that are its own; beside the others' nobody speaks but where one of these is.
    """
    kept_words = set(own)
    lost = union(_hull(phrase) for phrase in phrases([word for word in heard if word not in kept_words]))
    kept = union(word.span for word in own)
    whole = set(speech)
    return tuple(
        piece
        for span in speech
        for piece in without(span, lost)
        if any(piece.overlap(other) > 0 for other in touching(piece, kept))
        or (piece in whole and not _louder(piece, index, channels))
    )


def _hull(phrase: Sequence[Word]) -> Span:
    return Span(phrase[0].span.start, max(word.span.end for word in phrase))
