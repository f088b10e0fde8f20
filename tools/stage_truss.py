"""Lay a Truss out in a folder as its image would hold it, without Docker.

Usage, with the Python of the `truss` environment: stage_truss.py TRUSS_FOLDER ROOT

What .truss_ignore leaves, which is what `truss push` sends, is rendered by truss's own image builder, and the COPY
lines are replayed by the emulator that truss's own tests use. ROOT then holds `app/` (server, config, model, data)
and `packages/`.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from truss.contexts.local_loader.docker_build_emulator import DockerBuildEmulator
from truss.truss_handle.build import load
from truss.util.path import copy_tree_path, load_trussignore_patterns_from_truss_dir


def stage(truss: Path, root: Path) -> None:
    """Replace the folder `root` by what the image of `truss` would hold."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        pushed, context = Path(folder) / "pushed", Path(folder) / "context"
        # Also because the builder hashes all files of the folder that it is given, every environment in it too.
        copy_tree_path(truss, pushed, load_trussignore_patterns_from_truss_dir(truss))
        load(pushed).build_docker_build_context(context)
        DockerBuildEmulator(context / "Dockerfile", context).run(root)


def main() -> None:
    """Read the command line and stage."""
    parser = argparse.ArgumentParser(description="Lay a Truss out in a folder as its image would hold it.")
    parser.add_argument("truss", type=Path, help="folder with config.yaml")
    parser.add_argument("root", type=Path, help="folder to write; what it held is removed")
    arguments = parser.parse_args()
    stage(arguments.truss.resolve(), arguments.root.resolve())
    print(f"staged in {arguments.root}")


if __name__ == "__main__":
    main()
