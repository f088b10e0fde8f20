"""What the documentation says is so: its tables, commands, requests, programs, settings and links."""

from __future__ import annotations

import ast
import difflib
import functools
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from tools import tables

from diarist import __version__, audio, cli, errors, fetch, pipeline, service
from diarist.errors import DiaristError
from diarist.formats import FORMATS, rttm, seed, stm, txt
from diarist.pipeline import STAGES, Stages
from diarist.request import Options, parse_request
from diarist.settings import Settings
from diarist.types import Segment, Span, Transcript, Turn, Word
from diarist_proxy.settings import ProxySettings

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
HTTP = ROOT / "docs" / "http.md"
ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))
DOCUMENTS = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

LABEL_STUDIO = ROOT / "docs" / "label-studio.md"

# Variables that are no settings of the package: where the suite finds recordings.
OTHER_VARIABLES = {"DIARIST_RECORDINGS"}


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name_of(value: object) -> str | None:
    """A parameter's name in a test's id."""
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else None


def fenced(text: str, language: str) -> list[str]:
    """The blocks of code in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(path: Path) -> Iterator[str]:
    """Every command line of a document, continued lines joined, comments left out."""
    for block in fenced(read(path), "sh"):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            if words := shlex.split(line, comments=True):
                yield shlex.join(words)


def in_code(path: Path) -> str:
    """All that a document writes as code: blocks and `spans`."""
    text = read(path)
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", prose)])


# --- tables -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", tables.DOCUMENTS)
def test_the_tables_are_those_that_the_code_gives(name: str) -> None:
    text = read(ROOT / name)
    assert tables.rewritten(text) == text, "run `make docs`"


def test_every_table_of_the_code_stands_in_one_document() -> None:
    found = [name for document in tables.DOCUMENTS for name in tables.tables_in(read(ROOT / document))]
    assert sorted(found) == sorted(tables.TABLES)


def test_a_setting_that_changes_changes_the_table() -> None:
    table = tables.settings_table()
    assert "| `DIARIST_MAX_WAITING` | `16` |" in table
    assert "`embedded` or `production`" in table
    assert "`large-v3` (production)" in table
    assert table.count("\n") == len(Settings.model_fields) + 2


def test_every_key_of_a_request_has_a_meaning() -> None:
    rows = [line.strip("|").split(" | ") for line in tables.request_table().splitlines()[2:]]
    assert [row[0].strip(" `") for row in rows if not row[-1].strip()] == []


def test_the_outputs_are_listed_with_their_files() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\.[\w.]+)` \|", read(README), flags=re.MULTILINE)
    assert rows == [(name, form.suffix) for name, form in FORMATS.items()]


def test_every_status_is_explained() -> None:
    explained = {
        int(status)
        for path in (HTTP, LABEL_STUDIO)
        for status in re.findall(r"^\| (\d{3}) \|", read(path), flags=re.MULTILINE)
    }
    raised = {
        kind.status for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DiaristError)
    }
    assert explained == raised | {200, 401}


def test_every_stage_of_a_stream_is_named() -> None:
    stages = re.search(r"The stages are ([\w, ]+), each", read(HTTP))
    assert stages
    assert re.split(r", | and ", stages[1]) == ["wait", "fetch", *STAGES]


def test_what_the_log_says_is_what_the_code_says() -> None:
    (table,) = re.findall(r"^\| the log says .*?\n\n", read(HTTP), flags=re.MULTILINE | re.DOTALL)
    source = read(ROOT / "packages" / "diarist" / "diarize_pyannote.py")
    lines = [line.strip("|").split(" | ")[0] for line in table.strip().splitlines()[2:]]
    pieces = [piece.strip() for line in lines for piece in line.split("…") if piece.strip()]
    assert len(pieces) > len(lines) > 3
    assert [piece for piece in pieces if piece not in source] == []


def test_the_numbers_of_the_service_are_those_of_the_code() -> None:
    text = " ".join(read(HTTP).split())
    number = {2: "two", 5: "five"}
    assert f"At least one event comes every {service.HEARTBEAT_SECONDS:g} s" in text
    assert f"no progress for {service.STUCK_SECONDS:g} s" in text
    assert f"One request uses the models at a time; {number[service.PREPARED - 1]} more are fetched" in text
    assert f"every hop of at most {number[fetch.MAX_REDIRECTS]} redirects" in text
    settings = Settings()
    assert f"`DIARIST_MAX_WAITING` ({settings.max_waiting})" in text
    assert f"`DIARIST_FETCH_TIMEOUT_SECONDS` ({settings.fetch_timeout_seconds:g})" in text
    checks = yaml.safe_load(read(ROOT / "config.yaml"))["runtime"]["health_checks"]
    assert f"take traffic away after {checks['stop_traffic_threshold_seconds']} s" in text
    assert f"restart the server after {checks['restart_threshold_seconds']} s" in text


# --- commands ---------------------------------------------------------------------------------------------


def targets() -> list[str]:
    return sorted({name for path in DOCUMENTS for name in re.findall(r"\bmake ([a-z][a-z-]*)", in_code(path))})


@pytest.mark.parametrize("target", targets())
def test_every_make_target_exists(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@functools.cache
def whole_command() -> Any:  # noqa: ANN401 - click's group
    """`diarist` with the proxy's commands, as its entry point makes it."""
    cli.add_extensions(cli.app)
    return typer.main.get_command(cli.app)


