"""What corrections say about predictions: every expected number is worked out by hand beside it."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from rich.console import Console

from diarist_proxy.label_studio.corrections import report
from diarist_proxy.label_studio.corrections.evaluation import Measured, measure

Item = dict[str, Any]
NOTHING: dict[str, Any] = {"lead_time": None, "duration": 10.0}


def region(name: str, start: float, end: float, speaker: str | None, words: str | None, **more: Any) -> list[Item]:  # noqa: ANN401
    """The items of one region, as Label Studio stores them."""
    common = {"id": name, "to_name": "audio", "original_length": 10.0, **more}
    times = {"start": start, "end": end, "channel": 0}
    items = []
    if speaker is not None:
        items.append({**common, "from_name": "who", "type": "labels", "value": {**times, "labels": [speaker]}})
    if words is not None:
        items.append({**common, "from_name": "said", "type": "textarea", "value": {**times, "text": [words]}})
    return items


PREDICTION = [
    *region("r1", 0, 2, "A", "Hello there."),
    *region("r2", 2, 4, "B", "Good morning, sir."),
    *region("r3", 5, 6, "A", "Yes."),
]
# r1 as it was; r2 a second longer and with a name; r3 deleted; one more drawn.
ANNOTATION = [
    *region("r1", 0, 2, "A", "Hello there.", origin="prediction"),
    *region("r2", 2, 5, "B", "Good morning, Sir John.", origin="prediction-changed"),
    *region("n1", 7, 8, "A", "Thanks.", origin="manual"),
]


def test_a_correction_counts_as_worked_out_by_hand() -> None:
    assert measure(PREDICTION, ANNOTATION, lead_time=30.0, duration=10.0) == Measured(
        recordings=1,
        # A said "hello there thanks", heard as "hello there yes": 1 substitution in 3 words.
        # B said "good morning sir john", heard as "good morning sir": 1 deletion in 4 words.
        words=7,
        substitutions=1,
        deletions=1,
        insertions=0,
        # A spoke 0-2 and 7-8, B 2-5: 6 s. Missed 4-5 and 7-8, false alarm 5-6.
        spoken=6.0,
        missed=2.0,
        false_alarm=1.0,
        confusion=0.0,
        untouched=1,
        changed=1,
        deleted=1,
        added=1,
        audio_seconds=10.0,
        lead_seconds=30.0,
        timed_seconds=10.0,
        normalizers=("whisper basic",),
    )


def test_the_rates_follow_from_the_counts() -> None:
    measured = measure(PREDICTION, ANNOTATION, lead_time=30.0, duration=10.0)
    assert measured.cpwer == pytest.approx(2 / 7)
    assert measured.der == pytest.approx(3 / 6)
    assert measured.changed_share == pytest.approx(3 / 4)
    assert measured.seconds_per_audio_minute == pytest.approx(180.0)  # 30 s of work for a sixth of a minute


def test_an_untouched_prediction_has_no_errors() -> None:
    measured = measure(PREDICTION, PREDICTION, lead_time=None, duration=10.0)
    assert (measured.cpwer, measured.der, measured.changed_share) == (0.0, 0.0, 0.0)
    assert (measured.untouched, measured.words, measured.spoken) == (3, 6, 5.0)


def test_what_label_studios_own_page_submitted_counts_as_worked_out_by_hand() -> None:
    """A correction made in a browser, as recorded from Label Studio 1.23.2, and the prediction that it began with."""
    prediction = [
        *region("r1", 0.5, 2.0, "SPEAKER_00", "Hello, how are you?"),
        *region("r2", 2.5, 4.0, "SPEAKER_01", "Fine thanks."),
        *region("r3", 4.5, 6.0, "SPEAKER_02", "Can I join?"),
        *region("r4", 6.5, 8.0, "SPEAKER_00", "Sure."),
    ]
    annotation = [
        *region("r1", 0.5, 2, "SPEAKER_00", "Hello, how are you?", origin="prediction"),
        *region("r2", 2.5, 4, "SPEAKER_01", "Fine, thanks a lot.", origin="prediction-changed"),
        *region("r3", 4.5, 6, "SPEAKER_01", "Can I join?", origin="prediction-changed"),
    ]
    measured = measure(prediction, annotation, lead_time=11.423, duration=9.0, language="en")
    # SPEAKER_00: "hello how are you" of "hello how are you sure", 1 insertion. SPEAKER_01 said "fine thanks a lot
    # can i join"; nearest is SPEAKER_02's "can i join", 4 deletions; SPEAKER_01's "fine thanks" is left, 2 insertions.
    assert (measured.words, measured.insertions, measured.deletions, measured.substitutions) == (11, 3, 4, 0)
    # 4.5 s spoken; r4 is false alarm, and of r2 and r3, now one speaker's, one is confused.
    assert (measured.spoken, measured.missed, measured.false_alarm, measured.confusion) == (4.5, 0.0, 1.5, 1.5)
    assert (measured.untouched, measured.changed, measured.deleted, measured.added) == (1, 2, 1, 0)
    assert measured.seconds_per_audio_minute == pytest.approx(11.423 * 60 / 9)


def test_a_speaker_who_was_only_renamed_costs_nothing_but_the_change() -> None:
    renamed = [
        {**item, "value": {**item["value"], "labels": ["Ann"]}} if item["value"].get("labels") == ["A"] else item
        for item in PREDICTION
    ]
    measured = measure(PREDICTION, renamed, lead_time=None, duration=10.0)
    assert (measured.cpwer, measured.der) == (0.0, 0.0)
    assert (measured.untouched, measured.changed) == (1, 2)


def test_words_given_to_the_wrong_speaker_are_errors() -> None:
    given = [*region("r1", 0, 2, "B", "Hello there."), *PREDICTION[2:]]
    measured = measure(PREDICTION, given, lead_time=None, duration=10.0)
    # B said "hello there good morning sir", heard "good morning sir": 2 deletions. A said "yes", heard "hello there
    # yes": 2 insertions. 6 words. 2 of 5 s are confused.
    assert (measured.word_errors, measured.words) == (4, 6)
    assert (measured.confusion, measured.spoken) == (2.0, 5.0)


def test_overlapped_speech_is_scored() -> None:
    both = [*PREDICTION, *region("n1", 0, 1, "B", "Hm.")]
    measured = measure(PREDICTION, both, lead_time=None, duration=10.0)
    assert (measured.missed, measured.spoken) == (1.0, 6.0)


def test_regions_of_one_speaker_that_overlap_are_speech_once() -> None:
    two = [*region("r1", 0, 3, "A", None), *region("r2", 2, 4, "A", None)]
    measured = measure(region("r1", 0, 4, "A", None), two, **NOTHING)
    assert (measured.spoken, measured.der) == (4.0, 0.0)


def test_a_touch_that_changed_nothing_is_no_change() -> None:
    touched = [{**item, "origin": "prediction-changed"} for item in PREDICTION]
    assert measure(PREDICTION, touched, lead_time=None, duration=10.0).changed == 0


def test_a_change_that_label_studio_did_not_mark_is_a_change() -> None:
    """The API keeps `origin` as it was through every PATCH."""
    changed = [*region("r1", 0, 2, "A", "Hello then.", origin="prediction"), *PREDICTION[2:]]
    assert measure(PREDICTION, changed, lead_time=None, duration=10.0).changed == 1


def test_the_same_regions_under_new_ids_are_untouched() -> None:
    copied = [{**item, "id": f"copy of {item['id']}"} for item in PREDICTION]
    measured = measure(PREDICTION, copied, lead_time=None, duration=10.0)
    assert (measured.untouched, measured.changed, measured.deleted, measured.added) == (3, 0, 0, 0)


@pytest.mark.parametrize(("moved", "changed"), [(0.004, 0), (0.02, 1)])
def test_rounding_is_no_change_of_times(moved: float, changed: int) -> None:
    shifted = [*region("r1", 0, 2 + moved, "A", "Hello there."), *PREDICTION[2:]]
    assert measure(PREDICTION, shifted, lead_time=None, duration=10.0).changed == changed


def test_a_prediction_of_silence_missed_everything() -> None:
    measured = measure([], ANNOTATION, lead_time=None, duration=10.0)
    assert (measured.deletions, measured.words, measured.missed, measured.spoken, measured.added) == (7, 7, 6.0, 6.0, 3)


def test_a_prediction_that_people_deleted_was_all_false() -> None:
    measured = measure(PREDICTION, [], lead_time=None, duration=10.0)
    assert (measured.insertions, measured.words, measured.false_alarm, measured.spoken) == (6, 0, 5.0, 0.0)
    assert (measured.deleted, measured.cpwer, measured.der) == (3, None, None)


def test_silence_on_both_sides_has_no_rates() -> None:
    measured = measure([], [], lead_time=None, duration=10.0)
    assert measured == Measured(recordings=1, audio_seconds=10.0)
    assert (measured.cpwer, measured.der, measured.changed_share, measured.seconds_per_audio_minute) == (None,) * 4


def test_labels_alone_are_scored_as_speakers_and_notes_are_not_words() -> None:
    prediction = [*region("r1", 0, 2, "A", None), *region("r2", 2, 4, "B", None)]
    annotation = [*region("r1", 0, 2, "A", "unclear"), *region("r2", 2, 4, "A", None)]
    measured = measure(prediction, annotation, lead_time=None, duration=10.0)
    assert (measured.words, measured.cpwer) == (0, None)
    assert (measured.confusion, measured.spoken, measured.untouched, measured.changed) == (2.0, 4.0, 1, 1)


def test_noise_that_people_marked_is_no_missed_speech() -> None:
    measured = measure(PREDICTION, [*PREDICTION, *region("n", 8, 9, "Noise", None)], lead_time=None, duration=10.0)
    assert (measured.der, measured.added) == (0.0, 1)


def whole(words: str) -> list[Item]:
    return [{"id": "t", "from_name": "said", "to_name": "audio", "type": "textarea", "value": {"text": [words]}}]


def test_a_text_of_the_whole_recording_is_scored_by_its_words() -> None:
    measured = measure(whole("A: Hello there.\nB: Good day."), whole("A: Hello there.\nB: Good night."), **NOTHING)
    assert (measured.substitutions, measured.words, measured.spoken) == (1, 4, 0.0)
    assert (measured.changed, measured.changed_share) == (1, 1.0)


@pytest.mark.parametrize(
    ("language", "errors", "words", "normalizer"),
    [("en", 0, 4, "whisper english"), ("de", 2, 4, "whisper basic"), (None, 2, 4, "whisper basic")],
)
def test_the_normalizer_follows_the_language(language: str | None, errors: int, words: int, normalizer: str) -> None:
    # "don't" is "do not" to the English normalizer; to the basic one it is "don t", of which "not" is 1 error,
    # and "do" for "don" another.
    measured = measure(whole("I don't know."), whole("I do not know"), **NOTHING, language=language)
    assert (measured.word_errors, measured.words, measured.normalizers) == (errors, words, (normalizer,))


@pytest.mark.parametrize("language", ["ja", None])
def test_languages_without_spaces_are_scored_by_character(language: str | None) -> None:
    measured = measure(whole("今日は雨"), whole("今日も雨"), **NOTHING, language=language)
    assert (measured.substitutions, measured.words) == (1, 4)
    assert measured.normalizers == ("whisper basic, by character",)


def test_more_speakers_than_can_be_matched_are_scored_all_the_same() -> None:
    many = [item for n in range(24) for item in region(f"r{n}", n / 4, n / 4 + 0.2, f"S{n:02}", f"word{n} " * (24 - n))]
    measured = measure(many, many, lead_time=None, duration=10.0)
    assert (measured.word_errors, measured.words) == (0, sum(range(1, 25)))


def test_counts_add_up_and_survive_json() -> None:
    one = measure(PREDICTION, ANNOTATION, lead_time=30.0, duration=10.0)
    two = measure(PREDICTION, PREDICTION, lead_time=None, duration=20.0, language="en")
    both = one + two
    assert both.recordings == 2
    assert both.cpwer == pytest.approx(2 / (7 + 6))
    assert both.der == pytest.approx(3 / (6 + 5))
    assert both.changed_share == pytest.approx(3 / (4 + 3))
    assert both.seconds_per_audio_minute == pytest.approx(180.0)  # the one without a lead time says nothing of time
    assert both.normalizers == ("whisper basic", "whisper english")
    assert one + Measured.zero == one
    assert Measured.from_json(json.loads(json.dumps(both.to_json()))) == both


def test_counts_that_another_version_wrote_are_read() -> None:
    assert Measured.from_json({"recordings": 2, "words": 5, "of_the_future": 1}) == Measured(recordings=2, words=5)


# --- the report ----------------------------------------------------------------------------------------------


def shown(measured: dict[str, Measured]) -> list[list[str]]:
    """The cells of a report's lines, as a terminal shows them."""
    console = Console(width=220, record=True, file=io.StringIO())
    console.print(report.table(measured))
    heading, *lines = console.export_text().split("cpWER:")[0].splitlines()[1:]
    assert heading.split() == ["model", "version", "recordings", "hours", "cpWER", "DER", "changed", "work"]
    return [re.split(r"\s{2,}", line.strip()) for line in lines if any(map(str.isalnum, line))]


