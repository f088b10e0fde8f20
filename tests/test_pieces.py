"""Whisper's pieces become the words of the text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarist.pieces import whole_words
from diarist.types import Span, Word


def pieces(*texts: str) -> list[Word]:
    """Pieces of one second each, with scores that count up."""
    return [Word(text, Span(number, number + 1), score=number / 10) for number, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("heard", "text", "expected"),
    [
        (["£13", ".60"], "£13.60", [("£13.60", 0, 2)]),
        (["e", "-mail", "me"], "e-mail me", [("e-mail", 0, 2), ("me", 2, 3)]),
        (["4", ",9", "%"], "4,9 %", [("4,9", 0, 2), ("%", 2, 3)]),
        (["well", "- or"], "well - or", [("well", 0, 1), ("-", 1, 1 + 1 / 3), ("or", 1 + 1 / 3, 2)]),
        (["2014."], "2014.", [("2014.", 0, 1)]),
        (["a", "b"], "something else", [("a", 0, 1), ("b", 1, 2)]),
        ([], "", []),
    ],
)
def test_words_are_those_of_the_text(heard: list[str], text: str, expected: list[tuple[str, float, float]]) -> None:
    words = whole_words(pieces(*heard), text.split())
    assert [word.text for word in words] == [text for text, _, _ in expected]
    assert [word.span.start for word in words] == pytest.approx([start for _, start, _ in expected])
    assert [word.span.end for word in words] == pytest.approx([end for _, _, end in expected])


def test_a_joined_word_has_the_mean_score_of_its_characters() -> None:
    (word,) = whole_words(pieces("ab", "cd"), ["abcd"])
    assert word.score == pytest.approx(0.05)


def test_pieces_without_scores_give_words_without_scores() -> None:
    (word,) = whole_words([Word("a", Span(0, 1)), Word("-b", Span(1, 2))], ["a-b"])
    assert (word.text, word.score) == ("a-b", None)


@given(st.text("ab-. ", max_size=30), st.lists(st.integers(0, 30), max_size=8))
def test_however_a_text_is_cut_its_words_come_back_in_order(text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut <= len(text)), len(text)]
    cut = [text[first:last] for first, last in pairwise(edges)]
    words = whole_words(pieces(*(piece for piece in cut if piece.strip())), text.split())
    assert [word.text for word in words] == text.split()
    assert [word.span for word in words] == sorted(word.span for word in words)
