"""The Truss as `truss push` would read it, and as its image would hold it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from diarist.settings import Settings
from truss_environment import ROOT, stage, truss_python


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())
    return loaded


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage(tmp_path_factory.mktemp("staged") / "root")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What `truss_lock.py validate` reads, in a folder of its own, to be spoiled."""
    for path in (ROOT / "config.yaml", ROOT / "pyproject.toml", *ROOT.glob("requirements*")):
        shutil.copy(path, tmp_path)
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "truss_lock.py", tmp_path / "tools")
    return tmp_path


def validate(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(truss_python()), str(folder / "tools" / "truss_lock.py"), "validate"]
    return subprocess.run(command, check=False, timeout=120, capture_output=True, text=True)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_truss_push_accepts_the_configuration_and_its_versions_are_the_packages() -> None:
    result = validate(ROOT)
    assert result.returncode == 0, result.stderr


def test_a_misspelt_key_is_refused(copy: Path) -> None:
    change(copy / "config.yaml", "predict_concurrency", "predict_concurency")
    result = validate(copy)
    assert result.returncode != 0
    assert "predict_concurency" in result.stderr


def test_a_version_that_is_not_the_packages_is_refused(copy: Path) -> None:
    change(copy / "requirements-image.txt", "numpy==2.2.6", "numpy==2.2.5")
    result = validate(copy)
    assert result.returncode != 0
    assert "pyproject.toml wants numpy==2.2.6, requirements-image.txt has numpy==2.2.5" in result.stderr


def test_a_version_that_the_server_does_not_take_is_refused(copy: Path) -> None:
    change(copy / "requirements-image.txt", "fastapi==", "fastapi==0.130.0 # ")
    result = validate(copy)
    assert result.returncode != 0
    assert "the Truss server wants fastapi" in result.stderr


def test_hashes_are_refused_since_they_would_bring_the_old_numpy_back(copy: Path) -> None:
    change(copy / "requirements-image.txt", "numpy==2.2.6", f"numpy==2.2.6 --hash=sha256:{'0' * 64}")
    result = validate(copy)
    assert result.returncode != 0
    assert "numpy back under 2" in result.stderr


def test_the_first_install_leaves_nothing_for_the_second(staged: Path) -> None:
    """Truss installs our file, then what its server needs besides: with every package pinned, that is nothing."""
    assert (staged / "user_requirements.txt").read_text() == (ROOT / "requirements-image.txt").read_text()
    rest = (staged / "requirements.txt").read_text().splitlines()
    assert [line for line in rest if line and not line.startswith(("#", "-i "))] == []


def test_the_image_holds_the_package_the_model_and_the_list_of_weights_and_no_more(staged: Path) -> None:
    assert {path.name for path in staged.iterdir()} == {
        "app", "packages", "constraints.txt", "requirements.txt", "user_requirements.txt",
    }  # fmt: skip
    assert [path.name for path in (staged / "packages").iterdir()] == ["diarist"]
    assert (staged / "app" / "model" / "model.py").is_file()
    assert {path.name for path in (staged / "app" / "data").iterdir()} == {"models.toml"}


def test_a_push_leaves_out_tests_documents_environments_and_history(tmp_path: Path) -> None:
    """What is pushed is what truss's own rules leave of the folder."""
    for name in (".git/HEAD", ".venv/bin/python", "tests/test_x.py", "docs/x.md", "build/x", "benchmarks/x.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    for name in ("config.yaml", ".truss_ignore", "requirements-image.txt", "model", "packages", "data", "README.md"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    script = (
        "import pathlib, sys; from truss.util import path as p; root = pathlib.Path(sys.argv[1]);"
        "patterns = p.load_trussignore_patterns() + p.load_trussignore_patterns_from_truss_dir(root);"
        "print(*sorted({str(f.relative_to(root)).split('/')[0] for f in p.collect_files(root, patterns)}))"
    )
    pushed = subprocess.run(
        [str(truss_python()), "-c", script, str(tmp_path)], check=True, timeout=60, capture_output=True, text=True
    )
    assert pushed.stdout.split() == ["config.yaml", "data", "model", "packages", "requirements-image.txt"]


