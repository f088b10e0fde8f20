"""Renames that people make again and again in a project are remembered, and unlearned."""

from __future__ import annotations

from typing import Any

import labeling_configs as configs
from diarist.types import Segment, Span, Transcript
from diarist_proxy.label_studio.labeling import Labeling, parse
from diarist_proxy.label_studio.prediction import build
from diarist_proxy.label_studio.prediction.speakers import renames

CALLS = parse(configs.LABELS_AND_WHOLE_TEXT)  # Agent, Customer, and Other for everybody else
SPEAKERS = parse(configs.SPEAKERS)
Items = list[dict[str, Any]]


def regions(*labelled: tuple[str, float], control: str = "who", meta: dict[str, str] | None = None) -> Items:
    """One region after the other, each with a label and its seconds."""
    items, start = [], 0.0
    for number, (label, seconds) in enumerate(labelled):
        value = {"start": start, "end": start + seconds, "channel": 0, "labels": [label]}
        items.append({"id": f"r{number}", "from_name": control, "to_name": "audio", "type": "labels", "value": value})
        start += seconds
    return [{**each, "meta": meta} for each in items] if meta else items


SWAPPED = (regions(("Agent", 1), ("Customer", 1)), regions(("Customer", 1), ("Agent", 1)))
KEPT = (regions(("Agent", 1), ("Customer", 1)), regions(("Agent", 1), ("Customer", 1)))


def test_a_rename_in_two_tasks_is_remembered_and_one_is_not() -> None:
    assert renames([SWAPPED], CALLS) == {}
    assert renames([SWAPPED, SWAPPED], CALLS) == {"Agent": "Customer", "Customer": "Agent"}


def test_it_takes_most_of_the_tasks() -> None:
    assert renames([SWAPPED, SWAPPED, KEPT, KEPT], CALLS) == {}
    assert renames([SWAPPED, SWAPPED, SWAPPED, KEPT], CALLS) == {"Agent": "Customer", "Customer": "Agent"}


def test_within_a_task_the_label_that_covers_most_time_counts() -> None:
    before = regions(("Agent", 1), ("Agent", 1), ("Agent", 5))
    after = regions(("Agent", 1), ("Agent", 1), ("Customer", 5))
    assert renames([(before, after)] * 2, CALLS) == {"Agent": "Customer"}


def test_regions_that_people_deleted_added_or_left_without_a_label_say_nothing() -> None:
    before = regions(("Agent", 1), ("Agent", 1))
    added = [{**regions(("Customer", 1))[0], "id": "drawn"}]
    unlabelled = [{**before[0], "type": "textarea", "from_name": "t", "value": {"start": 0, "end": 1, "text": ["Hi."]}}]
    several = [{**before[0], "value": {**before[0]["value"], "labels": ["Agent", "Customer"]}}]
    for after in ([], added, unlabelled, several):
        assert renames([(before, after)] * 3, CALLS) == {}


def test_labels_that_speakers_do_not_get_are_not_learned() -> None:
    noise = (regions(("Agent", 1)), regions(("Noise", 1)))
    everybody_else = (regions(("Agent", 1)), regions(("Other", 1)))
    from_everybody_else = (regions(("Other", 1)), regions(("Agent", 1)))
    for pair in (noise, everybody_else, from_everybody_else):
        assert renames([pair] * 3, CALLS) == {}


def test_labels_of_other_controls_say_nothing() -> None:
    other = (regions(("Agent", 1), control="topic"), regions(("Customer", 1), control="topic"))
    assert renames([other] * 3, CALLS) == {}


def test_two_labels_never_become_one() -> None:
    often = (regions(("Agent", 1)), regions(("Customer", 1)))
    labeling = parse(configs.TWO_RECORDINGS)
    a_to_c = (regions(("A", 1), control="label"), regions(("C", 1), control="label"))
    b_to_c = (regions(("B", 1), control="label"), regions(("C", 1), control="label"))
    assert renames([a_to_c] * 2 + [b_to_c] * 3, labeling) == {"B": "C"}
    assert renames([often] * 2, CALLS) == {"Agent": "Customer"}


def test_in_a_project_whose_tasks_bring_their_labels_any_name_is_learned() -> None:
    pair = (regions(("SPEAKER_00", 1), control="speaker"), regions(("Ann", 1), control="speaker"))
    assert renames([pair] * 2, parse(configs.DYNAMIC)) == {"SPEAKER_00": "Ann"}


def predicted(labeling: Labeling, learned: dict[str, str]) -> Items:
    spoken = tuple(Segment(Span(each, each + 1), "Hi.", f"SPEAKER_0{each}") for each in range(2))
    transcript = Transcript(spoken, "en", 2.0, speakers=("SPEAKER_00", "SPEAKER_01"))
    result: Items = build(transcript, labeling, text_format="plain", renames=learned, task_data={})["result"]
    return result


def relabelled(items: Items, *labels: str) -> Items:
    return [{**item, "value": {**item["value"], "labels": [label]}} for item, label in zip(items, labels, strict=True)]


def test_what_was_learned_stays_learned_from_tasks_where_it_was_right() -> None:
    swap = {"Speaker one": "Speaker two", "Speaker two": "Speaker one"}
    first = predicted(SPEAKERS, {})
    corrected = [(first, relabelled(first, "Speaker two", "Speaker one"))] * 2
    assert renames(corrected, SPEAKERS) == swap
    right = predicted(SPEAKERS, swap)
    assert renames([*corrected, *[(right, right)] * 50], SPEAKERS) == swap


def test_what_was_learned_is_unlearned_where_people_change_it_back() -> None:
    swap = {"Speaker one": "Speaker two", "Speaker two": "Speaker one"}
    first, second = predicted(SPEAKERS, {}), predicted(SPEAKERS, swap)
    corrected = [(first, relabelled(first, "Speaker two", "Speaker one"))] * 2
    changed_back = [(second, relabelled(second, "Speaker one", "Speaker two"))] * 2
    assert renames([*corrected, *changed_back], SPEAKERS) == {}


def test_nothing_is_learned_from_nothing() -> None:
    assert renames([], CALLS) == {}
    assert renames([([], [])] * 3, CALLS) == {}
