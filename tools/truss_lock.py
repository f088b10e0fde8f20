"""Pin, and check, what the Truss installs.

Usage, with the Python of the `truss` environment: truss_lock.py write | validate | check

`write` compiles, from pyproject.toml and the server requirements inside the pinned truss wheel:

* requirements-truss.txt          the truss command (hashed)
* requirements-truss-server.txt   the package's plain dependencies and the server, for a laptop (hashed)
* requirements-image.txt          package, whisperx extra and server, for config.yaml (plain; see there)

`validate` reads config.yaml as `truss push` would, and compares the last two with pyproject.toml,
requirements-dev.txt and the server's requirements. It works offline.

`check` does that, renders the image's build context, and resolves the image's two installs as its Dockerfile runs
them, from the package index. It fails where the second would change what the first installed.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from importlib import resources
from itertools import pairwise
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from truss.base.truss_config import TrussConfig
from truss.truss_handle.build import load
from truss.util.path import copy_tree_path, load_trussignore_patterns_from_truss_dir

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).parent / "uv"
IMAGE = ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_35")  # Ubuntu 22.04, py311
LAPTOP = ("--python-version", "3.11", "--universal", "--generate-hashes")
# Versions that the server pins and the development environment, where the proxy has its own, must not decide.
SERVERS_OWN = {"cython", "fastapi", "starlette"}


def parse(line: str) -> Requirement | None:
    """The requirement on a line, or None for options, comments and blanks."""
    try:
        return Requirement(re.split(r"\s+#", line)[0].strip())
    except InvalidRequirement:
        return None


# The environment that markers are read for: the image's.
LINUX = {
    "python_version": "3.11",
    "python_full_version": "3.11.9",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "os_name": "posix",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "extra": "",
}


def requirements(text: str) -> dict[str, Requirement]:
    """The requirements of a file's text, by name; options (an index address among them) and comments are left out."""
    found = (parse(line.split(" \\")[0].split(" --hash")[0]) for line in text.splitlines())
    wanted = (item for item in found if item and (not item.marker or item.marker.evaluate(LINUX)))
    return {canonicalize_name(item.name): item for item in wanted}


def server_requirements() -> dict[str, Requirement]:
    """What the server of the installed truss needs."""
    return requirements((resources.files("truss") / "templates/server/requirements.txt").read_text())


