"""The benchmark: what it counts, what it keeps, what it builds, and what it writes."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from benchmarks import __main__ as every
from benchmarks import accuracy, bounded, chart, count, mixes, page, processes, recordings, report, scores, speed, stock
from benchmarks.answers import Answer
from benchmarks.protocol import Row
from benchmarks.recordings import Recording
from benchmarks.scores import Counts

from diarist.types import SAMPLE_RATE, Segment, Span, Turn, Waveform, Word

ROOT = Path(__file__).parents[1]
ROW_KEYS = [field.name for field in fields(Row)]


def noise(seconds: float, seed: int = 0) -> Waveform:
    samples = np.random.default_rng(seed).normal(0, 0.01, round(seconds * SAMPLE_RATE))
    return Waveform(samples.astype(np.float32))


def turns(*given: tuple[float, float, str]) -> tuple[Turn, ...]:
    return tuple(Turn(Span(start, end), speaker) for start, end, speaker in given)


def words(*given: tuple[str, str | None]) -> tuple[Word, ...]:
    """Words of half a second, one after the other."""
    return tuple(Word(text, Span(i / 2, i / 2 + 0.4), speaker=who) for i, (text, who) in enumerate(given))


def counts(**given: float) -> Counts:
    return Counts(**{field.name: given.get(field.name, 0.0) for field in fields(Counts)})


# --- scores, counted by hand ------------------------------------------------------------------------------


def test_der_is_split_into_its_parts_with_overlap_scored() -> None:
    """A 0-4, B 3-6: seven seconds. Y is B for 4 s; Z is one too many for 1 s, and nobody says 0-1."""
    reference = turns((0, 4, "A"), (3, 6, "B"))
    hypothesis = turns((1, 3, "X"), (3, 6, "Y"), (6, 7, "Y"))
    found = scores.turn_errors(reference, hypothesis, 8.0)
    assert found["spoken"] == pytest.approx(7)
    assert found["missed"] == pytest.approx(2)  # 0-1, and A from 3 to 4
    assert found["false_alarm"] == pytest.approx(1)
    assert found["confusion"] == pytest.approx(0)
    assert found["count_right"] == 1
    # Jaccard errors: A 1 - 2/4, B 1 - 3/4
    assert (found["jaccard"], found["speakers"]) == pytest.approx((0.75, 2))


def test_confusion_is_speech_of_somebody_else() -> None:
    found = scores.turn_errors(turns((0, 4, "A"), (4, 6, "B")), turns((0, 6, "X")), 6.0)
    assert (found["confusion"], found["missed"], found["false_alarm"]) == pytest.approx((2, 0, 0))
    assert found["count_right"] == 0


def test_word_errors_of_a_small_case() -> None:
    """Said: A "one apple fell", B "no pear did". "fell" goes to B, "did" to nobody, and pear is heard as bear."""
    reference = (Segment(Span(0, 1.5), "One apple fell.", "A"), Segment(Span(1.5, 3), "No pear did.", "B"))
    heard = words(("one", "X"), ("apple", "X"), ("fell", "Y"), ("no", "Y"), ("bear", "Y"), ("did", None))
    found = scores.word_errors(reference, heard)
    assert (found["words"], found["word_errors"]) == (6, 1)
    # X is "1 apple": 1 left out. Y is "fell no bear": 1 put in, 1 replaced, 1 left out. nobody is "did": 1 put in.
    assert (found["cp_words"], found["cp_errors"]) == (6, 5)
    assert (found["aligned"], found["wrong_speaker"]) == (6, 2)  # the replaced one counts as B's


def test_names_of_speakers_do_not_matter_but_one_cannot_stand_for_two() -> None:
    assert scores.shared_words([("A", "2"), ("A", "2"), ("B", "1")]) == 3
    assert scores.shared_words([("A", "1"), ("A", "1"), ("B", "1")]) == 2
    assert scores.shared_words([("A", "1"), ("A", "2"), ("B", "1"), ("B", "1")]) == 3
    assert scores.shared_words([("A", None)]) == 0
    assert scores.shared_words([]) == 0


def test_silence_gets_every_word_wrong_and_none_misplaced() -> None:
    reference = (Segment(Span(0, 1), "Hello there.", "A"),)
    found = scores.word_errors(reference, ())
    assert (found["word_errors"], found["cp_errors"], found["aligned"]) == (2, 2, 0)


def test_words_of_one_speaker_are_normalized_together() -> None:
    parts = [(word.span, word.text, word.speaker) for word in words(("Twenty", "A"), ("one,", "A"), ("isn't", "B"))]
    assert scores.normalized(parts) == [("21", "A"), ("is", "B"), ("not", "B")]


def test_a_word_in_speech_without_a_speaker_is_not_placed() -> None:
    reference = (Segment(Span(0, 2), "one two", "A"),)
    recording = Recording("set", "name", noise(10), turns((0, 2, "A")), reference)
    heard = (*words(("one", "X"), ("two", None)), Word("three", Span(8, 9)))  # the last one is invented, in silence
    found = scores.count(recording, Answer(turns((0, 2, "X")), heard))
    assert (found.placed_words, found.found_words) == (1, 2)
    assert scores.placed(found) == 0.5


def test_rates_of_a_set_are_those_of_its_sums() -> None:
    one = counts(recordings=1, spoken=10, confusion=5, missed=1)
    other = counts(recordings=1, spoken=90, false_alarm=4)
    both = scores.total([one, other])
    assert scores.der(both) == pytest.approx(0.10)
    assert scores.confusion(both) == pytest.approx(0.05)
    assert math.isnan(scores.wder(both))
    assert scores.rates(both)["WDER"] is None


def test_an_interval_is_the_same_every_time_and_holds_the_rate() -> None:
    several = [counts(recordings=1, spoken=100, confusion=error) for error in (0, 1, 2, 3, 10)]
    first, second = scores.interval(scores.confusion, several), scores.interval(scores.confusion, several)
    assert first == second
    assert first is not None
    assert 0 <= first[0] < scores.confusion(scores.total(several)) < first[1] <= 0.10
    assert scores.interval(scores.confusion, several[:1]) is None
    alike = [counts(recordings=1, spoken=100, confusion=3)] * 4
    assert scores.interval(scores.confusion, alike) == pytest.approx((0.03, 0.03))


def test_a_difference_is_drawn_in_pairs() -> None:
    """Recordings differ much, the two ways by one second in each: pairing sees that, and two intervals would not."""
    ones = [counts(recordings=1, spoken=100, confusion=error) for error in (5, 20, 50, 80)]
    others = [counts(recordings=1, spoken=100, confusion=error + 1) for error in (5, 20, 50, 80)]
    between = scores.difference_interval(scores.confusion, ones, others)
    assert between == pytest.approx((-0.01, -0.01))


def test_an_interval_of_counts_is_not_certain_where_all_are_right() -> None:
    low, high = count.wilson(62, 62)
    assert (low, high) == pytest.approx((94.2, 100), abs=0.05)


# --- what stock answered before ---------------------------------------------------------------------------


class Slow:
    """Stands for the loaded stock pipeline: it counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def transcribe(self, waveform: Waveform) -> Answer:
        self.asked += 1
        return Answer(turns((0, waveform.duration, "SPEAKER_00")), words(("hi", "SPEAKER_00"), ("you", None)))

    def diarize(self, waveform: Waveform) -> Answer:
        self.asked += 1
        return Answer(turns((0, waveform.duration, "SPEAKER_00")), (), {"diarize": 1.5})


