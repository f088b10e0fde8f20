"""Pinning and downloading from the hub, through the command line and the real huggingface_hub, against a fake hub."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diarist import manifest as manifests
from diarist.hub import pin_config, unpinned
from diarist.manifest import HubRepo, Manifest, Model, WeightFile
from fake_hub import TOKEN, FakeHub, Repo

REVOKED = "hf_a_token_that_was_revoked"
WEIGHTS = b"weights" * 100
ASR = Repo(
    files={"config.json": b"{}", "model.bin": WEIGHTS, "README.md": b"read me", "vocabulary.txt": b"a\nb"},
    commit="a" * 40,
)
ALIGNER = Repo(
    files={"config.json": b"[]", "model.safetensors": WEIGHTS, "pytorch_model.bin": WEIGHTS},
    commit="b" * 40,
    licence="apache-2.0",
)
GATED = Repo(
    files={"config.yaml": b"pipeline: x", "embedding/pytorch_model.bin": WEIGHTS, "README.md": b""},
    commit="c" * 40,
    licence="cc-by-4.0",
    gated=True,
)
REPOS = {"Systran/large": ASR, "facebook/wav2vec2": ALIGNER, "pyannote/community": GATED}
CONFIG = """\
# A comment that stays.
weights:
  - source: "hf://Systran/large@main" # and this one
    mount_location: /models/asr
  - source: "hf://pyannote/community@main"
  - source: "hf://someone/else@main"