def package_requirements(*extras: str) -> dict[str, Requirement]:
    """What pyproject.toml pins, with the named extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return requirements("\n".join(lines))


def resolve(
    wanted: dict[str, Requirement], *constraints: dict[str, Requirement], options: tuple[str, ...] = IMAGE
) -> str:
    """The text of a lock file for requirements, within constraints (every one of which must hold).

    Raises:
        subprocess.CalledProcessError: they cannot be satisfied together; its `stderr` says why.
    """
    with tempfile.TemporaryDirectory() as folder:
        files: list[Path] = []
        for number, group in enumerate((wanted, *constraints)):
            files.append(Path(folder) / f"{number}.txt")
            files[-1].write_text("".join(f"{item}\n" for item in group.values()))
        bounds = [part for file in files[1:] for part in ("-c", str(file))]
        hidden = ("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links")
        command = [str(UV), "pip", "compile", "--quiet", *options, *hidden, *bounds, str(files[0])]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def write() -> None:
    """Compile the three lock files."""
    development = requirements((ROOT / "requirements-dev.txt").read_text())
    for name in SERVERS_OWN:
        development.pop(name, None)
    package, server = package_requirements(), server_requirements()
    tool = requirements((ROOT / "requirements-truss.in").read_text())
    _store("requirements-truss.txt", resolve(tool, options=LAPTOP))
    locked = requirements((ROOT / "requirements.txt").read_text())
    laptop = resolve(server | package, locked, options=LAPTOP)
    _store("requirements-truss-server.txt", laptop)
    image = server | package | package_requirements("whisperx")
    _store("requirements-image.txt", resolve(image, development, requirements(laptop)))


def validate() -> None:
    """Fail, with the reason, where the Truss could not be pushed or pins other versions than the package."""
    config = TrussConfig.from_yaml(ROOT / "config.yaml")
    config.validate_forbid_extra()  # only `truss push` calls it otherwise: from_yaml lets a misspelt key pass
    if config.requirements_file != "requirements-image.txt":
        sys.exit("config.yaml must install requirements-image.txt")
    if "--hash" in (ROOT / "requirements-image.txt").read_text():
        sys.exit("requirements-image.txt must have no hashes: truss's second install would put numpy back under 2")
    wrong = [*disagreements("requirements-image.txt", "whisperx"), *disagreements("requirements-truss-server.txt")]
    if wrong:
        sys.exit("\n".join([*wrong, "run `make lock-truss`"]))
    print("config.yaml is valid and its versions agree")


def disagreements(name: str, *extras: str) -> list[str]:
    """What a lock file pins otherwise than those who have a say in it want.

    The server has none in what the package pins: it wants numpy under 2.
    """
    pinned, package = _read(ROOT / name), package_requirements(*extras)
    development = _read(ROOT / "requirements-dev.txt")
    sources = {
        "pyproject.toml": package,
        "the Truss server": {key: item for key, item in server_requirements().items() if key not in package},
        "requirements-dev.txt": {key: development[key] for key in development.keys() & pinned.keys() - SERVERS_OWN},
    }
    return [
        f"{source} wants {item}, {name} has {pinned.get(key, 'none')}"
        for source, wanted in sources.items()
        for key, item in sorted(wanted.items())
        if key not in pinned or not _agrees(pinned[key], item)
    ]


def _agrees(pinned: Requirement, wanted: Requirement) -> bool:
    return all(wanted.specifier.contains(pin.version, prereleases=True) for pin in pinned.specifier)


def check() -> None:
    """Fail, with the reason, where the image would install anything but what is pinned."""
    validate()
    with tempfile.TemporaryDirectory() as folder:
        pushed, context = Path(folder) / "pushed", Path(folder) / "context"
        copy_tree_path(ROOT, pushed, load_trussignore_patterns_from_truss_dir(ROOT))
        load(pushed).build_docker_build_context(context)
        installed: dict[str, Requirement] = {}
        for wanted, constraints in image_installs(context):
            installed |= _install(wanted, constraints, installed)
    pinned = _read(ROOT / "requirements-image.txt")
    missing = [str(item) for name, item in installed.items() if str(pinned.get(name)) != str(item)]
    if missing:
        sys.exit(f"the image would install {', '.join(missing)} beside requirements-image.txt: run `make lock-truss`")
    print(f"the image's installs resolve to the {len(installed)} pinned packages")


def image_installs(context: Path) -> list[tuple[dict[str, Requirement], dict[str, Requirement]]]:
    """The `uv pip install` lines of a build context's Dockerfile, in order, as (requirements, constraints)."""
    installs = []
    for line in (context / "Dockerfile").read_text().splitlines():
        if "uv pip install" in line:
            words = shlex.split(line)
            read = [
                {name: item for file in _after(words, option) for name, item in _read(context / file).items()}
                for option in ("-r", "-c")
            ]
            installs.append((read[0], read[1]))
    return installs


def _after(words: list[str], option: str) -> list[str]:
    return [value for word, value in pairwise(words) if word == option]


def _read(file: Path) -> dict[str, Requirement]:
    return requirements(file.read_text())


def _install(
    wanted: dict[str, Requirement], constraints: dict[str, Requirement], installed: dict[str, Requirement]
) -> dict[str, Requirement]:
    """What an install adds to what is there, which it must leave as it is."""
    try:
        return requirements(resolve(wanted, constraints, installed))
    except subprocess.CalledProcessError as error:
        if not installed:
            sys.exit(f"the image's requirements cannot be installed together:\n{error.stderr}")
        sys.exit(f"the image's second install would change what the first installed:\n{error.stderr}")


def _store(name: str, text: str) -> None:
    (ROOT / name).write_text(text)
    print(f"{name}: {len(requirements(text))} packages")


if __name__ == "__main__":
    commands = {"write": write, "validate": validate, "check": check}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:  # noqa: PLR2004 - the program and its one word
        sys.exit(__doc__)
    commands[sys.argv[1]]()