def test_stock_is_asked_once_for_the_same_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()

    def ask(waveform: Waveform, **options: bool) -> Answer:
        return stock.remembered(slow, waveform, folder=tmp_path, **{"words": True, **options})

    first = ask(noise(1))
    assert ask(noise(1)) == first
    assert slow.asked == 1
    other = Waveform(noise(1).samples.copy())
    other.samples[100] += 1e-4
    ask(other)  # one sample differs
    ask(noise(1), words=False)  # another question
    ask(noise(1), fresh=True)
    assert slow.asked == 4
    monkeypatch.setattr(stock, "version", lambda _: "0.0")  # another version of a library
    ask(noise(1))
    assert slow.asked == 5


# --- what is built ----------------------------------------------------------------------------------------


def tone(name: str, hertz: float) -> list[mixes.Utterance]:
    times = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    return [
        mixes.Utterance(f"{name}-{i}", (0.1 * np.sin(hertz * times)).astype(np.float32), f"{name} {i}") for i in (0, 1)
    ]


VOICES = {"low": tone("low", 900), "high": tone("high", 3000), "higher": tone("higher", 6000)}


def test_a_seed_gives_the_same_conversation_and_another_one_another() -> None:
    plan = mixes.Plan(20, noise="pink")
    one, same, other = (mixes.mix(VOICES, plan, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.waveform.samples, same.waveform.samples)
    assert one.turns == same.turns
    assert one.turns != other.turns


@pytest.mark.parametrize("noise_kind", ["white", "pink", "hum"])
def test_noise_has_the_level_asked_for(noise_kind: mixes.Noise) -> None:
    plan = mixes.Plan(20, noise=noise_kind, noise_level=-40)
    quiet = mixes.mix(VOICES, plan, seed=1).waveform.samples[: SAMPLE_RATE // 2]  # before the first piece
    assert 10 * np.log10((quiet**2).mean()) == pytest.approx(-40, abs=1.5)


def test_whole_utterances_carry_their_words_and_everyone_speaks(tmp_path: Path) -> None:
    built = mixes.mix(VOICES, mixes.Plan(12, pieces="utterances", everyone=True), seed=3)
    assert {turn.speaker for turn in built.turns} == set(VOICES)
    assert {piece.speaker for piece in built.pieces[:3]} == set(VOICES)
    assert all(piece.text == piece.key.replace("-", " ") for piece in built.pieces)
    back = recordings.read(mixes.write(built, tmp_path), "set")
    assert [segment.text for segment in back.segments] == [piece.text for piece in built.pieces]
    assert len(back.turns) == len(built.turns)
    assert back.waveform.duration == built.waveform.duration
    assert np.abs(back.waveform.samples - built.waveform.samples).max() < 1e-4


def test_what_nobody_wrote_down_comes_from_the_texts_given() -> None:
    voices = {"a": [mixes.Utterance("a-0", VOICES["low"][0].samples)]}
    built = mixes.mix(voices, mixes.Plan(3, pieces="utterances"), seed=1)
    assert recordings.of_mix("set", built).segments == ()
    assert {segment.text for segment in recordings.of_mix("set", built, {"a-0": "hello"}).segments} == {"hello"}


@pytest.mark.skipif(not mixes.flite_installed(), reason="flite, Debian's speech synthesizer, is not installed")
def test_flite_says_the_same_thing_twice() -> None:
    (one,), (same,) = (mixes.flite(("slt",), utterances=1)["slt"] for _ in range(2))
    assert one.text == same.text
    assert np.array_equal(one.samples, same.samples)
    assert one.text is not None
    assert len(one.samples) > 0.15 * SAMPLE_RATE * len(one.text.split())


def test_references_beside_a_recording_are_read(tmp_path: Path) -> None:
    mixes.write_flac(tmp_path / "call.flac", noise(3).samples)
    (tmp_path / "call.stm").write_text("call 1 ann 0.5 1.5 Hello there.\ncall 1 bob 1.5 2.5 Hi.\n")
    mixes.write_flac(tmp_path / "lonely.flac", noise(3).samples)
    (found,) = recordings.in_folder(tmp_path)
    assert [turn.speaker for turn in found.turns] == ["ann", "bob"]
    assert [segment.text for segment in found.segments] == ["Hello there.", "Hi."]
    with pytest.raises(FileNotFoundError, match=r"no recording in .* has a \.rttm"):
        list(recordings.in_folder(tmp_path / "none"))


def test_of_a_long_recording_the_first_ten_minutes_are_scored(tmp_path: Path) -> None:
    mixes.write_flac(tmp_path / "call.flac", np.zeros(601 * SAMPLE_RATE, np.float32))
    (tmp_path / "call.stm").write_text(
        "call 1 ann 1 2 Hello there.\ncall 1 bob 599 601 one two three four\ncall 1 ann 600.2 601 Bye.\n"
    )
    (found,) = recordings.in_folder(tmp_path)
    assert found.waveform.duration == 600
    assert found.turns == turns((1, 2, "ann"), (599, 600, "bob"))
    assert [segment.text for segment in found.segments] == ["Hello there.", "one two"]
    assert recordings.cut(found, 700) is found


# --- what is measured and written -------------------------------------------------------------------------


def test_a_command_is_measured_with_its_memory() -> None:
    block = "b = bytearray(300_000_000)"
    small, large = (processes.measure([sys.executable, "-c", code]) for code in ("pass", block))
    assert large.peak_bytes - small.peak_bytes > 250_000_000
    assert small.peak_bytes < 100_000_000
    assert small.seconds > 0
    with pytest.raises(RuntimeError, match="no such thing"):
        processes.measure([sys.executable, "-c", "raise SystemExit('no such thing')"])


def scored(ours: dict[str, Counts], theirs: dict[str, Counts]) -> accuracy.Scored:
    sets = {name: name.partition("/")[0] for name in ours}
    return accuracy.Scored(sets, {name: {"ours": ours[name], "stock": theirs[name]} for name in ours})


def test_rows_compare_what_was_promised() -> None:
    sums = {
        "recordings": 1,
        "spoken": 100,
        "words": 100,
        "cp_words": 100,
        "aligned": 80,
        "speakers": 2,
        "found_words": 80,
    }
    mine = counts(**sums, confusion=1, placed_words=80, wrong_speaker=2, cp_errors=12, word_errors=10)
    stock_ones = counts(**sums, confusion=6, placed_words=60, wrong_speaker=8, cp_errors=15, word_errors=10)
    names = ("sample/a", "ami/b", "ami-tuned/c", "mixes/d", "mixes/e")
    rows = accuracy.rows(scored(dict.fromkeys(names, mine), dict.fromkeys(names, stock_ones)))
    found = {row.what: row for row in rows}
    total = found["DER in total: sample, AMI dev, mixes"]
    assert (total.stock, total.ours) == pytest.approx((6, 1))
    assert total.met
    assert total.interval == pytest.approx((-5, -5))
    assert total.counts["ours"]["recordings"] == 4  # type: ignore[index]
    confusion = found["speaker confusion: mixes of 2 to 6 of LibriSpeech's speakers"]
    assert confusion.ours == pytest.approx(1)
    assert confusion.met
    wder = found["WDER: AMI, mixes"]
    assert (wder.stock, wder.ours) == pytest.approx((10, 2.5))
    assert wder.met
    assert found["cpWER less WER: mixes"].stock == pytest.approx(5)
    assert found["words in speech with a time and a speaker"].met is True
    assert page.compared(asdict(wder))[0] == "0.25 of stock's"


def recording(*people: str, set_name: str = "mixes") -> Recording:
    return Recording(set_name, "-".join(people), noise(1), turns(*((i, i + 1, who) for i, who in enumerate(people))))


def test_confusion_of_people_who_were_not_tuned_on_has_a_row_of_its_own() -> None:
    """Two of the recordings are of 2609 and 3005 alone; the third has somebody else, too."""
    several = [recording("2609", "3005"), recording("3005", set_name="cuts"), recording("2609", "1688")]
    errors = dict(zip(("mixes/2609-3005", "cuts/3005", "mixes/2609-1688"), (1.0, 3.0, 50.0), strict=True))
    found = {name: {"ours": counts(recordings=1, spoken=100, confusion=error)} for name, error in errors.items()}
    sets = {name: name.partition("/")[0] for name in found}
    assert [accuracy.untuned(each) for each in several] == [True, True, False]
    rows = accuracy.rows(accuracy.Scored(sets, found, frozenset(list(found)[:2])))
    (row,) = (row for row in rows if "2609 and 3005 alone" in row.what)
    assert row.ours == pytest.approx(2)
    assert (row.must, row.met) == ("", None)
    assert not [row for row in accuracy.rows(accuracy.Scored(sets, found)) if "2609 and 3005 alone" in row.what]


def test_counts_of_people_who_were_not_tuned_on_have_a_row_of_their_own() -> None:
    cases = list(count.cases())
    part = [case for case in cases if count.untuned(case)]
    assert 0 < len(part) < len(cases)
    everyone, theirs = count.rows([count.Counted(case, case.speakers + (case not in part)) for case in cases])
    assert theirs.ours == 100
    assert theirs.counts["ours"] == {"right": len(part), "mixes": len(part)}
    assert theirs.met is None
    assert everyone.ours == pytest.approx(100 * len(part) / len(cases))
    assert everyone.met is False


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (Row("a", 100, 10, "s", "14 times faster", met=False), "short by 4 times"),
        (Row("a", 100, 5, "s", "14 times faster", met=True), "met"),
        (Row("a", 1, 8, "times as fast", "10x", met=False), "short by 2 times"),
        (Row("a", 10, 9, "%", "3 points lower", met=False), "short by 2 points"),
        (Row("a", 10, 11, "%", "0.5 points higher at most", met=False), "short by 0.5 points"),
        (Row("a", 10, 8, "%", "half", met=False), "short by 0.3 of stock's"),
        (Row("a", None, 90, "%", "92 %", met=False), "short by 2 points"),
        (Row("a", None, None, "%", "92 %"), "not measured"),
        (Row("a", None, 3, "words", "0", met=False), "short by 3 words"),
        (Row("a", None, 3.5, "GB", "under 3 GB", met=False), "short by 0.5 GB"),
        (Row("a", None, 3, "calls", "few", met=False), "short"),
        (Row("a", 10, 2, "s", "3 times faster, equal results", met=False), "not equal"),
        (Row("a", 10, 5, "s", "3 times faster, equal results", met=False), "short by 1 times"),
    ],
)
def test_a_verdict_says_by_how_much_a_row_falls_short(row: Row, expected: str) -> None:
    assert page.verdict(asdict(row)) == expected


