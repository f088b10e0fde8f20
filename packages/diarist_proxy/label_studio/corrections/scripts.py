"""Which texts are written without spaces between words, told by their letters, where nobody says the language."""

from __future__ import annotations

import unicodedata

_SPACELESS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "MYANMAR", "KHMER")


def spaceless(text: str) -> bool:
    """Whether most letters are of scripts that put no spaces between words.

    >>> spaceless("今日は雨です"), spaceless("It rains in 東京."), spaceless("42")
    (True, False, False)
    """
    letters = [character for character in text if character.isalpha()]
    return 2 * sum(unicodedata.name(letter, "").startswith(_SPACELESS) for letter in letters) > len(letters)
