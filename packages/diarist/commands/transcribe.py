"""`diarist transcribe`: recordings in, files or the printed conversation out, one after the other."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from diarist import audio, pipeline
from diarist.commands.models import fetch_missing
from diarist.commands.terminal import CtrlC, Terminal
from diarist.commands.writing import write_atomically
from diarist.errors import AudioTooLarge, BadRequest, DiaristError, ModelMissing
from diarist.fetch import fetched, redacted
from diarist.formats import FORMATS, Context, render
from diarist.models import ModelStore
from diarist.pipeline import Observer, Stages
from diarist.request import Options
from diarist.settings import Settings
from diarist.types import Transcript

STDOUT = "-"  # as a folder: print instead of writing files
STDIN = "-"  # as an input
MAX_EMBEDDED_BYTES = 50_000_000  # of a recording inside an html page; base64 makes it a third longer

# What browsers play (https://developer.mozilla.org/en-US/docs/Web/Media/Guides/Formats/Containers).
PLAYABLE = {
    ".aac": "audio/aac",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".webm": "video/webm",
}

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """One recording: a path or URL as it was given, and the name that its outputs get, without their suffix."""

    given: str
    name: str

    @property
    def is_url(self) -> bool:
        """Whether it is to be fetched."""
        return _is_url(self.given)

    @property
    def label(self) -> str:
        """How messages call it: a URL, of whatever kind, without its query, which may be a signature."""
        return redacted(self.given) if "://" in self.given else self.given

    @property
    def media_type(self) -> str | None:
        """What a browser would play it as, by its suffix."""
        return PLAYABLE.get(Path(_file_name(self.given)).suffix.lower())


def run(
    inputs: Sequence[str],
    formats: Sequence[str] | None,
    folder: str | None,
    *,
    options: Options,
    settings: Settings,
    terminal: Terminal,
) -> None:
    """Check the arguments, then transcribe: to files where formats or a folder are named, else to be read.

    Raises:
        BadRequest: wrong use, found before anything is loaded.
    """
    names = formats_of(formats or [])
    if folder == STDOUT and len(names) > 1:
        raise BadRequest(f"only one format can be printed, not {', '.join(names)}: give --output-dir a folder")
    if not names:
        names = ("txt",) if folder in {None, STDOUT} else ("json",)
        folder = folder or STDOUT
    sources = sources_of(inputs, written=folder != STDOUT)
    if folder != STDOUT:
        check_outputs(sources, names, Path(folder or "."))
    ctrl_c = CtrlC()
    work = Transcription(settings, options, formats=names, folder=folder or ".", terminal=terminal, ctrl_c=ctrl_c)
    with ctrl_c.watched():
        work.run(sources)


def check_outputs(sources: Sequence[Source], formats: Sequence[str], folder: Path) -> None:
    """Find out before any work that outputs could not be written, or would take the place of a recording.

    Raises:
        BadRequest: the folder is a file; or an output is one of the inputs, by whatever name.
    """
    try:
        there = next((path for path in (folder, *folder.absolute().parents) if path.exists()), folder)
        if not there.is_dir():
            raise BadRequest(f"--output-dir {folder}: {there} is not a folder: name one, or a new one")
    except OSError as error:
        raise BadRequest(f"--output-dir {folder}: {error.strerror}") from None
    inputs = {identity: source.given for source in sources if (identity := _identity(_place(source)))}
    for source in sources:
        for name in formats:
            path = folder / _output_name(source, name)
            if (identity := _identity(path)) in inputs:
                message = f"{path} would be written over the recording {inputs[identity]}"
                raise BadRequest(f"{message}: name another folder with --output-dir")


def _place(source: Source) -> Path | int:
    """The path of an input, or the descriptor of standard input."""
    return Path(source.given) if source.given != STDIN else sys.stdin.fileno() if sys.stdin else -1


def _identity(place: Path | int) -> tuple[int, int] | None:
    """What two places of one file have in common; a URL, like a file that is not there, has nothing."""
    try:
        found = os.stat(place)  # noqa: PTH116 - a descriptor has no path
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _output_name(source: Source, format_name: str) -> str:
    return source.name + FORMATS[format_name].suffix


def sources_of(given: Sequence[str], *, written: bool = True) -> tuple[Source, ...]:
    """Name the outputs of each input: by its stem, or by its whole file name where several share the stem.

    >>> [source.name for source in sources_of(["a/call.mp3", "https://host/x/call.wav?sig=1", "talk.flac"])]
    ['call.mp3', 'call.wav', 'talk']

    Raises:
        BadRequest: two inputs would write the same files, where any are written.
    """
    stems = Counter(_stem(item).lower() for item in given)  # some file systems ignore case
    names = [_stem(item) if stems[_stem(item).lower()] == 1 else _file_name(item) for item in given]
    twice = [name for name, times in Counter(name.lower() for name in names).items() if times > 1]
    if twice and written:
        message = f"two inputs are both called {twice[0]} and would write the same files: run them one by one"
        raise BadRequest(f"{message}, with a different --output-dir each")
    return tuple(Source(item, name) for item, name in zip(given, names, strict=True))


def formats_of(given: Sequence[str]) -> tuple[str, ...]:
    """Names of formats, separated by commas or given one by one, each once.

    >>> formats_of(["json,srt", "srt"])
    ('json', 'srt')

    Raises:
        BadRequest: there is no such format.
    """
    names = [name.strip() for item in given for name in item.split(",") if name.strip()]
    for name in names:
        if name not in FORMATS:
            raise BadRequest(f"there is no format {name!r}; there are {', '.join(FORMATS)}")
    return tuple(dict.fromkeys(names))


class Transcription:
    """The work on a batch of recordings; the models are loaded once, when the first recording has been read."""

    def __init__(
        self,
        settings: Settings,
        options: Options,
        *,
        formats: Sequence[str],
        folder: str,
        terminal: Terminal,
        ctrl_c: CtrlC,
    ) -> None:
        self._settings = settings
        self._options = options
        self._formats = formats
        self._folder = folder
        self._terminal = terminal
        self._ctrl_c = ctrl_c
        self._loaded: Stages | None = None

    def run(self, sources: Sequence[Source]) -> None:
        """Transcribe each; what fails is one line at the terminal, and the others go on.

        Missing weights end the batch, since every recording needs them.
        """
        for source in sources:
            try:
                self._one(source, heading=len(sources) > 1)
            except BrokenPipeError:
                raise  # nobody reads the results any more
            except Exception as error:
                self._ctrl_c.check()  # the error may be its doing
                _logger.debug("%s failed", source.label, exc_info=True)
                self._terminal.error(source.label, _explained(error))
                if isinstance(error, ModelMissing):
                    return

    def _one(self, source: Source, *, heading: bool) -> None:
        with _local(source, self._settings) as path:
            if self._loaded is None and self._settings.profile == "embedded":
                fetch_missing(ModelStore(self._settings), self._terminal)
            with self._terminal.watching(source.label) as observer:
                transcript = self._transcribed(path, observer)
            texts = self._rendered(source, transcript, path)
        if self._folder == STDOUT:
            if heading:
                self._terminal.result(f"# {source.label}")
            for text in filter(None, texts.values()):
                self._terminal.result(text.removesuffix("\n"))
        else:
            for name, text in texts.items():
                write_atomically(Path(self._folder, name), text)
                self._terminal.result(str(Path(self._folder, name)))
        for note in transcript.notes:
            self._terminal.say(f"{source.label}: note: {note}")
        self._terminal.say(f"{source.label}: {_summary(transcript)}")

    def _transcribed(self, path: Path, observer: Observer) -> Transcript:
        observer("decode", 0, 0)
        limit = self._settings.max_duration_seconds
        if self._options.channels == "split":
            with self._ctrl_c.held():
                channels = audio.decode_channels(path, max_duration_seconds=limit)
            return pipeline.transcribe_channels(channels, self._stages(observer), self._options, observer=observer)
        with self._ctrl_c.held():
            waveform = audio.decode(path, max_duration_seconds=limit)
        return pipeline.transcribe(waveform, self._stages(observer), self._options, observer=observer)

    def _stages(self, observer: Observer) -> Stages:
        if self._loaded is None:
            from diarist import engines  # noqa: PLC0415 - the libraries of the models: after the arguments are checked

            observer("load", 0, 0)
            self._loaded = engines.load(self._settings)
        return self._loaded

    def _rendered(self, source: Source, transcript: Transcript, path: Path) -> dict[str, str]:
        """Texts by file name. All are made before the first is written, so that a failure leaves none behind."""
        context = Context(file_id=re.sub(r"\s+", "_", source.name))
        if "html" in self._formats and source.media_type and path.stat().st_size <= MAX_EMBEDDED_BYTES:
            context = Context(file_id=context.file_id, audio=path.read_bytes(), media_type=source.media_type)
        return {_output_name(source, name): render(name, transcript, context) for name in self._formats}


@contextmanager
def _local(source: Source, settings: Settings) -> Iterator[Path]:
    if source.is_url:
        with fetched(source.given, settings) as path:
            yield path
        return
    if "://" in source.given:
        raise BadRequest("this is a URL that is not fetched: http and https are")
    path = Path(source.given)
    if source.given == STDIN:
        if sys.stdin is None:
            raise BadRequest("standard input is closed")
        with _spooled(sys.stdin.buffer, settings.max_bytes) as spooled:
            yield spooled
    elif path.is_fifo() or path.is_char_device():
        with path.open("rb") as pipe, _spooled(pipe, settings.max_bytes) as spooled:
            yield spooled
    elif not source.given or not path.exists():
        raise BadRequest("there is no such file")
    elif path.is_dir():
        raise BadRequest(f"this is a folder: name the recordings in it, as in {path}/*.wav")
    else:
        yield path


@contextmanager
def _spooled(pipe: BinaryIO, limit: int) -> Iterator[Path]:
    """What comes through a pipe, in a temporary file: decoding has to go back and forth in it.

    Raises:
        AudioTooLarge: more comes than `limit` bytes.
        BadRequest: it is a terminal.
    """
    if pipe.isatty():
        raise BadRequest("a terminal is no recording: name a file, or send one through a pipe")
    with TemporaryDirectory(prefix="diarist-") as folder:
        path = Path(folder, "recording")
        with path.open("wb") as file:
            while block := pipe.read(2**20):
                file.write(block)
                if file.tell() > limit:
                    raise AudioTooLarge(f"more than {limit} bytes came through the pipe, the limit (DIARIST_MAX_BYTES)")
        yield path


def _is_url(given: str) -> bool:
    return given.lower().startswith(("http://", "https://"))


def _file_name(given: str) -> str:
    if given == STDIN:
        return "stdin"
    if not _is_url(given):
        return Path(given).name or "recording"
    # A path's last part may hold anything once it is decoded: separators too.
    name = re.sub(r"[/\\\0]", "_", unquote(urlsplit(given).path.rpartition("/")[2]))
    return "recording" if name in {"", ".", ".."} else name


def _stem(given: str) -> str:
    return Path(_file_name(given)).stem


def _summary(transcript: Transcript) -> str:
    if not transcript.segments:
        speech = f", {transcript.uncovered:.1f} s of them detected as speech" if transcript.uncovered else ""
        return f"no words in {transcript.duration:.1f} s{speech}"
    seconds = sum(transcript.timings.values())
    speakers = f"{len(transcript.speakers)} speaker{'s'[: len(transcript.speakers) != 1]}"
    words = sum(len(segment.words) for segment in transcript.segments)
    return f"{words} words, {speakers}, {transcript.duration:.1f} s of audio in {seconds:.1f} s"


def _explained(error: Exception) -> str:
    if isinstance(error, DiaristError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
    return f"the engine failed: {type(error).__name__}: {error} (DIARIST_LOG_LEVEL=debug shows where)"
