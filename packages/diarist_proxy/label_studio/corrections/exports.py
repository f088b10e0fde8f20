"""Corrected tasks as files that training and scoring tools read: RTTM, STM, SegLST, SRT and a JSONL manifest.

| name   | files                    | holds                                                                  |
| ------ | ------------------------ | ---------------------------------------------------------------------- |
| rttm   | `corrected.rttm`         | who spoke when: a line a turn, the recordings told apart by their ids  |
| stm    | `corrected.stm`          | a line a segment: recording, speaker, times, words                     |
| seglst | `corrected.seglst.json`  | the same as JSON, for meeteval                                         |
| srt    | `<recording>.srt` each   | subtitles                                                              |
| jsonl  | `corrected.jsonl`        | NeMo's manifest, a line a segment: `audio_filepath`, `offset` and      |
|        |                          | `duration` (seconds; null: to the end), `text`, and also `speaker`     |

Recordings are named by their files, so as every tool takes it: letters, digits and `_.@+-`; where two have the
same name, the task's number follows it. RTTM and STM part their fields by blanks, so there a speaker "Speaker one"
is `Speaker_one`. Stretches that people marked as noise are no one's speech, and are left out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from diarist.errors import BadRequest
from diarist.formats import rttm, seglst, srt, stm
from diarist.text import flat
from diarist.types import Segment, Span, Transcript
from diarist_proxy.label_studio.corrections import annotation

Name = Literal["rttm", "stm", "seglst", "srt", "jsonl"]

_NOT_IN_A_NAME = re.compile(r"[^\w.@+-]+")
_LONGEST_NAME = 80  # characters, so that in any script a file may be called so


@dataclass(frozen=True, slots=True)
class CorrectedTask:
    """A task as people left it."""

    id: int
    file_id: str  # what the recording is called; `write` makes it unique
    transcript: Transcript
    audio: str  # where it is, as the task says


def corrected_tasks(
    tasks: Iterable[Mapping[str, Any]], *, audio_key: str, controls: annotation.Controls | None = None
) -> Iterator[CorrectedTask]:
    """The tasks that somebody finished, from what Label Studio's API lists, with `data` and `annotations`.

    Of several annotations, the one marked as ground truth counts, else the one changed last; skipped ones do not.

    Args:
        tasks: as listed.
        audio_key: the key of a task's data that names the recording.
        controls: those that tell speakers and texts; None finds them in each annotation.
    """
    for task in tasks:
        if (final := final_annotation(task.get("annotations") or ())) is not None:
            audio = str((task.get("data") or {}).get(audio_key) or "")
            said = annotation.read(final.get("result") or (), duration=None, controls=controls)
            yield CorrectedTask(int(task["id"]), file_id_of(audio) or f"task-{task['id']}", said, audio)


def final_annotation(annotations: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The annotation that counts, or None where a task has none."""
    finished = [each for each in annotations if not each.get("was_cancelled")]
    return max(finished, key=_weight, default=None)


def _weight(each: Mapping[str, Any]) -> tuple[bool, str, int]:
    return bool(each.get("ground_truth")), str(each.get("updated_at") or ""), int(each.get("id") or 0)


def file_id_of(audio: str) -> str:
    """The name of a recording without its folders, its suffix and a URL's query.

    >>> file_id_of("/data/upload/1/0927d1c7-call_01.wav"), file_id_of("/data/local-files/?d=calls/a b.mp3")
    ('0927d1c7-call_01', 'a_b')
    """
    try:
        parts = urlsplit(audio)
    except ValueError:
        parts = urlsplit("")
    local = parse_qs(parts.query).get("d", [""])[0]
    return _name(PurePosixPath(local or unquote(parts.path)).stem)


def write(name: Name, tasks: Iterable[CorrectedTask]) -> dict[str, str]:
    """The files of a format, their text by their names, in the order of the tasks' numbers.

    Raises:
        BadRequest: there is no such format, or it cannot carry a task; the message names the task.
    """
    if name not in FORMATS:
        raise BadRequest(f"there is no export {name!r}; there are {', '.join(FORMATS)}")
    named = _named(tasks)
    if name == "srt":
        return {f"{task.file_id}.srt": _written(_srt, task) for task in named}
    text = "".join(_written(_LINES[name], task) for task in named) if name in _LINES else _seglst(named)
    return {f"corrected.{'seglst.json' if name == 'seglst' else name}": text}


