"""Words to expect, mined from corrections: what is worth a hint, what is not, and that order does not matter."""

from __future__ import annotations

from itertools import permutations
from typing import Any

from diarist_proxy.label_studio.corrections.hints import Hints, mined

Item = dict[str, Any]
Pair = tuple[list[Item], list[Item]]


def texts(*words: str, ids: str = "r", gap: float = 1.0) -> list[Item]:
    """Regions of a second each, with these texts."""
    return [
        {
            "id": f"{ids}{number}",
            "from_name": "said",
            "to_name": "audio",
            "type": "textarea",
            "value": {"start": number * (1 + gap), "end": number * (1 + gap) + 1, "text": [text]},
        }
        for number, text in enumerate(words)
    ]


def pair(heard: str, said: str) -> Pair:
    return texts(heard), texts(said)


def test_a_name_put_once_is_a_hint() -> None:
    hints = mined([pair("this is dear ist speaking", "This is Diarist speaking.")])
    assert hints.hotwords == ("Diarist",)
    assert hints.initial_prompt == "This is Diarist speaking."


def test_a_common_word_is_a_hint_from_its_second_place_on() -> None:
    one = pair("the fine analysis", "the phoneme analysis")
    assert mined([one]).hotwords == ()
    assert mined([one, pair("a foreign name again", "a phoneme again")]).hotwords == ("phoneme",)


def test_a_word_twice_in_one_place_is_in_one_place() -> None:
    assert mined([pair("fine and fine", "phoneme and phoneme")]).hotwords == ()


def test_capitals_at_the_beginning_of_a_sentence_are_no_names() -> None:
    assert mined([pair("Hello. Fine work", "Hello. Phoneme work")]).hotwords == ()
    assert mined([pair("fine work", "Phoneme work")]).hotwords == ()


def test_capitals_and_digits_inside_a_word_are_names_wherever_it_stands() -> None:
    assert mined([pair("pie torch runs on age 100", "PyTorch runs on H100")]).hotwords == ("H100", "PyTorch")


def test_where_capitals_are_common_they_make_no_names() -> None:
    german = [pair("wir haben das Haus und den Hund gesehen", "wir haben das Haus und den Hund gesehen")] * 10
    once = pair("wir haben den raum gesehen", "wir haben den Baum gesehen")
    assert mined([*german, once]).hotwords == ()
    assert mined([*german, once, pair("an dem raum", "an dem Baum")]).hotwords == ("Baum",)
    assert mined([*german, pair("mit bei ton", "mit PyTorch")]).hotwords == ("PyTorch",)


def test_a_text_all_in_capitals_names_nobody() -> None:
    assert mined([pair("THE FINE ANALYSIS", "THE PHONEME ANALYSIS")]).hotwords == ()


def test_languages_without_spaces_give_no_hints() -> None:
    assert mined([pair("会議は9時です", "会議は10時です")] * 3) == Hints()


def test_small_words_and_numbers_are_no_hints() -> None:
    pairs = [pair("we can a five", "they will the 42")] * 3
    assert mined(pairs) == Hints()


def test_a_word_that_the_model_gets_right_more_often_is_no_hint() -> None:
    wrong = [pair("the fine analysis", "the phoneme analysis")] * 2
    right = [pair("a phoneme", "a phoneme")] * 2
    assert mined([*wrong, *right]).hotwords == ()


def test_a_hint_that_helped_is_not_forgotten_for_it() -> None:
    """Else every second version would lose what the one before had learned."""
    wrong = [pair("the fine analysis", "the phoneme analysis")] * 2
    right = [pair("a phoneme", "a phoneme")] * 20
    assert mined([*wrong, *right], known=["phoneme"]).hotwords == ("phoneme",)
    assert mined(right, known=["phoneme"]).hotwords == ()


def test_what_people_only_added_was_not_misheard() -> None:
    assert mined([pair("so it is", "so Diarist it is")]).hotwords == ()


def test_the_most_needed_words_come_first_and_are_limited() -> None:
    pairs = [pair("so bob", "so Zoe"), *[pair("so can", "so Ann")] * 2, pair("so bill", "so Bert")]
    assert mined(pairs).hotwords == ("Ann", "Bert", "Zoe")
    assert mined(pairs, max_words=2).hotwords == ("Ann", "Bert")
    assert mined(pairs, max_words=0) == Hints()


def test_words_are_spelled_as_people_mostly_do() -> None:
    pairs = [pair("so it, tell", "so Baseten, tell")] * 2 + [pair("so it tell", "so BASETEN tell")]
    assert mined(pairs).hotwords == ("Baseten",)


def test_regions_that_people_drew_anew_are_compared_by_their_time() -> None:
    heard = texts("so call ann miller now", "fine")
    said = [*texts("so call Anne Müller now", ids="n"), *texts("fine")[1:]]
    assert mined([(heard, said)]).hotwords == ("Anne", "Müller")


def test_texts_of_whole_recordings_are_compared_without_their_speakers() -> None:
    def whole(text: str) -> list[Item]:
        return [{"id": "t", "from_name": "said", "type": "textarea", "value": {"text": [text]}}]

    hints = mined([(whole("SPEAKER_00: so call ann\nBob: now"), whole("Agent: so call Änne\nBob: now"))])
    assert hints.hotwords == ("Änne",)


def test_the_same_corrections_give_the_same_hints_in_any_order() -> None:
    pairs = [
        pair("so call ann now", "so call Anne now"),
        pair("the fine thing", "the phoneme thing"),
        pair("a fine thing", "a phoneme thing"),
        pair("it is dear ist", "it is Diarist"),
    ]
    assert len({mined(order) for order in permutations(pairs)}) == 1


def test_the_digest_changes_with_the_hints_alone() -> None:
    some = mined([pair("so call ann", "so call Anne")])
    assert some.digest == mined([pair("so call ann", "so call Anne"), pair("yes", "yes")]).digest
    assert some.digest != mined([pair("so call ann", "so call Annie")]).digest
    assert (mined([]).digest, len(some.digest)) == ("", 12)


def test_the_prompt_is_short_and_holds_as_many_hints_as_it_can() -> None:
    pairs = [
        pair("so call ann and bob", "So call Anne and Rob."),
        pair("yes said ann", "Yes, said Anne."),
        pair("it is dear ist " + "and so on " * 30, "It is Diarist " + "and so on " * 30),
    ]
    hints = mined(pairs)
    assert hints.hotwords == ("Anne", "Diarist", "Rob")
    assert hints.initial_prompt == "So call Anne and Rob."