def test_the_report_shows_what_was_worked_out_by_hand() -> None:
    one = measure(PREDICTION, ANNOTATION, lead_time=30.0, duration=10.0)
    found = report.by_version([("v2", one), ("v1", measure(PREDICTION, PREDICTION, **NOTHING)), (None, Measured())])
    assert list(found) == ["unknown", "v1", "v2"]
    lines = {line[0]: line[1:] for line in shown(found)}
    assert lines["v2"] == ["1", "0.00", "28.6%", "50.0%", "75.0%", "180 s/min"]
    assert lines["unknown"] == ["0", "0.00", "-", "-", "-", "-"]
    assert lines["all"][:2] == ["2", "0.01"]
    assert lines["all"][2] == "15.4%"  # 2 errors in 13 words


def test_the_report_is_json_too() -> None:
    one = measure(PREDICTION, ANNOTATION, lead_time=30.0, duration=10.0)
    body = json.loads(json.dumps(report.to_json({"v1": one, "v2": one})))
    assert body["versions"]["v1"]["cpwer"] == pytest.approx(2 / 7)
    assert body["versions"]["v1"]["missed"] == 2.0
    assert (body["total"]["recordings"], body["total"]["words"], body["total"]["der"]) == (2, 14, 0.5)


def test_a_report_of_nothing_is_a_table_without_lines() -> None:
    assert shown(report.by_version([])) == []
    assert report.to_json({})["total"]["cpwer"] is None
