"""What `make bench-gpu` does, without a GPU: each part runs, equality holds, and what is left out is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks import gpu


def ran(out: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], str]:
    gpu.main(["--device", "cpu", "--seconds", "10", "--out", str(out), *arguments])
    return json.loads(out.read_text()), capsys.readouterr().out


def test_every_part_that_needs_no_gpu_runs_and_the_rest_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written, printed = ran(tmp_path / "gpu.json", capsys)
    embeddings, emissions, segmentation, trunk = written["rows"]
    assert embeddings["counts"]["largest_cosine_distance"] < gpu.EQUAL
    assert embeddings["counts"]["chunks"] == 1
    assert emissions["counts"]["largest_difference"] < 1e-3
    assert emissions["counts"]["library"] == "transformers"
    assert segmentation["counts"]["largest_difference"] < 1e-3
    assert trunk["counts"]["largest_difference"] < 1e-3
    assert list(written["data"]["left_out"]) == ["the whole pipeline"]
    assert "left out: the whole pipeline: no GPU" in printed


def test_what_is_not_installed_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pyannote.audio", "onnxruntime", "transformers", "torchaudio.models"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it now fails
    monkeypatch.delitem(sys.modules, "diarist.networks", raising=False)
    written, printed = ran(tmp_path / "gpu.json", capsys)
    assert written["rows"] == []
    assert "left out: wav2vec2's emissions: neither transformers nor torchaudio" in printed
    assert printed.count("left out:") == 4


def test_torchaudios_wav2vec2_takes_the_place_of_one_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    (row,) = gpu.emissions(gpu.Place("cpu", 8.0, 1))
    assert row.counts["library"] == "torchaudio"
    assert float(str(row.counts["largest_difference"])) < 1e-3
