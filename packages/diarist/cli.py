"""The `diarist` command: how its arguments are spelled. What it does is in `diarist.commands` and behind it.

Only typer is imported here, so that `--help` answers at once. Other packages add commands of their own through
the entry-point group `diarist.commands`: each entry is a function that takes this module's `app`.
"""

from __future__ import annotations

import os
import re
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from diarist.commands.exit_codes import exit_codes

if TYPE_CHECKING:
    from diarist.request import Options
    from diarist.settings import Settings

EXTENSIONS = "diarist.commands"  # the entry-point group

# Of these, those that are installed are named by --version, in this order.
_ENGINES = ("faster-whisper", "ctranslate2", "onnxruntime", "av", "whisperx", "pyannote.audio", "torch")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The weights: list, fetch, check and pin them.")
app.add_typer(models, name="models")


def main() -> None:
    """Run the command line; what the `diarist` script calls."""
    sys.stdout, sys.stderr = (stream or _nowhere() for stream in (sys.stdout, sys.stderr))  # None where it is closed
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")  # a path is printed as it is, whatever bytes it has
    add_extensions(app)
    app(prog_name="diarist")


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def add_extensions(to: typer.Typer) -> None:
    """Let other installed packages add their commands; one that fails is named, and the others work on."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=EXTENSIONS):
        try:
            entry.load()(to)
        except Exception as error:  # noqa: BLE001 - whatever another package does, `diarist transcribe` must run
            print(f"the commands of {entry.value} cannot be used: {error}", file=sys.stderr)  # noqa: T201


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    from diarist import __version__

    typer.echo(f"diarist {__version__}")
    for engine in _ENGINES:
        try:
            typer.echo(f"{engine} {version(engine)}")
        except PackageNotFoundError:
            continue
    raise typer.Exit


@app.callback()
def diarist(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print versions and leave.")
    ] = False,
) -> None:
    """Who said what, when: transcripts with word times and speakers, on this machine.

    \b
    diarist transcribe call.mp3                     print the conversation
    diarist transcribe *.wav -f srt,json -o out     write out/<name>.srt and out/<name>.json
    diarist models list                             which weights there are, and which are here
    """


@app.command()
def transcribe(
    inputs: Annotated[
        list[str], typer.Argument(metavar="FILE_OR_URL", help="Files, http(s) URLs, or - for standard input.")
    ],
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="NAMES",
            help="What to write, separated by commas: json, srt, vtt, txt, tsv, rttm, seglst, label_studio, html.",
        ),
    ] = None,
    output_dir: Annotated[
        str | None,
        typer.Option(
            "--output-dir",
            "-o",
            metavar="DIR",
            help="Where to write <name>.<format>; - prints one format. Without -f and -o the conversation is printed.",
        ),
    ] = None,
    num_speakers: Annotated[int | None, typer.Option(help="How many people speak, where it is known.")] = None,
    min_speakers: Annotated[int | None, typer.Option(help="At least so many people speak.")] = None,
    max_speakers: Annotated[int | None, typer.Option(help="At most so many people speak.")] = None,
    language: Annotated[str | None, typer.Option("--language", "-l", help="en, de, …; else detected.")] = None,
    languages: Annotated[
        str | None, typer.Option(metavar="CODES", help="Languages to detect among, separated by commas: en,de.")
    ] = None,
    translate: Annotated[bool, typer.Option("--translate", help="Write English, whatever is spoken.")] = False,
    channels: Annotated[
        Literal["mix", "split"] | None, typer.Option(help="split takes each channel of the recording for one speaker.")
    ] = None,
    no_diarize: Annotated[bool, typer.Option("--no-diarize", help="Do not tell speakers apart.")] = False,
    no_align: Annotated[bool, typer.Option("--no-align", help="Keep the transcriber's own word times.")] = False,
    initial_prompt: Annotated[str | None, typer.Option(help="Text that shows the style and spelling wanted.")] = None,
    hotwords: Annotated[str | None, typer.Option(help="Words to expect, separated by spaces.")] = None,
    profile: Annotated[
        Literal["embedded", "production"] | None,
        typer.Option(help="Small models without torch, or whisperx and pyannote."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Speech model: name or folder (see models list).")] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"] | None, typer.Option(help="Where the models run.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; 0 takes every core.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary; errors only.")] = False,
) -> None:
    """Transcribe recordings, and say who speaks.

    The paths of the files written, or the conversation itself, go to standard output; progress, notes and errors
    to standard error. A recording that fails is one line there, and the others go on.

    \b
    Exit codes: 0 all done, 1 some failed, 2 wrong use.

    \b
    diarist transcribe interview.mp3
    diarist transcribe meeting.wav -f srt,html -o out --num-speakers 4
    diarist transcribe https://example.com/call.mp3 -f json -o -
    DIARIST_THREADS=4 diarist transcribe *.flac -f rttm
    """
    with exit_codes() as terminal:
        terminal.quiet = quiet
        options = _options(
            language=language,
            languages=[code.strip() for code in languages.split(",")] if languages else None,
            task="translate" if translate else "transcribe",
            num_speakers=num_speakers,
            min_speakers=min_speakers,
            max_speakers=max_speakers,
            channels=channels or "mix",
            diarize=not no_diarize,
            align=not no_align,
            initial_prompt=initial_prompt,
            hotwords=hotwords,
        )
        settings = _settings(profile=profile, asr_model=model, device=device, threads=threads)
        from diarist.commands import transcribe as command

        command.run(inputs, formats, output_dir, options=options, settings=settings, terminal=terminal)


@models.command("list")
def list_models() -> None:
    """Show every model: its state on this machine, size, licence and origin."""
    with exit_codes() as terminal:
        from diarist.commands import models as command

        command.show(_settings(), terminal)


_Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Names of `diarist models list`.")]
_Config = Annotated[Path | None, typer.Option(metavar="FILE", help="The Truss's config.yaml; default the one here.")]


@models.command("fetch")
def fetch_models(
    names: _Names = None,
    tests: Annotated[bool, typer.Option("--tests", help="Also what only the test suite uses.")] = False,
) -> None:
    """Download weights, check them against their hashes, and keep them; without names, the embedded ones.

    \b
    diarist models fetch                    all that `diarist transcribe` needs, 150 MB
    diarist models fetch large-v3 align-de  from the Hugging Face hub, once they are pinned
    """
    with exit_codes() as terminal:
        from diarist.commands import models as command

        command.fetch(_settings(), terminal, names or (), tests=tests)


@models.command("verify")
def verify_models(names: _Names = None) -> None:
    """Hash weights again and compare; without names, all that are here. Exit code 1 where one is altered."""
    with exit_codes() as terminal:
        from diarist.commands import models as command

        command.verify(_settings(), terminal, names or ())


@models.command("pin")
def pin_models(
    names: _Names = None,
    config: _Config = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit code 1 where not pinned.")] = False,
) -> None:
    """Pin hub models to their newest commit: writes revisions and hashes to models.toml, revisions to config.yaml.

    \b
    DIARIST_HF_ACCESS_TOKEN=hf_… diarist models pin     all, with the network on
    diarist models pin large-v3                         one
    diarist models pin --check                          before `truss push`
    """
    with exit_codes() as terminal:
        from diarist.commands import models as command

        if check:
            command.check(_settings(), terminal, config)
        else:
            command.pin(_settings(), terminal, names or (), config)


def _options(**given: object) -> Options:
    """The options, checked as those of a request are; the messages name them as the command line does."""
    from diarist.errors import BadRequest
    from diarist.request import parse_request

    try:
        return parse_request({"audio_file": "given", **given}).options()
    except BadRequest as error:
        name = re.compile(rf"\b({'|'.join(given)})\b")
        raise BadRequest(name.sub(lambda found: "--" + found[1].replace("_", "-"), str(error))) from None


def _settings(**given: object) -> Settings:
    """Settings from the environment, with what the command line gave in front.

    Raises:
        BadRequest: a value is not allowed; the message names its variable.
    """
    import logging

    from pydantic import ValidationError

    from diarist.errors import BadRequest
    from diarist.settings import Settings

    try:
        settings = Settings.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problems = (f"DIARIST_{str(item['loc'][0]).upper()}: {item['msg']}" for item in error.errors())
        raise BadRequest("; ".join(problems)) from None
    # A command speaks through its lines; the log is for those who ask for it.
    level = settings.log_level if "log_level" in settings.model_fields_set else "warning"
    logging.basicConfig(level=level.upper(), format="%(levelname)s %(name)s: %(message)s")
    return settings


if __name__ == "__main__":
    main()
