"""The page is judged as a browser would take it apart: by its elements, its text and its policy."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarist.errors import BadRequest
from diarist.formats import html
from diarist.text import flat
from diarist.types import Segment, Span, Transcript, Turn, Word

STYLE = files("diarist.formats").joinpath("html_page.css").read_text(encoding="utf-8")
SCRIPT = files("diarist.formats").joinpath("html_page.js").read_text(encoding="utf-8")
VOID = {"meta", "input", "line"}
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&<b>"


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""  # its own and that of all within it
    path: tuple[str, ...] = ()


@dataclass
class Page(HTMLParser):
    """All elements in order of their start tags, with the text within each."""

    source: str
    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        path = tuple(element.tag for element in self.open)
        element = Element(tag, {name: value or "" for name, value in attrs}, path=path)
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def all(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    def one(self, tag: str) -> Element:
        (element,) = self.all(tag)
        return element

    def texts(self) -> list[str]:
        return [element.text for element in self.all("p") if element.path[-1:] == ("div",)]


def said(text: str, start: float, speaker: str | None, score: float | None = 0.9) -> Segment:
    words = tuple(Word(word, Span(start + i, start + i + 0.5), score, speaker) for i, word in enumerate(text.split()))
    return Segment(Span(start, start + len(words)), text, speaker, words)


def call(*segments: Segment) -> Transcript:
    turns = tuple(Turn(segment.span, segment.speaker) for segment in segments if segment.speaker is not None)
    return Transcript(segments, "en", 100.0, turns, tuple(dict.fromkeys(turn.speaker for turn in turns)))


def test_hostile_text_speakers_and_titles_stay_text() -> None:
    tame = Page(html.write(call(said("tame text", 0.0, "Ann")), title="title"))
    transcript = call(said(f"{HOSTILE} text", 0.0, HOSTILE))
    transcript = Transcript(
        **{name: getattr(transcript, name) for name in ("segments", "duration", "turns", "speakers")},
        language='"><script>',
        model_version=HOSTILE,
        notes=(HOSTILE,),
    )
    page = Page(html.write(transcript, title=HOSTILE))
    assert page.one("h1").text == page.all("title")[0].text == HOSTILE
    assert page.texts() == [flat(f"{HOSTILE} text")]
    assert page.one("b").text == HOSTILE
    assert {element.tag for element in page.elements} - {element.tag for element in tame.elements} == {"ul"}
    allowed = {name for element in tame.elements for name in element.attributes}
    assert {name for element in page.elements for name in element.attributes} <= allowed
    assert [element.text for element in page.all("script")] == [SCRIPT]


@given(st.lists(st.text(max_size=20), max_size=4), st.booleans())
def test_the_text_of_every_segment_is_on_the_page_once(texts: list[str], timed: bool) -> None:
    segments = [said(text, 10.0 * i, "Ann") for i, text in enumerate(texts)]
    if not timed:
        segments = [Segment(segment.span, segment.text, segment.speaker) for segment in segments]
    page = Page(html.write(call(*segments), title="t"))
    # html.parser, like browsers, has no NUL and takes some control characters for others
    if not re.search(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]", "".join(texts)):
        assert page.texts() == [flat(text) for text in texts if flat(text)]


def test_every_word_has_its_time() -> None:
    page = Page(html.write(call(said("one two", 3.0, "Ann"), said("drei", 1.0, "Bob", 0.2)), title="t"))
    words = [element for element in page.all("span") if element.path[-1] == "p"]
    assert [(word.text, word.attributes) for word in words] == [
        ("drei", {"data-t": "1.000", "data-e": "1.500", "class": "doubt"}),
        ("one", {"data-t": "3.000", "data-e": "3.500"}),
        ("two", {"data-t": "4.000", "data-e": "4.500"}),
    ]


def test_text_that_its_words_do_not_match_has_one_time() -> None:
    edited = Segment(Span(1, 3), "Hello there", "Ann", (Word("helo", Span(1, 2)),))
    (span,) = [element for element in Page(html.write(call(edited), title="t")).all("span") if element.path[-1] == "p"]
    assert (span.text, span.attributes) == ("Hello there", {"data-t": "1.000", "data-e": "3.000"})


def test_the_recording_is_inside() -> None:
    recording = bytes(range(256))
    page = Page(html.write(call(), title="t", audio=recording, media_type="audio/ogg; codecs=opus"))
    kind, _, data = page.one("audio").attributes["src"].partition(",")
    assert kind == "data:audio/ogg; codecs=opus;base64"
    assert base64.b64decode(data) == recording
    assert page.one("body").attributes == {"class": "playable"}


def test_without_a_recording_the_page_asks_for_one() -> None:
    page = Page(html.write(call(), title="t"))
    assert [element.attributes["id"] for element in page.all("input") if element.attributes["type"] == "file"] == [
        "file"
    ]
    assert page.one("body").attributes == {}


@pytest.mark.parametrize("media_type", ["text/html", "audio/mpeg,<script>", "audio/", "audio/mpeg\n"])
def test_a_media_type_that_is_none_of_sound_is_refused(media_type: str) -> None:
    with pytest.raises(BadRequest, match="is not one of sound"):
        html.write(call(), title="t", audio=b"x", media_type=media_type)


def test_nothing_is_loaded_from_outside_and_only_our_style_and_script_run() -> None:
    page = Page(html.write(call(said("one", 0.0, "Ann")), title="t", audio=b"x"))
    for element in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert re.match(r"data:audio/|#|$", element.attributes.get(name, ""))
        assert not any(name.startswith("on") or name == "style" for name in element.attributes)
    policy = next(e.attributes["content"] for e in page.all("meta") if "http-equiv" in e.attributes)
    for kind, tag in (("style-src", "style"), ("script-src", "script")):
        digest = base64.b64encode(hashlib.sha256(page.one(tag).text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"https?:|//\w|url\(|@import|fetch\(|import\(|eval\(|innerHTML", STYLE + SCRIPT)


def test_style_and_script_cannot_end_their_elements() -> None:
    assert "</" not in STYLE + SCRIPT
    assert "<!--" not in STYLE + SCRIPT


def test_what_the_script_asks_for_is_on_the_page() -> None:
    page = Page(html.write(call(said("one", 0.0, "Ann")), title="t"))
    ids = {element.attributes.get("id") for element in page.elements}
    classes = {name for element in page.elements for name in element.attributes.get("class", "").split()}
    assert set(re.findall(r'querySelector\("#(\w+)"\)', SCRIPT)) <= ids
    assert set(re.findall(r'querySelector\("\.(\w+)', SCRIPT)) <= classes


def test_a_bar_shows_every_turn_in_its_speakers_row_and_colour() -> None:
    turns = (Turn(Span(0, 2), "Ann"), Turn(Span(1, 4), "Bob"), Turn(Span(5, 6), "Ann"))
    page = Page(html.write(Transcript((), "en", 8.0, turns, ("Ann", "Bob")), title="t"))
    bars = [tuple(element.attributes[name] for name in ("class", "x", "y", "width")) for element in page.all("rect")]
    assert page.one("svg").attributes["viewbox"] == "0 0 8.000 2"
    assert bars == [
        *(("s0", "0.000", "0.15", "2.000"), ("s1", "1.000", "1.15", "3.000"), ("s0", "5.000", "0.15", "1.000")),
    ]


def test_more_speakers_than_colours_share_them() -> None:
    page = Page(html.write(call(*(said("x", float(i), f"S{i}") for i in range(html.NUM_COLOURS + 1))), title="t"))
    rows = [element.attributes["class"] for element in page.all("li")]
    assert rows == [*(f"s{i}" for i in range(html.NUM_COLOURS)), "s0"]


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance of `#rrggbb`."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_colour_can_be_read_on_its_ground(scheme: int) -> None:
    """WCAG 2.2, 1.4.3 (AA): 4.5 to 1."""
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", STYLE.split(":root {")[scheme + 1]))
    texts = ["ink", "quiet", *(f"s{i}" for i in range(html.NUM_COLOURS))]
    assert {name for name in colours if re.fullmatch(r"s\d+", name)} == set(texts[2:])
    ratios = [contrast(colours[text], colours[ground]) for text in texts for ground in ("page", "bar")]
    assert min(*ratios, contrast(colours["mark-ink"], colours["mark"])) >= 4.5


def test_a_page_of_an_hour_stays_small() -> None:
    segments = [said("and so my fellow citizens ask not what", 8.0 * i, f"S{i % 3}") for i in range(450)]
    page = html.write(call(*segments), title="t")
    assert len(page) < 100 * sum(len(segment.words) for segment in segments)