def diarist_commands() -> list[str]:
    """Command lines of `diarist`, without the variables set in front of them; those in spans too."""
    spans = (span for path in DOCUMENTS for span in re.findall(r"`((?:\w+=\S+ )*diarist [^`\n]+)`", read(path)))
    lines = [line for path in DOCUMENTS for line in commands(path)] + list(spans)
    stripped = (re.sub(r"^(?:\w+=\S+ )*", "", line) for line in lines)
    return sorted({line for line in stripped if line.startswith("diarist ")})


@pytest.mark.parametrize("line", diarist_commands())
def test_every_diarist_command_is_one(line: str) -> None:
    command = whole_command()
    _, *words = shlex.split(line)
    context = command.make_context("diarist", list(words), resilient_parsing=True)
    while hasattr(command, "commands"):
        name, command, words = command.resolve_command(context, words)
        # It raises where an option is unknown, or an argument is missing though others are given.
        context = command.make_context(name, list(words), parent=context, resilient_parsing=not words)
    assert context.command.callback is not None


def test_the_readme_shows_every_command() -> None:
    group = whole_command()
    shown = " ".join(diarist_commands())
    for name in (*group.commands, *(f"models {name}" for name in ("list", "fetch", "pin", "verify"))):
        assert f"diarist {name}" in shown


def requests_shown() -> list[str]:
    """The JSON that a curl or truss command sends, or that stands alone and is a request."""
    sent = [
        words[words.index("-d") + 1]
        for path in DOCUMENTS
        for words in map(shlex.split, commands(path))
        if "-d" in words and words[words.index("-d") + 1].startswith("{")
    ]
    alone = [block for block in fenced(read(HTTP), "json") if '"model_output"' not in block]
    return [*sent, *alone]


@pytest.mark.parametrize("body", requests_shown())
def test_every_request_shown_is_accepted(body: str) -> None:
    given = json.loads(body)
    assert parse_request({"audio_file": "https://example.com/call.mp3", **given})


def test_requests_are_shown_with_curl_and_truss() -> None:
    shown = "\n".join(commands(README))
    assert "truss predict" in shown
    assert "truss push" in shown
    assert shown.count("curl ") >= 2
    assert len(requests_shown()) >= 4


# --- programs and answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("program", [program for path in DOCUMENTS for program in fenced(read(path), "python")])
def test_every_program_is_python(program: str) -> None:
    assert ast.parse(program).body


def test_the_program_runs(sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:  # noqa: ANN401
    """The one that needs no server, as a reader would run it, in a folder with a recording."""
    (program,) = (text for text in fenced(read(README), "python") if "engines.load" in text)
    shutil.copy(sample / "sample.wav", tmp_path / "call.mp3")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "README.md", "exec"), {})  # noqa: S102 - our own file
    printed = capsys.readouterr().out
    assert re.search(r"^ +\d+\.\d s  SPEAKER_00: .*New Jersey", printed, flags=re.MULTILINE)
    assert "New Jersey" in (tmp_path / "call.srt").read_text(encoding="utf-8")


