"""What every benchmark writes: a short table, and `build/bench/<name>.json` with its counts. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

FOLDER = Path("build/bench")


@dataclass(frozen=True, slots=True)
class Row:
    """One measured claim: the stock pipeline's figure (None where there is none), ours, and what was promised."""

    what: str
    stock: float | None
    ours: float | None  # None: could not be measured here; the note says why
    unit: str
    must: str = ""
    aim: str = ""
    met: bool | None = None  # None: nothing was promised, or nothing was measured
    counts: Mapping[str, object] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    note: str = ""


def report(name: str, rows: Sequence[Row], data: Mapping[str, object], *, out: Path | None = None) -> Path:
    """Print the rows and write them with the raw counts; the path of the file that was written."""
    target = out or FOLDER / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {"name": name, "rows": [asdict(row) for row in rows], "data": data}
    target.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    width = max((len(row.what) for row in rows), default=0)
    print(f"{'':{width}} {'stock':>10} {'ours':>10}  unit")
    for row in rows:
        verdict = {True: "met", False: "not met", None: ""}[row.met]
        promise = f"must {row.must}; aim {row.aim}: {verdict}" if row.must else ""
        print(f"{row.what:{width}} {_number(row.stock):>10} {_number(row.ours):>10}  {row.unit}  {promise}".rstrip())
        if row.note:
            print(f"{'':{width}}   {row.note}")
    return target


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
