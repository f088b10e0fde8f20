"""Words that people put where the model had heard others: what the model should expect next time in this project.

Words are compared region by region, and where people drew regions anew, by the time that they cover. Of the
words that replaced others, those are worth a hint that stand in two places or more, or that look like names:
with a capital inside a sentence, with capitals or digits inside the word. Words that the model got right more
often than not need none, nor do the small words of a language. Where capitals are common inside sentences, as in
German, they make no names; and languages without spaces between words give no hints. The same corrections always
give the same hints, in whatever order they come.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from diarist.text import flat
from diarist_proxy.label_studio.corrections.annotation import Item, Region, find_controls, regions, whole_text
from diarist_proxy.label_studio.corrections.scripts import spaceless
from diarist_proxy.label_studio.corrections.whole_text import segments_of

_LEAST_PLACES = 2  # in which a word that is no name must have been put
_LEAST_LETTERS = 3  # of a word that is no name
_LONGEST_PROMPT = 200  # characters; Whisper reads at most 224 tokens of prompt and hotwords
_FEW_WORDS, _MANY_CAPITALS = 50, 0.15  # words; German has about 0.2, English 0.05 (I is a small word)
_LONG_TEXT = 2000  # words; beyond, the most frequent ones do not help to match, which would take minutes
_LONGEST_WORD = 40  # characters
_SENTENCE_END = re.compile("[.?!:\u2026\u3002\uff1f\uff01][\"'\u201d\u2019\u00bb)\\]]*$")
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")  # punctuation around a word

_SMALL_WORDS = frozenset(
    """
    a about after all also am an and any are as at be because been before but by can could did do does down for from
    get go got had has have he her here him his how i if in into is it its just know like me more my no not now of off
    oh ok okay on one only or our out over really right said say see she so some than that the their them then there
    these they thing think this those to too uh um up us very was way we well were what when where which who why will
    with would yeah yes you your it's i'm don't that's you're we're they're there's he's she's i've we've can't won't
    aber als am an auch auf aus bei bin bis das dass dem den der des die doch du ein eine einen einer er es für hat
    haben ich ihr im in ist ja kann man mehr mich mir mit nach nein nicht noch nur oder schon sein sich sie sind so und
    uns vom von vor war was wenn wie wir wird zu zum zur
    au aux avec c'est ce ces dans de des du elle en est et il ils je la le les leur lui mais me ne nous on ou où par
    pas plus pour que qui sa se ses son sont sur te tu un une vous
    al como con de del el ella en era es eso esta este hay la las le lo los me mi más no para pero por que qué se si
    sin su sus te tu un una y ya yo
    ai che ci con da dei del della di e è gli ha ho i il io la le lo ma mi ne nel non o per più se si sono un una
    """.split()  # noqa: SIM905 - people read it
)


@dataclass(frozen=True, slots=True)
class Hints:
    """What a request to the model can be given for one project."""

    hotwords: tuple[str, ...] = ()  # the most needed first
    initial_prompt: str | None = None  # sentences of people's own in which the first hotwords stand
    digest: str = ""  # changes when the hints do; empty where there are none


def mined(
    pairs: Iterable[tuple[Sequence[Item], Sequence[Item]]], *, max_words: int = 50, known: Iterable[str] = ()
) -> Hints:
    """The hints that corrections give.

    Args:
        pairs: for each corrected task, the result items of the prediction and of the annotation.
        max_words: the most hotwords; they share Whisper's prompt of 224 tokens with the text before.
        known: hotwords that the model was given already. That it gets them right since is no reason to forget them.
    """
    seen = _Seen(known=frozenset(map(_plain, known)))
    for prediction, annotation in pairs:
        for heard, said in _texts(prediction, annotation):
            seen.compare(heard.split(), said.split())
    hotwords = seen.worth_a_hint()[: max(0, max_words)]
    prompt = _prompt(hotwords, seen.corrected)
    return Hints(hotwords, prompt, _digest(hotwords, prompt))


@dataclass(slots=True)
class _Seen:
    """What the corrections had in them; words are counted without case and punctuation."""

    known: frozenset[str]
    put: Counter[str] = field(default_factory=Counter)  # where the model had others
    right: Counter[str] = field(default_factory=Counter)  # where it had the same
    capital: Counter[str] = field(default_factory=Counter)  # of those put, with a capital inside a sentence
    marked: Counter[str] = field(default_factory=Counter)  # of those put, with capitals or digits inside the word
    inside: int = 0  # words inside sentences
    capitals: int = 0  # of those, with a capital
    spellings: dict[str, Counter[str]] = field(default_factory=dict)
    corrected: set[str] = field(default_factory=set)  # whole texts in which something was put

    def compare(self, heard: Sequence[str], said: Sequence[str]) -> None:
        """Count the words of one place, each word once."""
        plain_heard, plain_said = ([_plain(word) for word in words] for words in (heard, said))
        matched = SequenceMatcher(None, plain_heard, plain_said, autojunk=len(plain_said) > _LONG_TEXT)
        right: set[str] = set()
        put: dict[str, int] = {}  # words and where they stand
        for tag, i, j, first, last in matched.get_opcodes():
            if tag == "equal":
                right.update(plain_said[first:last])
            elif tag == "replace" and any(plain_heard[i:j]):
                put |= {plain_said[each]: each for each in range(first, last) if _may_be_wanted(plain_said[each])}
        inside = {each for each in range(1, len(said)) if not _SENTENCE_END.search(said[each - 1])}
        self.inside += len(inside)
        self.capitals += sum(
            _bare(said[each])[:1].isupper() and plain_said[each] not in _SMALL_WORDS for each in inside
        )
        self.right.update(right)
        shouted = " ".join(said).isupper()
        for plain, position in put.items():
            self._put(plain, _bare(said[position]), inside=position in inside, shouted=shouted)
        if put:
            self.corrected.add(" ".join(said))

    def _put(self, plain: str, spelling: str, *, inside: bool, shouted: bool) -> None:
        self.put[plain] += 1
        self.spellings.setdefault(plain, Counter())[spelling] += 1
        self.capital[plain] += inside and not shouted and spelling[0].isupper()
        self.marked[plain] += any(each.isdigit() or (each.isupper() and not shouted) for each in spelling[1:])

    def worth_a_hint(self) -> tuple[str, ...]:
        """The words that the model needs, the most often put first."""
        ranked = sorted(self.put, key=lambda plain: (-self.put[plain], plain))
        return tuple(self._spelling(plain) for plain in ranked if self._needed(plain))

    def _needed(self, plain: str) -> bool:
        often = self.put[plain] >= _LEAST_PLACES and len(plain) >= _LEAST_LETTERS
        telling = self.inside < _FEW_WORDS or self.capitals < _MANY_CAPITALS * self.inside
        name = self.marked[plain] > 0 or (telling and self.capital[plain] > 0)
        missed = plain in self.known or self.put[plain] > self.right[plain]
        return missed and (often or name)

    def _spelling(self, plain: str) -> str:
        """As people write it most; of equals, the one with more small letters, since sentences begin with capitals."""
        spellings = self.spellings[plain]
        return min(spellings, key=lambda each: (-spellings[each], sum(map(str.isupper, each)), each))


def _texts(prediction: Sequence[Item], annotation: Sequence[Item]) -> Iterator[tuple[str, str]]:
    """What the model heard and what people wrote, in pairs of texts from the same places."""
    controls = find_controls(prediction)
    predicted, corrected = ({each.id: each for each in regions(items, controls)} for items in (prediction, annotation))
    both = predicted.keys() & corrected.keys()
    yield from ((predicted[region_id].text, corrected[region_id].text) for region_id in both)
    sides = ([each for each in side.values() if each.id not in both] for side in (predicted, corrected))
    yield from _by_place(*sides)
    heard, said = (segments_of(whole_text(items, controls), duration=0.0) for items in (prediction, annotation))
    yield " ".join(each.text for each in heard), " ".join(each.text for each in said)


def _by_place(predicted: Iterable[Region], corrected: Iterable[Region]) -> Iterator[tuple[str, str]]:
    """The texts of regions that people parted, joined or drew anew: together, as far as they overlap."""
    sides = [(region, 0) for region in predicted] + [(region, 1) for region in corrected]
    texts: tuple[list[str], list[str]] = ([], [])
    end = 0.0
    for region, side in sorted(sides, key=lambda each: (each[0].span, each[1])):
        if region.span.start >= end:
            yield flat(" ".join(texts[0])), flat(" ".join(texts[1]))
            texts = ([], [])
        texts[side].append(region.text)
        end = max(end, region.span.end)
    yield flat(" ".join(texts[0])), flat(" ".join(texts[1]))


def _bare(word: str) -> str:
    return _EDGES.sub("", word)


def _plain(word: str) -> str:
    return _bare(word).casefold()


def _may_be_wanted(plain: str) -> bool:
    if not 0 < len(plain) <= _LONGEST_WORD or plain in _SMALL_WORDS:
        return False
    return any(map(str.isalpha, plain)) and not spaceless(plain)


def _prompt(hotwords: Sequence[str], corrected: Iterable[str]) -> str | None:
    """Short texts of people's own that hold the most hotwords: they show Whisper the spelling and the style."""
    wanted = {_plain(word) for word in hotwords}
    chosen: list[str] = []
    texts = sorted(text for text in corrected if len(text) <= _LONGEST_PROMPT)
    while wanted and texts:
        best = max(texts, key=lambda text: len(wanted & set(map(_plain, text.split()))))  # of equals, the first
        held = wanted & set(map(_plain, best.split()))
        if not held or len(" ".join([*chosen, best])) > _LONGEST_PROMPT:
            break
        chosen.append(best)
        wanted -= held
    return " ".join(chosen) or None


def _digest(hotwords: Sequence[str], prompt: str | None) -> str:
    if not hotwords and prompt is None:
        return ""
    return hashlib.sha256(json.dumps([list(hotwords), prompt]).encode()).hexdigest()[:12]
