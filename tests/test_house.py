"""Rules that hold for the whole repository: who imports what, what is pinned, and what stands in no file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ROOT / "packages"
MODULES = sorted(PACKAGES.rglob("*.py"))
HEAVY = ("torch", "torchaudio", "whisperx", "pyannote", "fastapi", "faster_whisper", "onnxruntime", "label_studio_sdk")

# Hosts of package registries: a pin with an address binds every user to somebody's mirror.
REGISTRIES = re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.(com|org)|deb\.debian\.org|conda\.anaconda\.org|index-url")
HOMES = re.compile(r"(?<![\w.])/(root|home/\w+|Users/\w+)/")


def tracked(*patterns: str) -> list[Path]:
    """Files that git has, or would have, in this tree."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGES).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Names of modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def loaded_by(code: str) -> set[str]:
    """Names of modules that a new Python has loaded after running some code."""
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split())


def test_importing_the_package_and_its_command_line_loads_no_engine() -> None:
    loaded = loaded_by("import diarist.cli, diarist.formats, diarist.request, diarist.settings, diarist.models")
    assert sorted(name for name in loaded if name.split(".")[0] in HEAVY) == []


def test_loading_the_embedded_engines_imports_no_torch() -> None:
    code = (
        "from diarist import engines\nfrom diarist.settings import Settings\nengines.load(Settings(profile='embedded'))"
    )
    loaded = loaded_by(code)
    assert "onnxruntime" in loaded
    assert sorted(name for name in loaded if name.split(".")[0] in {"torch", "whisperx", "pyannote"}) == []


def test_the_command_line_loads_little_before_it_knows_what_to_do() -> None:
    loaded = loaded_by("import diarist.cli")
    assert not loaded & {"numpy", "pydantic", "rich", "av", "huggingface_hub"}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_one_way(path: Path) -> None:
    """The engine knows no proxy; values, errors and formats know no engine; nothing imports a host."""
    name, found = module_name(path), imports(path)
    if name.startswith("diarist.") or name == "diarist":
        assert not [other for other in found if other.startswith("diarist_proxy")]
    if name.startswith("diarist.formats") or name in {"diarist.types", "diarist.errors", "diarist.request"}:
        allowed = ("diarist.formats", "diarist.types", "diarist.errors", "diarist.request", "diarist.text")
        assert [other for other in found if other.startswith("diarist.") and not other.startswith(allowed)] == []
    if not name.startswith("diarist.commands"):
        assert not [other for other in found if other.startswith("diarist.cli")]
    if not name.startswith(("diarist.commands", "diarist.cli", "diarist_proxy.commands", "diarist_proxy.cli")):
        assert not [other for other in found if other.startswith("diarist.commands")]


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_every_module_says_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert docstring.splitlines()[0].strip()


def test_no_tracked_file_names_a_package_registry_or_somebodys_home() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in tracked()
        if path != Path(__file__)
        for match in (*REGISTRIES.finditer(text_of(path)), *HOMES.finditer(text_of(path)))
    ]
    assert found == []


def text_of(path: Path) -> str:
    """A file's text, without the options that keep addresses out of it; nothing for what is not text."""
    text = path.read_bytes().decode("utf-8", errors="replace")
    return "" if "\0" in text else text.replace("--no-emit-index-url", "")


def test_no_tracked_file_is_large() -> None:
    """Weights and recordings are fetched, not committed."""
    assert [str(path) for path in tracked() if path.stat().st_size > 1_000_000] == []


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE))


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_locked_at_the_version_that_pyproject_pins() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked, locked_dev = pins(ROOT / "requirements.txt"), pins(ROOT / "requirements-dev.txt")
    for requirement in project["dependencies"]:
        name, version = requirement.split("==")
        assert locked[canonical(name)] == version
    for requirement in project["optional-dependencies"]["whisperx"]:
        name, version = requirement.split("==")
        assert locked_dev[canonical(name)] == version
        assert canonical(name) not in locked


def test_the_plain_lock_is_part_of_the_development_lock() -> None:
    plain, dev = pins(ROOT / "requirements.txt"), pins(ROOT / "requirements-dev.txt")
    assert {name: version for name, version in plain.items() if dev.get(name) != version} == {}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_locked_package_has_hashes(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    followed = [after.strip().startswith("--hash=sha256:") for line, after in pairwise(lines) if "==" in line]
    assert followed
    assert all(followed)