def test_the_conversation_shown_is_what_the_demo_prints(sample: Path, embedded: Stages) -> None:
    """Nearly: processors round differently, and a word may be heard differently for it."""
    (shown,) = fenced(read(README), "text")
    waveform = audio.decode(sample / "sample.wav", max_duration_seconds=60)
    printed = txt.write(pipeline.transcribe(waveform, embedded, Options())).splitlines()
    for line in shown.splitlines():
        nearest = difflib.get_close_matches(line, printed, n=1, cutoff=0.9)
        assert nearest, f"not printed any more: {line}"


def test_the_answer_shown_has_the_keys_of_an_answer() -> None:
    (block,) = fenced(read(README), "json")
    shown = json.loads(block)
    word = Word("Hi", Span(0, 1), 0.5, "SPEAKER_00")
    segment = Segment(Span(0, 1), "Hi", "SPEAKER_00", (word,))
    answer = seed.to_dict(Transcript((segment,), "en", 1.0, (Turn(Span(0, 1), "SPEAKER_00"),)))
    assert list(shown) == list(answer)
    assert list(shown["model_output"][0]) == list(answer["model_output"][0])
    assert list(shown["model_output"][0]["words"][0]) == list(answer["model_output"][0]["words"][0])
    assert list(shown["turns"][0]) == list(answer["turns"][0])
    assert seed.from_dict(shown).model_version.startswith(f"diarist-{__version__}:")
    assert list(shown["timings"]) == ["wait", "fetch", "decode", *STAGES]


def test_the_mishearing_named_as_a_limit_is_one(sample: Path) -> None:
    (segments,) = stm.read(read(sample / "sample.stm")).values()
    (turns,) = rttm.read(read(sample / "sample.rttm")).values()
    assert "Sheila in Texas" in " ".join(segment.text for segment in segments)
    assert len({turn.speaker for turn in turns}) == 2
    assert '"Sheila and Texas" for "Sheila in Texas"' in " ".join(read(README).split())


# --- names, links and files -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_variable_named_is_a_setting(path: Path) -> None:
    settings = {f"DIARIST_{name.upper()}" for name in Settings.model_fields}
    settings |= {name for field in ProxySettings.model_fields.values() for name in tables.variables(field)}
    assert set(re.findall(r"\bDIARIST_[A-Z_]*[A-Z]\b", read(path))) - settings - OTHER_VARIABLES == set()


def slug(heading: str) -> str:
    """The anchor that a heading gets on GitHub."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", read(path)):
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        if anchor:
            assert anchor in map(slug, re.findall(r"^#+ (.+)$", read(target), flags=re.MULTILINE)), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_file_named_is_there(path: Path) -> None:
    named = re.findall(r"`((?:packages|benchmarks|data|docs|make|model|tests|tools)/[\w./-]+)`", read(path))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_decisions_are_numbered_short_and_whole() -> None:
    assert [path.name[:4] for path in ADRS] == [f"{number:04}" for number in range(1, len(ADRS) + 1)]
    for path in ADRS:
        text = read(path)
        assert len(text.splitlines()) <= 30, path.name
        headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
        assert headings == ["Decision", "Why", "Rejected", "Consequences"], path.name


def test_decisions_that_the_code_names_are_written_down() -> None:
    sources = [*(ROOT / "packages").rglob("*.py"), *(ROOT / "model").rglob("*.py"), ROOT / "config.yaml"]
    named = {number for path in sources for number in re.findall(r"docs/adr/(\d{4})", read(path))}
    assert named
    assert named <= {path.name[:4] for path in ADRS}


def test_the_changelog_knows_this_version() -> None:
    assert re.search(rf"^## \[{re.escape(__version__)}\]", read(ROOT / "CHANGELOG.md"), flags=re.MULTILINE)


def test_the_pythons_named_are_those_supported() -> None:
    project = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]
    assert project["requires-python"] == ">=3.11,<3.13"
    assert "Python 3.11 or 3.12" in read(README)
