"""Frame-level speaker activity -> windows that Whisper can hear; pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from diarist.coverage import BREATH, union
from diarist.segmentation import FRAME_STEP, Activity, frame_time, speech_spans
from diarist.types import Span

WINDOW_DURATION = 30.0  # seconds that Whisper hears at once
SHORT_WINDOW_DURATION = 12.0  # where the encoder runs over no more than the window, see docs/adr/0012
WINDOW_SILENCE = 3.0  # seconds of silence that always end a window: Whisper invents text in long silences
RETRY_DURATION = 10.0  # seconds of a window in which missed speech is heard again
SHORTEST_RETRY = 0.8  # seconds of missed speech that are worth it
WINDOW_PADDING = 0.2  # seconds around speech, so that soft onsets are heard


def speech_windows(activity: Activity, *, longest: float = WINDOW_DURATION) -> tuple[Span, ...]:
    """Windows of at most `longest` seconds that together hold all speech, in order, cut where nobody speaks.

    Where one stretch of speech is longer than a window, it is cut at the frame of its second half in which
    speech is least likely: at a pause for breath, or where the speaker changes.
    """
    longest -= 2 * WINDOW_PADDING
    windows: list[Span] = []
    for span in (piece for speech in speech_spans(activity) for piece in _fitting(speech, activity, longest)):
        last = windows[-1] if windows else None
        if last and span.start - last.end < WINDOW_SILENCE and span.end - last.start <= longest:
            windows[-1] = Span(last.start, span.end)
        else:
            windows.append(span)
    return tuple(_padded(window, windows, index, activity.duration) for index, window in enumerate(windows))


def retry_windows(lost: Sequence[Span], activity: Activity) -> tuple[Span, ...]:
    """Short windows around speech that no word covers, in order; what is too short to be missed has none.

    Whisper ends its text early where a window holds several people: alone, the same speech is often heard.
    A window is wider than its speech by the breath that lies between it and the nearest word.
    """
    wide = union(
        Span(max(0.0, span.start - BREATH), min(span.end + BREATH, activity.duration))
        for span in lost
        if span.duration >= SHORTEST_RETRY
    )
    return tuple(piece for span in wide for piece in _fitting(span, activity, RETRY_DURATION))


def _fitting(span: Span, activity: Activity, longest: float) -> Iterator[Span]:
    """Cut a span until every piece is short enough."""
    while span.duration > longest:
        first, last = (int((span.start + offset) / FRAME_STEP) for offset in (longest / 2, longest - FRAME_STEP))
        cut = frame_time(last - 1 - int(activity.speech[first:last][::-1].argmin()))  # of equal ones the last
        yield Span(span.start, cut)
        span = Span(cut, span.end)
    yield span


def _padded(window: Span, windows: list[Span], index: int, duration: float) -> Span:
    """Widen a window into the silence around it, never into its neighbours."""
    before = windows[index - 1].end if index else 0.0
    after = windows[index + 1].start if index + 1 < len(windows) else duration
    start = max(window.start - WINDOW_PADDING, (before + window.start) / 2 if index else 0.0)
    end = min(window.end + WINDOW_PADDING, (window.end + after) / 2 if index + 1 < len(windows) else duration)
    return Span(max(0.0, start), min(duration, end))