def measured(directory: Path, name: str, *options: str) -> dict[str, object]:
    out = directory / f"{name}.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--out", str(out), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=300)
    content: dict[str, object] = json.loads(out.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ours was measured, quickly, on the sample call."""
    directory = tmp_path_factory.mktemp("bench")
    for name in ("speed", "accuracy"):
        measured(directory, name)
    return directory


def test_each_benchmark_writes_its_rows_and_its_counts(folder: Path) -> None:
    found = report.gather(folder)
    assert list(found) == ["speed", "accuracy"]
    for name, content in found.items():
        assert list(content) == ["name", "rows", "data"]
        assert content["name"] == name
        assert all(list(row) == ROW_KEYS for row in content["rows"])
    ways = found["speed"]["data"]["ways"]
    assert list(ways) == ["ours"]
    assert ways["ours"]["peak_bytes"] > 100_000_000
    assert set(ways["ours"]["stages"]) >= {"segment", "transcribe", "diarize", "rest"}
    assert ways["ours"]["counts"]["words"] > 50
    by_way = found["accuracy"]["data"]["sets"]["sample"]
    assert by_way["ours"]["counts"]["recordings"] == 1
    assert set(by_way["ours"]["rates"]) == set(scores.RATES)


def test_the_page_and_the_chart_show_what_was_measured(folder: Path) -> None:
    whole, written, picture = report.write(folder, folder / "page" / "RESULTS.md")
    found = json.loads(whole.read_text(encoding="utf-8"))
    assert found["machine"]["cores"] >= 1
    assert list(found["benchmarks"]) == ["speed", "accuracy"]
    text = written.read_text(encoding="utf-8")
    for content in found["benchmarks"].values():
        assert all(row["what"] in text for row in content["rows"])
    assert f"]({picture.name})" in text
    tables = re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE)
    assert tables
    for table in tables:
        assert len({line.count("|") for line in table.strip().splitlines()}) == 1
    assert ET.parse(picture).getroot().tag.endswith("svg")  # noqa: S314 - we wrote it


def test_the_page_names_what_is_not_measured_and_what_failed(folder: Path) -> None:
    text = page.results(report.gather(folder), report.machine(), chart=None, failed=["count", "speed"])
    assert "- number of speakers: failed.\n" in text
    assert "- speed and memory of the whole command: failed; what it had found by then counts.\n" in text
    assert "- words invented where nobody speaks: not measured yet.\n" in text
    assert page.TITLES["accuracy"] + ":" not in text
    assert list(page.TITLES) == list(report.ORDER)


def test_the_chart_has_a_point_for_each_error_of_each_way(tmp_path: Path) -> None:
    rates = {"DER": 0.2, "cpWER": 0.3, "WDER": 0.05}
    ways = {"ours": {"speed_factor": 30, "rates": rates}, "stock": {"speed_factor": 1.5, "rates": rates}}
    points = chart.points({"speed": {"data": {"ways": ways}}})
    assert points["WDER"] == {"ours": (30, 5.0), "stock": (1.5, 5.0)}
    for name in ("one.svg", "same.svg"):
        chart.draw(points, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "same.svg").read_bytes()


def test_memory_is_written_part_by_part_and_one_request_has_no_growth(tmp_path: Path) -> None:
    out = tmp_path / "bounded.json"
    found = {1.0: processes.Measured(2.0, 3.0, 4_000_000)}
    bounded.write(found, [], 1, out)
    lengths = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert len(lengths) == 2
    bounded.write(found, [5_000_000], 1, out)
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["rows"] == lengths
    assert content["data"]["resident_bytes"] == [5_000_000]
    bounded.write(found, [100, 101], 1, out)
    assert json.loads(out.read_text(encoding="utf-8"))["rows"][2]["ours"] == pytest.approx(1)


def test_options_go_to_the_benchmarks_that_know_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        every.main(["--only", "speed,nothing"])
    assert "no benchmark is called nothing: there are speed, accuracy" in capsys.readouterr().err
    assert [name for name in every.RUN if name not in report.ORDER] == []


@pytest.mark.parametrize("module", [accuracy, count, speed, every, report])
def test_help_teaches(module: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])  # type: ignore[attr-defined]
    assert ended.value.code == 0
    assert "benchmarks" in capsys.readouterr().out
