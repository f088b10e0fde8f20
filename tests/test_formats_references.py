"""RTTM, STM and SegLST: the formats that references come in, checked against meeteval's own parsers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import meeteval
import pytest

from diarist.errors import BadRequest
from diarist.formats import rttm, seglst, stm
from diarist.types import Segment, Span, Turn

TURNS = (Turn(Span(0.0004, 1.2346), "A"), Turn(Span(1.0, 36_000.5), "B-ü"), Turn(Span(2.5, 2.5), "A"))
SEGMENTS = (
    Segment(Span(0.5, 2.0), "Hello there, Zoë.", "A"),
    Segment(Span(1.5, 36_000.25), "你好", "B"),
)


def facts_of(lines: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - meeteval has no types
    """Meeteval's segments, with times as floats."""
    keys = ("session_id", "speaker", "start_time", "end_time", "words")
    return [
        {key: float(item[key]) if key.endswith("_time") else item[key] for key in keys if key in item}
        for item in lines.to_seglst()
    ]


def as_facts(segments: tuple[Segment, ...], file_id: str) -> list[dict[str, Any]]:
    return [
        {
            "session_id": file_id,
            "speaker": segment.speaker,
            "start_time": segment.span.start,
            "end_time": segment.span.end,
            "words": segment.text,
        }
        for segment in segments
    ]


def clips(recordings: Path, suffix: str) -> list[Path]:
    found = sorted((recordings / "ami").glob(f"*{suffix}"))
    assert len(found) >= 8
    return found


def test_meeteval_reads_the_rttm_as_it_was_meant() -> None:
    read = facts_of(meeteval.io.RTTM.parse(rttm.write(TURNS, file_id="call-1")))
    assert read == [
        {"session_id": "call-1", "speaker": "A", "start_time": 0.0, "end_time": 1.235},
        {"session_id": "call-1", "speaker": "B-ü", "start_time": 1.0, "end_time": 36_000.5},
        {"session_id": "call-1", "speaker": "A", "start_time": 2.5, "end_time": 2.5},
    ]


def test_meeteval_reads_the_stm_as_it_was_meant() -> None:
    assert facts_of(meeteval.io.STM.parse(stm.write(SEGMENTS, file_id="call-1"))) == as_facts(SEGMENTS, "call-1")


def test_meeteval_reads_the_seglst_as_it_was_meant() -> None:
    assert facts_of(meeteval.io.SegLST.parse(seglst.write(SEGMENTS, file_id="a b"))) == as_facts(SEGMENTS, "a b")


def test_a_seglst_of_ours_is_scored_by_meeteval() -> None:
    other = (SEGMENTS[0], Segment(SEGMENTS[1].span, "你们", None))
    reference, hypothesis = (
        meeteval.io.SegLST.parse(seglst.write(segments, file_id="call")) for segments in (SEGMENTS, other)
    )
    assert meeteval.wer.cpwer(reference, hypothesis)["call"].errors == 1


def test_seglst_refuses_the_name_that_stands_for_nobody() -> None:
    with pytest.raises(BadRequest, match="cannot carry a speaker called <NA>"):
        seglst.write([Segment(Span(0, 1), "x", "<NA>")], file_id="a")


def test_real_rttm_reads_as_meeteval_reads_it(recordings: Path) -> None:
    for clip in clips(recordings, ".rttm"):
        text = clip.read_text(encoding="utf-8")
        (turns,) = rttm.read(text).values()
        theirs = facts_of(meeteval.io.RTTM.parse(text))
        assert [turn.speaker for turn in turns] == [item["speaker"] for item in theirs]
        assert [(turn.span.start, turn.span.end) for turn in turns] == [
            (item["start_time"], item["end_time"]) for item in theirs
        ]
        assert rttm.write(turns, file_id=clip.stem) == text


def test_real_stm_and_seglst_read_as_meeteval_reads_them(recordings: Path) -> None:
    for clip in clips(recordings, ".stm"):
        text, beside = (path.read_text(encoding="utf-8") for path in (clip, clip.with_suffix(".seglst.json")))
        assert as_facts(stm.read(text)[clip.stem], clip.stem) == facts_of(meeteval.io.STM.parse(text))
        assert as_facts(seglst.read(beside)[clip.stem], clip.stem) == facts_of(meeteval.io.SegLST.parse(beside))