def _named(tasks: Iterable[CorrectedTask]) -> list[CorrectedTask]:
    """The tasks by number, under names that no two share, whether or not capitals count."""
    ordered = sorted(tasks, key=lambda task: task.id)
    names = [_name(task.file_id) or "task" for task in ordered]
    taken = Counter(name.casefold() for name in names)
    unique = [
        name if taken[name.casefold()] == 1 else f"{name}-{task.id}" for name, task in zip(names, ordered, strict=True)
    ]
    return [replace(task, file_id=name) for name, task in zip(unique, ordered, strict=True)]


def _name(text: str) -> str:
    return _NOT_IN_A_NAME.sub("_", text.strip()).strip("._-")[:_LONGEST_NAME]


def _written(writer: Callable[[CorrectedTask], str], task: CorrectedTask) -> str:
    try:
        return writer(task)
    except BadRequest as error:
        raise BadRequest(f"task {task.id}: {error}") from None


# --- the formats ------------------------------------------------------------------------------------------


def _rttm(task: CorrectedTask) -> str:
    names = _one_word(turn.speaker for turn in task.transcript.turns)
    return rttm.write(
        (replace(turn, speaker=names[turn.speaker]) for turn in task.transcript.turns), file_id=task.file_id
    )


def _stm(task: CorrectedTask) -> str:
    spoken = _spoken(task.transcript)
    names = _one_word(each.speaker for each in spoken)
    return stm.write((replace(each, speaker=names.get(each.speaker)) for each in spoken), file_id=task.file_id)


def _seglst(tasks: Iterable[CorrectedTask]) -> str:
    items = [item for task in tasks for item in json.loads(_written(_seglst_of_one, task))]
    return json.dumps(items, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _seglst_of_one(task: CorrectedTask) -> str:
    spoken = [replace(each, text=flat(each.text)) for each in _spoken(task.transcript)]
    return seglst.write(spoken, file_id=task.file_id)


def _srt(task: CorrectedTask) -> str:
    segments = _timed(task.transcript)
    if not task.transcript.duration and any(each.text.strip() for each in segments):
        raise BadRequest("its text has no times, so it cannot be written as subtitles")
    return srt.write(replace(task.transcript, segments=segments))


def _jsonl(task: CorrectedTask) -> str:
    lines = (
        {
            "audio_filepath": task.audio,
            "offset": round(segment.span.start, 3),
            "duration": round(segment.span.duration, 3) or None,  # nobody knows how long a whole recording is
            "text": flat(segment.text),
            "speaker": segment.speaker,
        }
        for segment in _timed(task.transcript)
        if segment.text.strip() and (segment.span.duration > 0 or not task.transcript.duration)
    )
    return "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)


_LINES: Mapping[str, Callable[[CorrectedTask], str]] = MappingProxyType({"rttm": _rttm, "stm": _stm, "jsonl": _jsonl})
FORMATS: tuple[Name, ...] = ("rttm", "stm", "seglst", "srt", "jsonl")


def _spoken(transcript: Transcript) -> tuple[Segment, ...]:
    """The segments that are speech: those with text, or with a speaker."""
    return tuple(each for each in transcript.segments if each.text.strip() or annotation.is_speaker(each.speaker))


def _timed(transcript: Transcript) -> tuple[Segment, ...]:
    """The segments that are speech, where lines that have no times of their own become one over the whole recording."""
    whole = Span(0.0, transcript.duration)
    spoken = _spoken(transcript)
    if len(spoken) > 1 and all(each.span == whole for each in spoken):
        return (Segment(whole, "\n".join(each.text for each in spoken)),)
    return spoken


def _one_word(speakers: Iterable[str | None]) -> dict[str | None, str]:
    """A name without blanks for each speaker; no two people get the same."""
    given: dict[str | None, str] = {}
    for speaker in dict.fromkeys(speakers):
        if speaker is not None:
            plain = "_".join(speaker.replace("<NA>", "NA").split()) or "NA"
            names = (plain, *(f"{plain}_{number}" for number in range(2, len(given) + 3)))
            given[speaker] = next(name for name in names if name not in given.values())
    return given