def test_every_setting_of_the_deployment_exists_and_is_valid(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for name in config["environment_variables"] if name.startswith("DIARIST_")]
    assert {name.removeprefix("DIARIST_").lower() for name in names} <= set(Settings.model_fields)
    for name in names:
        monkeypatch.setenv(name, config["environment_variables"][name])
    settings = Settings()
    assert settings.profile == "production"
    mounts = {Path(weights["mount_location"]) for weights in config["weights"]}
    assert settings.asr_model
    assert settings.diarization_model
    assert settings.align_dir
    assert mounts == {Path(settings.asr_model), Path(settings.diarization_model), settings.align_dir / "en"}


def test_telemetry_and_downloads_are_off_in_the_deployment(config: dict[str, Any]) -> None:
    assert config["environment_variables"]["PYANNOTE_METRICS_ENABLED"] == "0"
    assert config["environment_variables"]["HF_HUB_OFFLINE"] == "1"


def test_the_server_lets_in_more_requests_than_may_wait_so_that_one_too_many_can_be_told(
    config: dict[str, Any],
) -> None:
    assert config["runtime"]["predict_concurrency"] > Settings().max_waiting


def test_weights_without_a_commit_are_not_pushed(weights: Path) -> None:
    result = check_pins(weights)
    assert result.returncode != 0
    assert "Systran/faster-whisper-large-v3 has no revision in models.toml" in result.stderr
    assert "diarist models pin" in result.stderr


def test_weights_at_the_commits_of_the_manifest_are_pushed(weights: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    file = f'files = [{{ path = "model.bin", bytes = 1, sha256 = "{"0" * 64}" }}]'
    manifest = (weights / "data" / "models.toml").read_text()
    pinned = re.sub(r'^(hub = .*revision = )""(.*)$', rf'\1"{commit}"\2\n{file}', manifest, flags=re.MULTILINE)
    (weights / "data" / "models.toml").write_text(pinned)
    change(weights / "config.yaml", "@main", f"@{commit}")
    result = check_pins(weights)
    assert result.returncode == 0, result.stderr


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The configuration and the manifest, unpinned, in a folder of their own."""
    (tmp_path / "data").mkdir()
    manifest = re.sub(r'revision = "\w+"', 'revision = ""', (ROOT / "data" / "models.toml").read_text())
    entries = [re.sub(r"^files = .*?^\]", "", entry, flags=re.DOTALL | re.MULTILINE) if "\nhub = " in entry else entry
               for entry in manifest.split("[[model]]")]  # fmt: skip
    (tmp_path / "data" / "models.toml").write_text("[[model]]".join(entries))
    config = re.sub(r"(hf://[^@]+)@\w+", r"\1@main", (ROOT / "config.yaml").read_text())
    (tmp_path / "config.yaml").write_text(config)
    return tmp_path


def check_pins(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "diarist.cli", "models", "pin", "--check"],
        check=False, timeout=60, capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT / "packages"), "DIARIST_DATA_DIR": str(folder / "data")},
    )  # fmt: skip


def test_the_server_of_the_tests_is_the_one_that_is_deployed(config: dict[str, Any]) -> None:
    version = config["runtime"]["truss_server_version_override"]
    assert f"truss=={version}\n" in (ROOT / "requirements-truss.in").read_text()


def test_the_adapter_stays_thin_and_the_package_knows_no_web_framework() -> None:
    assert len((ROOT / "model" / "model.py").read_text().splitlines()) <= 80
    script = (
        "import sys; import diarist.service; print(*(m for m in ('fastapi', 'starlette', 'torch') if m in sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], check=True, timeout=60, capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT / "packages"), "PATH": ""},
    )  # fmt: skip
    assert loaded.stdout.split() == []
