r"""The Hugging Face hub: download a pinned model, and pin one to a commit and its hashes.

Everything goes through huggingface_hub, so its variables hold: `HF_ENDPOINT` for a mirror, `HF_HUB_OFFLINE=1`
for no access. The answers used are those of its documented API,
https://huggingface.co/docs/huggingface_hub/package_reference/hf_api (`model_info` with `files_metadata`, which asks
`/api/models/<repo>/revision/<revision>?blobs=true`): the commit (`sha`), and for each file its size with the
sha256 where git-lfs keeps it, or git's own blob id (the sha1 of "blob <size>\0" and the bytes) where git does.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo, RepoSibling
from huggingface_hub.utils.tqdm import disable_progress_bars

from diarist.errors import ModelMissing
from diarist.manifest import HubRepo, Manifest, Model, WeightFile

_TIMEOUT_SECONDS = 30  # for one answer of the API


def download(model: Model, folder: Path, *, token: str | None) -> None:
    """Download a pinned model's files into a folder; the caller checks their hashes.

    Raises:
        ModelMissing: no network, no access, or a file is gone; the message says what to do.
    """
    hub = _hub(model)
    for file in model.files:
        _file(hub.repo, hub.revision, file.path, folder, token=token)
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # huggingface_hub's own notes


def pin(model: Model, *, token: str | None) -> tuple[Model, str | None]:
    """Ask the hub for the newest commit of a model, and for the sizes and hashes of the files it wants.

    Returns:
        The model, filled, and a note where the hub names another licence than the manifest.

    Raises:
        ModelMissing: no network, no access, a wanted file is missing, or a file is not what the hub says of it.
    """
    hub = _hub(model)
    with _explained(hub.repo):
        info = HfApi(token=token).model_info(hub.repo, revision="main", files_metadata=True, timeout=_TIMEOUT_SECONDS)
    if not info.sha or not re.fullmatch(r"[0-9a-f]{40}", info.sha):
        raise ModelMissing(f"the hub named no commit of {hub.repo}")
    with tempfile.TemporaryDirectory() as folder:
        files = [
            _pinned(hub.repo, info.sha, sibling, Path(folder), token) for sibling in _wanted(hub, info.siblings or [])
        ]
    values = model.model_dump() | {"hub": hub.model_dump() | {"revision": info.sha}, "files": files}
    return Model.model_validate(values), _licence_note(model, info)


def pin_config(text: str, manifest: Manifest) -> str:
    """Replace the revision in each `hf://repo@revision` of a Truss's config.yaml by the one in the manifest.

    Only the revision changes: comments and layout stay. Repositories that the manifest does not pin are left.
    """
    revisions = {model.hub.repo: model.hub.revision for model in manifest.model if model.hub and model.hub.revision}

    def pinned(match: re.Match[str]) -> str:
        return f"hf://{match['repo']}@{revisions.get(match['repo'], match['revision'])}"

    return _SOURCE.sub(pinned, text)


def unpinned(text: str, manifest: Manifest) -> tuple[str, ...]:
    """What keeps a Truss's config.yaml from being pushed: each `hf://` source that is not pinned as in the manifest."""
    revisions = {model.hub.repo: model.hub.revision for model in manifest.model if model.hub}
    problems = []
    for match in _SOURCE.finditer(text):
        repo, revision = match["repo"], match["revision"]
        if repo not in revisions:
            problems.append(f"{repo} is not in models.toml")
        elif not revisions[repo]:
            problems.append(f"{repo} has no revision in models.toml")
        elif revision != revisions[repo]:
            problems.append(f"{repo} is at {revision} in config.yaml and at {revisions[repo]} in models.toml")
    return tuple(problems)


_SOURCE = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)")


def _hub(model: Model) -> HubRepo:
    if model.hub is None:
        message = f"{model.name} comes from a package, not from the hub"
        raise ModelMissing(message)
    return model.hub


def _wanted(hub: HubRepo, siblings: Sequence[RepoSibling]) -> list[RepoSibling]:
    """The files that the patterns choose; of a pattern "a|b" those of the first part that matches any."""
    chosen: dict[str, RepoSibling] = {}
    for pattern in hub.wanted:
        for part in pattern.split("|"):
            found = {item.rfilename: item for item in siblings if fnmatch.fnmatchcase(item.rfilename, part)}
            chosen |= found
            if found:
                break
    if not any(item.lfs for item in chosen.values()):
        raise ModelMissing(
            f"{hub.repo} holds no weights among {', '.join(hub.wanted)}; correct `wanted` in models.toml"
        )
    return [chosen[name] for name in sorted(chosen)]


def _pinned(repo: str, commit: str, sibling: RepoSibling, folder: Path, token: str | None) -> WeightFile:
    if sibling.lfs:
        return WeightFile(path=sibling.rfilename, bytes=sibling.lfs.size, sha256=sibling.lfs.sha256)
    data = _file(repo, commit, sibling.rfilename, folder, token=token).read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    if blob != sibling.blob_id:
        raise ModelMissing(f"{repo}: {sibling.rfilename} arrived as git blob {blob}, the hub lists {sibling.blob_id}")
    return WeightFile(path=sibling.rfilename, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def _file(repo: str, commit: str, path: str, folder: Path, *, token: str | None) -> Path:
    disable_progress_bars()
    with _explained(repo):
        return Path(hf_hub_download(repo, path, revision=commit, local_dir=folder, token=token))


def _licence_note(model: Model, info: ModelInfo) -> str | None:
    found = next((tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:")), None)
    if found is None or found.lower() == model.licence.lower():
        return None
    return f"the hub says the licence of {info.id} is {found}, models.toml says {model.licence}: correct it there"


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """Turn huggingface_hub's errors into what the operator should do; none of its messages is passed on.

    Its messages may repeat a header, and name addresses that help nobody.
    """
    try:
        yield
    except GatedRepoError:
        raise ModelMissing(
            f"{repo} is behind a licence: accept its terms on its page at the hub, and set DIARIST_HF_ACCESS_TOKEN "
            "to a token of that account"
        ) from None
    except RepositoryNotFoundError:
        raise ModelMissing(
            f"the hub knows no {repo}, or hides it: check its name, or set DIARIST_HF_ACCESS_TOKEN"
        ) from None
    except (OfflineModeIsEnabled, LocalEntryNotFoundError):  # the second: no answer, and nothing cached
        why = "HF_HUB_OFFLINE forbids it: unset it" if constants.HF_HUB_OFFLINE else "check the network"
        raise ModelMissing(f"the hub cannot be reached for {repo}: {why}") from None
    except EntryNotFoundError:
        raise ModelMissing(f"a file of {repo} is gone from the hub: run `diarist models pin` again") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        raise ModelMissing(f"the hub answered {status} for {repo}: try again later") from None
    except (OSError, ValueError) as error:
        raise ModelMissing(
            f"the hub cannot be reached for {repo} ({type(error).__name__}): check the network"
        ) from None