def test_rttm_is_read_with_blanks_comments_nine_fields_and_several_files() -> None:
    text = (
        "\ufeff;; a comment\r\n\r\n  SPEAKER  a 1\t0.5   1.5 <NA> <NA>   Ann <NA> <NA>\r\n"
        "SPKR-INFO a 1 <NA> <NA> <NA> adult_female Ann <NA> <NA>\nSPEAKER b 1 0 1 <NA> <NA> Bob <NA>\n"
    )
    assert rttm.read(text) == {"a": (Turn(Span(0.5, 2.0), "Ann"),), "b": (Turn(Span(0.0, 1.0), "Bob"),)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("SPEAKER a 1 0.5", "4 fields"),
        ("SPEAKER a 1 0.5 1.5 <NA> <NA> Ann B. Clark <NA> <NA>", "12 fields"),
        ("SPEAKR a 1 0.5 1.5 <NA> <NA> Ann <NA> <NA>", "the type 'SPEAKR'"),
        ("SPEAKER a 1 zero 1.5 <NA> <NA> Ann <NA> <NA>", "could not convert"),
        ("SPEAKER a 1 -1 1.5 <NA> <NA> Ann <NA> <NA>", "must not be negative"),
        ("SPEAKER a 1 1 nan <NA> <NA> Ann <NA> <NA>", "must run forwards between finite"),
    ],
)
def test_a_broken_rttm_line_is_reported_with_its_number(line: str, message: str) -> None:
    with pytest.raises(BadRequest, match=rf"line 2, '{line[:20]}.*{message}"):
        rttm.read(f";; one\n{line}\n")


@pytest.mark.parametrize("field", ["", "two words", "tab\there", "line\nbreak", "<NA>"])
def test_what_would_break_a_line_of_fields_is_refused(field: str) -> None:
    with pytest.raises(BadRequest, match=r"the file id .* cannot stand in a field"):
        rttm.write(TURNS, file_id=field)
    with pytest.raises(BadRequest, match=r"the speaker .* cannot stand in a field"):
        rttm.write([Turn(Span(0, 1), field)], file_id="a")
    with pytest.raises(BadRequest, match=r"the file id .* cannot stand in a field"):
        stm.write(SEGMENTS, file_id=field)
    with pytest.raises(BadRequest, match=r"the speaker .* cannot stand in a field"):
        stm.write([Segment(Span(0, 1), "x", field)], file_id="a")


def test_stm_is_read_with_labels_comments_and_segments_without_words() -> None:
    text = ";; a comment\n\na 1 Ann 0 1.5 <o,f0,female>  Hello <unk>  there\na A Bob 2 3\nb 1 <NA> 0 1 who\n"
    assert stm.read(text) == {
        "a": (Segment(Span(0.0, 1.5), "Hello <unk> there", "Ann"), Segment(Span(2.0, 3.0), "", "Bob")),
        "b": (Segment(Span(0.0, 1.0), "who"),),
    }


def test_stm_refuses_what_it_would_not_read_back() -> None:
    with pytest.raises(BadRequest, match="would take the beginning"):
        stm.write([Segment(Span(0, 1), "<a,b> c")], file_id="a")
    with pytest.raises(BadRequest, match="would make its lines comments"):
        stm.write(SEGMENTS, file_id=";a")


@pytest.mark.parametrize(
    ("line", "message"),
    [("a 1 Ann 0", "4 fields"), ("a 1 Ann 2 1 x", "must run forwards"), ("a 1 Ann zero 1 x", "could not convert")],
)
def test_a_broken_stm_line_is_reported_with_its_number(line: str, message: str) -> None:
    with pytest.raises(BadRequest, match=f"line 1, '{line}': .*{message}"):
        stm.read(line)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "SegLST must be JSON"),
        ("{}", "must be a JSON array"),
        ("[1]", "item 0 of the SegLST: an object is needed"),
        (
            '[{"session_id": "a", "start_time": 0, "end_time": 1, "words": "x"}]',
            "item 0 .*the key 'speaker' is missing",
        ),
        ('[{"session_id": "a", "speaker": "A", "start_time": 2, "end_time": 1, "words": "x"}]', "must run forwards"),
        ('[{"session_id": "a", "speaker": "A", "start_time": null, "end_time": 1, "words": "x"}]', "item 0"),
        ('[{"session_id": "a", "speaker": "A", "start_time": 0, "end_time": 1, "words": ["x"]}]', "must be a string"),
    ],
)
def test_a_broken_seglst_is_refused_with_its_item(text: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        seglst.read(text)
