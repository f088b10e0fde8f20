"""SRT, WebVTT, TSV and plain text, in what the golden files do not show."""

from __future__ import annotations

import pytest

from diarist.errors import BadRequest
from diarist.formats import srt, tsv, txt, vtt
from diarist.types import Segment, Span, Transcript

SAID = Segment(Span(1.0, 2.5), "Hello there.", "Ann")


def transcript(*segments: Segment, language: str = "en") -> Transcript:
    return Transcript(segments, language, 60.0)


def test_srt_names_the_speaker_only_where_it_changes() -> None:
    said = [Segment(Span(t, t + 1), "yes", who) for t, who in enumerate([None, "A", "A", None, None, "B"])]
    texts = [block.splitlines()[2] for block in srt.write(transcript(*said)).split("\n\n")]
    assert texts == ["yes", "[A]: yes", "yes", "[?]: yes", "yes", "[B]: yes"]


def test_srt_that_others_wrote_is_read() -> None:
    text = (
        "\ufeff1\r\n00:00:01,000 --> 00:00:02,500  X1:40 X2:600\r\n<i>Hello</i>\r\nthere.\r\n\r\n\r\n"
        "00:00:03.000 --> 00:00:04.000\r\nno number, and a dot\r\n"
    )
    assert srt.read(text) == (
        Segment(Span(1.0, 2.5), "<i>Hello</i> there."),
        Segment(Span(3.0, 4.0), "no number, and a dot"),
    )


def test_lines_of_a_spaceless_language_are_read_without_spaces() -> None:
    assert srt.read("1\n00:00:01,000 --> 00:00:02,000\n你好\n世界\n", language="zh")[0].text == "你好世界"
    assert vtt.read("WEBVTT\n\n00:01.000 --> 00:02.000\n你好\n世界\n", language="zh")[0].text == "你好世界"


def test_a_spaceless_language_is_written_and_read_back() -> None:
    said = Segment(Span(0, 7), "今天我们要讨论的第一个问题是新大楼能不能按时完工。", "Ann")
    for write, read in ((srt.write, srt.read), (vtt.write, vtt.read)):
        assert read(write(transcript(said, language="zh")), language="zh") == (said,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\nhello\n", "line 2, 'hello': times such as"),
        ("hello\n", "line 1, 'hello': times such as"),
        ("1\n00:00:02,000 --> 00:00:01,000\nx\n", "line 2, .*: a span must run forwards"),
        ("1\n00:99:02,000 --> 00:99:03,000\nx\n", "line 2, .*: '00:99:02,000' is not a time"),
    ],
)
def test_srt_with_wrong_times_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        srt.read(text)


@pytest.mark.parametrize("speaker", ["?", "a]: b", "a\nb", " a", "a  b", ""])
def test_srt_refuses_a_speaker_that_it_could_not_read_back(speaker: str) -> None:
    with pytest.raises(BadRequest, match="srt cannot carry the speaker"):
        srt.write(transcript(Segment(Span(0, 1), "x", speaker)))


def test_vtt_escapes_text_and_speakers() -> None:
    said = Segment(Span(0, 1), "a <b> & --> c", "Q&A <1>")
    text = vtt.write(transcript(said))
    assert text.splitlines()[3] == "<v Q&amp;A &lt;1&gt;>a &lt;b&gt; &amp; --&gt; c"
    assert vtt.read(text) == (said,)


def test_vtt_that_others_wrote_is_read() -> None:
    text = (
        "\ufeffWEBVTT - a title\r\nKind: captions\r\n\r\nNOTE\r\na note\r\n\r\nSTYLE\r\n::cue { color: red }\r\n\r\n"
        "intro\r\n01:02.000 --> 01:03.500 line:0 align:start\r\n<v.loud Ann B.>Hi <00:01:02.500><c.x>all</c></v>\r\n"
        "\r\n"
        "10:00:00.000 --> 10:00:01.000\r\nand&nbsp;more\r\n"
    )
    assert vtt.read(text) == (
        Segment(Span(62.0, 63.5), "Hi all", "Ann B."),
        Segment(Span(36_000.0, 36_001.0), "and\xa0more"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: a WebVTT file begins"),
        ("WEBVTTX\n", "line 1: a WebVTT file begins"),
        ("WEBVTT\n\nid\nhello\n", "line 4, 'hello': times such as"),
        ("WEBVTT\n\n00:02.000 --> 00:01.000\nx\n", "line 3, .*: a span must run forwards"),
    ],
)
def test_vtt_that_is_broken_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        vtt.read(text)


@pytest.mark.parametrize("speaker", ["a\nb", " a", "a  b", ""])
@pytest.mark.parametrize("write", [vtt.write, tsv.write])
def test_vtt_and_tsv_refuse_a_speaker_that_they_could_not_read_back(write: object, speaker: str) -> None:
    assert callable(write)
    with pytest.raises(BadRequest, match="cannot carry the speaker"):
        write(transcript(Segment(Span(0, 1), "x", speaker)))


def test_tsv_keeps_a_line_a_segment_whatever_the_text() -> None:
    said = Segment(Span(0.0005, 36_000.0004), ' a\tb\r\nc\u2028d "e" ', None)
    assert tsv.write(transcript(said)).splitlines()[1:] == ['0\t36000000\ta b c d "e"\t']


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0\t1\thello\n", "line 1: the columns must be start, end, text, speaker"),
        ("start\tend\ttext\n0\t1\n", "line 2"),
        ("start\tend\ttext\n0\tone\thello\n", "line 2, .*invalid literal"),
        ("start\tend\ttext\n5\t1\thello\n", "line 2, .*a span must run forwards"),
        ("start\tend\ttext\tspeaker\n\n0\t1\thello\n", "line 3"),
    ],
)
def test_tsv_that_is_broken_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        tsv.read(text)


def test_txt_has_a_line_a_segment_and_no_names_where_nobody_is_known() -> None:
    said = transcript(Segment(Span(59.96, 3600), "one\ntwo"), Segment(Span(0, 1), " "), Segment(Span(5, 6), "zero"))
    assert txt.write(said) == ("[00:00:05.0 -> 00:00:06.0] zero\n[00:01:00.0 -> 01:00:00.0] one two\n")


def test_txt_marks_an_unknown_speaker_among_known_ones() -> None:
    assert txt.write(transcript(SAID, Segment(Span(3, 4), "Who?"))) == (
        "[00:00:01.0 -> 00:00:02.5] Ann: Hello there.\n[00:00:03.0 -> 00:00:04.0] ?: Who?\n"
    )