"""


def entry(name: str, repo: str, wanted: tuple[str, ...], licence: str = "MIT") -> Model:
    hub = HubRepo(repo=repo, revision="", wanted=wanted)
    return Model(name=name, role="asr", used_by="production", licence=licence, about="for a test", hub=hub)


@pytest.fixture
def truss(tmp_path: Path) -> Path:
    """A Truss's folder: config.yaml, and data/models.toml with nothing pinned."""
    models = (
        entry("large", "Systran/large", ("config.json", "model.bin", "vocabulary.*")),
        entry("align", "facebook/wav2vec2", ("config.json", "model.safetensors|pytorch_model.bin"), "Apache-2.0"),
        entry("community", "pyannote/community", ("config.yaml", "*/*"), "CC-BY-4.0"),
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "models.toml").write_text(manifests.dump(Manifest(model=models)))
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def diarist(truss: Path, hub: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `diarist models …` with its cache and manifest in `truss`, and with variables of its own."""
    forgotten = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "DIARIST_HF_ACCESS_TOKEN")
    kept = {name: value for name, value in os.environ.items() if name not in forgotten}
    environment = kept | {
        "HF_ENDPOINT": hub,
        "HF_HOME": str(truss / "hf-home"),
        "DIARIST_DATA_DIR": str(truss / "data"),
        "DIARIST_MODELS_DIR": str(truss / "cache"),
    }
    command = [sys.executable, "-m", "diarist.cli", "models", *arguments]
    return subprocess.run(
        command, env=environment | variables, capture_output=True, text=True, timeout=120, check=False
    )


def manifest(truss: Path) -> Manifest:
    return manifests.load(truss / "data" / "models.toml")


def test_pin_fills_commits_sizes_and_hashes_of_the_wanted_files(truss: Path) -> None:
    with FakeHub(REPOS) as hub:
        done = diarist(truss, hub.url, "pin", DIARIST_HF_ACCESS_TOKEN=TOKEN)
    assert (done.returncode, done.stderr) == (0, f"{truss}/config.yaml: revisions written\n")
    large, align, community = manifest(truss).model
    assert large.hub == HubRepo(
        repo="Systran/large", revision="a" * 40, wanted=("config.json", "model.bin", "vocabulary.*")
    )
    assert large.files == tuple(
        WeightFile(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for path, data in sorted(ASR.files.items())
        if path != "README.md"
    )
    assert [file.path for file in align.files] == ["config.json", "model.safetensors"]  # the first of the two
    assert [file.path for file in community.files] == ["config.yaml", "embedding/pytorch_model.bin"]


def test_pin_does_not_download_what_git_lfs_already_names_by_its_sha256(truss: Path) -> None:
    with FakeHub(REPOS) as hub:
        assert diarist(truss, hub.url, "pin", "large").returncode == 0
    assert [line for line in hub.asked if line.endswith("model.bin")] == []
    assert f"GET /Systran/large/resolve/{'a' * 40}/config.json" in hub.asked


def test_pin_writes_the_revisions_into_config_yaml_and_leaves_the_rest(truss: Path) -> None:
    with FakeHub(REPOS) as hub:
        diarist(truss, hub.url, "pin", DIARIST_HF_ACCESS_TOKEN=TOKEN)
    expected = CONFIG.replace("large@main", f"large@{'a' * 40}").replace("community@main", f"community@{'c' * 40}")
    assert (truss / "config.yaml").read_text() == expected


def test_pin_without_a_network_says_so_and_changes_nothing(truss: Path) -> None:
    before = (truss / "data" / "models.toml").read_text()
    done = diarist(truss, "http://127.0.0.1:1", "pin")
    assert done.returncode == 1
    assert done.stderr == "diarist: the hub cannot be reached for Systran/large (ConnectionError): check the network\n"
    assert (truss / "data" / "models.toml").read_text() == before
    assert (truss / "config.yaml").read_text() == CONFIG


def test_pin_of_a_gated_model_without_a_token_says_what_to_accept_and_set(truss: Path) -> None:
    with FakeHub(REPOS) as hub:
        done = diarist(truss, hub.url, "pin")
    assert done.returncode == 1
    assert "pyannote/community is behind a licence: accept its terms" in done.stderr
    assert "DIARIST_HF_ACCESS_TOKEN" in done.stderr
    assert manifest(truss).find("large").pinned is False  # all, or nothing


def test_a_token_never_shows_in_a_message(truss: Path) -> None:
    with FakeHub(REPOS) as hub:
        done = diarist(truss, hub.url, "pin", DIARIST_HF_ACCESS_TOKEN=REVOKED)
    assert done.returncode == 1
    assert REVOKED not in done.stdout + done.stderr


def test_pin_refuses_a_file_that_is_not_the_one_that_the_hub_lists(truss: Path) -> None:
    lying = Repo(files=ASR.files, commit="a" * 40, listed={"config.json": b"other"})
    with FakeHub({"Systran/large": lying}) as hub:
        done = diarist(truss, hub.url, "pin", "large")
    assert done.returncode == 1
    assert "config.json arrived as git blob" in done.stderr
    assert manifest(truss).find("large").pinned is False


def test_pin_refuses_a_repository_without_any_weights(truss: Path) -> None:
    with FakeHub({"Systran/large": Repo(files={"config.json": b"{}"})}) as hub:
        done = diarist(truss, hub.url, "pin", "large")
    assert done.returncode == 1
    assert "Systran/large holds no weights among config.json, model.bin, vocabulary.*" in done.stderr


def test_pin_says_where_the_hub_names_another_licence(truss: Path) -> None:
    with FakeHub({"Systran/large": Repo(files=ASR.files, licence="cc-by-nc-4.0")}) as hub:
        done = diarist(truss, hub.url, "pin", "large")
    assert "the licence of Systran/large is cc-by-nc-4.0, models.toml says MIT" in done.stderr


def test_a_pinned_model_is_downloaded_checked_and_found_again_offline(truss: Path) -> None:
    with FakeHub(REPOS) as hub:
        diarist(truss, hub.url, "pin", DIARIST_HF_ACCESS_TOKEN=TOKEN)
        done = diarist(truss, hub.url, "fetch", "community", DIARIST_HF_ACCESS_TOKEN=TOKEN)
    folder = truss / "cache" / "community" / ("c" * 40)
    assert (done.returncode, done.stdout) == (0, f"{folder}\n")
    visible = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in visible} == {
        "config.yaml": b"pipeline: x",
        "embedding/pytorch_model.bin": WEIGHTS,
    }
    assert diarist(truss, "http://127.0.0.1:1", "fetch", "community").stdout == f"{folder}\n"


def test_a_model_that_changed_under_its_commit_is_refused(truss: Path) -> None:
    with FakeHub(REPOS) as hub:
        diarist(truss, hub.url, "pin", "large")
    changed = Repo(files={**ASR.files, "model.bin": WEIGHTS.upper()}, commit="a" * 40)
    with FakeHub({"Systran/large": changed}) as hub:
        done = diarist(truss, hub.url, "fetch", "large")
    assert done.returncode == 1
    assert "the download of large is not what models.toml says" in done.stderr
    assert not (truss / "cache" / "large").exists()


def test_the_hub_is_not_asked_where_it_is_forbidden(truss: Path) -> None:
    with FakeHub(REPOS) as hub:
        diarist(truss, hub.url, "pin", "large")
        asked = len(hub.asked)
        done = diarist(truss, hub.url, "fetch", "large", HF_HUB_OFFLINE="1")
        assert len(hub.asked) == asked
    assert done.returncode == 1
    assert done.stderr.endswith(
        "large: the hub cannot be reached for Systran/large: HF_HUB_OFFLINE forbids it: unset it\n"
    )


def test_check_names_each_source_that_is_not_pinned(truss: Path) -> None:
    done = diarist(truss, "http://127.0.0.1:1", "pin", "--check")
    assert done.returncode == 1
    assert "Systran/large has no revision in models.toml; run `diarist models pin`" in done.stderr
    assert "someone/else is not in models.toml" in done.stderr


def test_check_is_content_where_config_and_manifest_agree() -> None:
    model = entry("large", "Systran/large", ("model.bin",))
    hub = HubRepo(repo="Systran/large", revision="a" * 40, wanted=("model.bin",))
    file = WeightFile(path="model.bin", bytes=1, sha256="0" * 64)
    pinned = Manifest(model=(model.model_copy(update={"hub": hub, "files": (file,)}),))
    text = pin_config("source: hf://Systran/large@main", pinned)
    assert text == f"source: hf://Systran/large@{'a' * 40}"
    assert unpinned(text, pinned) == ()
    assert unpinned("source: hf://Systran/large@v1", pinned) == (
        f"Systran/large is at v1 in config.yaml and at {'a' * 40} in models.toml",
    )
