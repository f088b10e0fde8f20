"""Words with speakers -> readable segments; pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from diarist.text import join
from diarist.types import Segment, Span, Word

MAX_GAP = 1.0  # seconds of pause that end a segment
MAX_DURATION = 30.0  # seconds after which a segment ends at the next end of a sentence, or pause between phrases
LONGEST_DURATION = 60.0  # seconds that no segment of several words passes
PHRASE_GAP = 0.3  # seconds of pause that a listener hears as a break
SENTENCE_ENDS = (".", "?", "!", "。", "？", "！", "…")  # noqa: RUF001 - full-width marks are meant


def group_words(words: Sequence[Word], *, language: str | None) -> tuple[Segment, ...]:
    """Join words into segments: a new one where the speaker changes, after a pause, and when one grows long."""
    words = _fold_orphans(sorted(words, key=lambda word: word.span))
    return tuple(_segment(group, language) for group in _groups(words))


def group_channels(channels: Sequence[Sequence[Word]], *, languages: Sequence[str | None]) -> tuple[Segment, ...]:
    """Join the words of speakers who were recorded apart, each with a language, into segments in order of start.

    Phrases take turns, not words: where two speak at once, each is still readable, and their segments overlap.
    """
    ordered = sorted((phrase for words in channels for phrase in phrases(words)), key=lambda phrase: phrase[0].span)
    language_of = {words[0].speaker: language for words, language in zip(channels, languages, strict=True) if words}
    return tuple(_segment(group, language_of[group[0].speaker]) for group in _groups(chain.from_iterable(ordered)))


def phrases(words: Sequence[Word]) -> Iterator[tuple[Word, ...]]:
    """Cut one speaker's words, in order of start, at pauses and after sentences."""
    first = 0
    for index in range(1, len(words) + 1):
        last = words[index - 1]
        ends = index == len(words) or words[index].span.start - last.span.end > PHRASE_GAP
        if ends or last.text.endswith(SENTENCE_ENDS):
            yield tuple(words[first:index])
            first = index


def _segment(group: Sequence[Word], language: str | None) -> Segment:
    return Segment(
        span=Span(group[0].span.start, max(word.span.end for word in group)),
        text=join((word.text for word in group), language),
        speaker=group[0].speaker,
        words=tuple(group),
    )


def _fold_orphans(words: Sequence[Word]) -> list[Word]:
    """Give a lone word without a speaker that of the words on both sides, where they agree."""
    folded = list(words)
    for index in range(1, len(folded) - 1):
        before, word, after = folded[index - 1 : index + 2]
        if word.speaker is None and before.speaker is not None and before.speaker == after.speaker:
            folded[index] = replace(word, speaker=before.speaker)
    return folded


def _groups(words: Iterable[Word]) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in words:
        if group and _ends(group, word):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _ends(group: list[Word], word: Word) -> bool:
    last = group[-1]
    if word.speaker != last.speaker or word.span.start - last.span.end > MAX_GAP:
        return True
    duration = word.span.end - group[0].span.start
    breaks = last.text.endswith(SENTENCE_ENDS) or word.span.start - last.span.end > PHRASE_GAP
    return duration > LONGEST_DURATION or (duration > MAX_DURATION and breaks)
