"""How words become text: with or without spaces, and where each word stands in its text."""

from __future__ import annotations

import re
from collections.abc import Iterable

SPACELESS = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km"})
"""Whisper's codes of the languages that are written without spaces between words.

Whisper's own list (`tokenizer.split_to_word_tokens`), and Khmer, which is written so too.
"""


def written_in(language: str, task: str) -> str:
    """The language of the text, where `language` is what is spoken: Whisper translates into English.

    >>> written_in("ja", "transcribe"), written_in("ja", "translate")
    ('ja', 'en')
    """
    return "en" if task == "translate" else language


def separator(language: str | None) -> str:
    """What stands between two words: nothing in a spaceless language, else a space.

    >>> separator("en"), separator("ja"), separator(None)
    (' ', '', ' ')
    """
    return "" if language in SPACELESS else " "


def plain(word: str) -> str:
    """A word by which two hearings of it can be compared: its letters and digits, whatever their case.

    >>> plain("Don't,"), plain("STRASSE") == plain("Straße")
    ('dont', True)
    """
    return re.sub(r"\W", "", word.casefold())


def one_line(text: str, longest: int) -> str:
    """Somebody's text, fit for a line of a log: without line breaks, and not too long.

    >>> one_line("it " + chr(10) + " failed", 20), one_line("it failed", 4)
    ('it failed', 'it f…')
    """
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[:longest]}…"


def join(words: Iterable[str], language: str | None) -> str:
    """Join words into text, as the language writes them; blank words vanish.

    >>> join(["Guten", " Tag."], "de"), join(["今日", "は"], "ja")
    ('Guten Tag.', '今日は')
    """
    return separator(language).join(stripped for word in words if (stripped := word.strip()))


def flat(text: str) -> str:
    r"""One line: every run of white space becomes one space, and none is left at the ends.

    >>> flat(" one\ttwo\r\n three ")
    'one two three'
    """
    return " ".join(text.split())


def positions(text: str, words: Iterable[str]) -> tuple[int, ...] | None:
    """Where each word starts in the text, or None where the text does not hold them all in this order.

    The text is what people read and edit, so it is the text that is cut and shown; words say where.

    >>> positions("Oh, Mr. Smith", ["Oh,", "Mr.", "Smith"]), positions("Oh, Mrs. Smith", ["Oh,", "Mr.", "Smith"])
    ((0, 4, 8), None)
    """
    found: list[int] = []
    end = 0
    for word in words:
        start = text.find(word, end)
        if start < 0 or text[end:start].strip():
            return None
        found.append(start)
        end = start + len(word)
    return tuple(found) if not text[end:].strip() else None
