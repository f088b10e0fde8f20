"""The alignment benchmark, small: it runs, and what it says of agreement holds."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import alignment


def test_a_minute_is_aligned_both_ways_and_the_starts_agree(tmp_path: Path) -> None:
    alignment.main(1.0, 1, tmp_path / "alignment.json")
    written = json.loads((tmp_path / "alignment.json").read_text())
    speed, starts, ends, own_ends = written["rows"]
    assert written["data"]["words"] == written["data"]["same_text"] == 180
    assert (speed["unit"], speed["must"], starts["unit"]) == ("times as fast", "10x", "%")
    assert starts["ours"] > 98
    assert ends["ours"] > 98  # by its convention, and not by ours
    assert own_ends["ours"] < 80
