"""What the benchmarks measured, in one file, one page and one chart.

    python -m benchmarks.report     build/bench/*.json -> build/bench.json, benchmarks/RESULTS.md and its chart

`make bench` ends with it. Reasons why a row falls short are written by people, in benchmarks/SHORT.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import chart, page
from benchmarks.answers import write_json
from benchmarks.protocol import FOLDER

from diarist import __version__, engines

ORDER = ("speed", "accuracy", "count", "alignment", "silence", "bounded", "gpu")
HERE = Path(__file__).parent
CHART = "speed-against-error.svg"
LIBRARIES = ("faster-whisper", "ctranslate2", "onnxruntime", "whisperx", "pyannote.audio", "torch", "meeteval",
             "pyannote.metrics", "jiwer", "whisper-normalizer")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Gather and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the benchmarks' files; default build/bench")
    parser.add_argument("--page", type=Path, default=HERE / "RESULTS.md", help="default benchmarks/RESULTS.md")
    given = parser.parse_args(arguments)
    for path in write(given.folder, given.page):
        print(path)


def write(folder: Path, to: Path, *, failed: Sequence[str] = ()) -> tuple[Path, ...]:
    """Write all three; the paths written.

    Args:
        folder: where every benchmark wrote `<name>.json`; the whole goes beside it, as `<folder>.json`.
        to: the page; the chart goes beside it.
        failed: the benchmarks that ended with an error, which the page names.
    """
    found, on = gather(folder), machine()
    whole, picture = folder.with_suffix(".json"), to.with_name(CHART)
    write_json(whole, {"machine": on, "benchmarks": found})
    to.parent.mkdir(parents=True, exist_ok=True)
    points = chart.points(found)
    if points:
        chart.draw(points, picture)
    to.write_text(page.results(found, on, chart=CHART if points else None, failed=failed), encoding="utf-8")
    return (whole, to, picture) if points else (whole, to)


def gather(folder: Path) -> dict[str, dict[str, Any]]:
    """What each benchmark wrote, in their order."""
    paths = {name: folder / f"{name}.json" for name in ORDER}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}


def machine() -> dict[str, object]:
    """What it was measured on."""
    return {
        "processor": _processor(),
        "cores": engines.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {"diarist": __version__} | {name: version(name) for name in LIBRARIES},
        "date": datetime.now(UTC).date().isoformat(),
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return platform.processor()
    names = re.findall(r"^model name\s*: (.+)$", text, flags=re.MULTILINE)
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
