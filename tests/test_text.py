from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarist.text import SPACELESS, flat, join, positions

WORDS = st.lists(st.text(min_size=1).map(flat).filter(bool), max_size=8)


@pytest.mark.parametrize(
    ("words", "language", "text"),
    [
        (["Hello,", "you"], "en", "Hello, you"),
        ([" Hello,", "you "], None, "Hello, you"),
        (["안녕", "하세요"], "ko", "안녕 하세요"),
        (["你好。", "世界"], "zh", "你好。世界"),
        (["สวัสดี", "ครับ"], "th", "สวัสดีครับ"),
        (["a", " ", "", "b"], "en", "a b"),
        ([], "en", ""),
    ],
)
def test_words_join_as_their_language_is_written(words: list[str], language: str | None, text: str) -> None:
    assert join(words, language) == text


@pytest.mark.parametrize("language", sorted(SPACELESS))
def test_a_spaceless_language_gets_no_spaces(language: str) -> None:
    assert join(["ab", "cd"], language) == "abcd"


@given(WORDS, st.sampled_from(["en", "ja", None]))
def test_joined_words_are_found_where_they_stand(words: list[str], language: str | None) -> None:
    text = join(words, language)
    starts = positions(text, words)
    assert starts is not None
    assert [text[start : start + len(word)] for start, word in zip(starts, words, strict=True)] == words


def test_text_that_was_edited_does_not_hold_its_old_words() -> None:
    assert positions("one two three", ["one", "three"]) is None
    assert positions("one two", ["one", "two", "three"]) is None
    assert positions("one two three", ["one", "two"]) is None


def test_spaces_that_the_words_do_not_know_are_skipped() -> None:
    assert positions("用 Python 写", ["用", "Python", "写"]) == (0, 2, 9)
