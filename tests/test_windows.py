"""Speech is cut into windows that Whisper can hear."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities import activity, pattern
from diarist.segmentation import speech_spans
from diarist.types import Span
from diarist.windows import RETRY_DURATION, SHORT_WINDOW_DURATION, WINDOW_DURATION, retry_windows, speech_windows


def test_silence_has_no_window() -> None:
    assert speech_windows(activity(pattern((60, 0.01)))) == ()


def test_a_long_silence_ends_a_window_and_a_short_one_does_not() -> None:
    assert len(speech_windows(activity(pattern((2, 0.9), (1, 0.1), (2, 0.9))))) == 1
    assert len(speech_windows(activity(pattern((2, 0.9), (4, 0.1), (2, 0.9))))) == 2


def test_speech_without_end_is_cut_where_it_is_least_likely() -> None:
    first, second = speech_windows(activity(pattern((22, 0.99), (0.2, 0.6), (15, 0.99))))
    assert first.end == pytest.approx(22.1, abs=0.2)
    assert second.start == pytest.approx(first.end)


def test_speech_that_is_everywhere_as_likely_is_cut_as_late_as_it_may() -> None:
    windows = speech_windows(activity(pattern((70, 0.99))))
    assert [round(window.duration) for window in windows[:2]] == [30, 30]
    assert len(windows) == 3


LONGEST = st.sampled_from([WINDOW_DURATION, SHORT_WINDOW_DURATION])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 50), st.sampled_from([0.05, 0.6, 0.95])), min_size=1, max_size=12), LONGEST)
def test_windows_hold_all_speech_in_order_and_are_short_enough(
    stretches: list[tuple[float, float]], longest: float
) -> None:
    heard = activity(pattern(*stretches))
    spans, windows = speech_spans(heard), speech_windows(heard, longest=longest)
    assert all(window.duration <= longest + 1e-6 for window in windows)
    assert all(0 <= window.start < window.end <= heard.duration for window in windows)
    assert all(a.end <= b.start + 1e-9 for a, b in pairwise(windows))
    for span in spans:
        assert sum(span.overlap(window) for window in windows) == pytest.approx(span.duration, abs=1e-6)


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ([], []),
        ([(5, 5.7)], []),  # too short to be missed
        ([(5, 7)], [(4.5, 7.5)]),  # a breath on both sides
        ([(0.2, 2), (58, 60)], [(0, 2.5), (57.5, 60)]),  # inside of the recording
        ([(5, 7), (7.8, 9)], [(4.5, 9.5)]),  # no word between
        ([(5, 7), (8.5, 10)], [(4.5, 7.5), (8, 10.5)]),
    ],
)
def test_missed_speech_is_heard_again_alone(
    lost: list[tuple[float, float]], expected: list[tuple[float, float]]
) -> None:
    windows = retry_windows([Span(*times) for times in lost], activity(pattern((60, 0.9)), duration=60.0))
    assert [(window.start, window.end) for window in windows] == expected


def test_much_missed_speech_is_heard_in_short_windows_that_meet_where_speech_is_least_likely() -> None:
    heard = activity(pattern((8, 0.99), (0.2, 0.6), (13, 0.99)))
    windows = retry_windows([Span(1, 20)], heard)
    assert windows[0].end == pytest.approx(8.1, abs=0.2)
    assert (windows[0].start, windows[-1].end) == (0.5, 20.5)
    assert all(a.end == b.start for a, b in pairwise(windows))
    assert all(window.duration <= RETRY_DURATION for window in windows)
