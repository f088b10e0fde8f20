"""Corrections at `/metrics`, from the store that keeps them."""

from __future__ import annotations

from pathlib import Path

from diarist_proxy.label_studio.corrections import gauges
from diarist_proxy.label_studio.corrections.measured import Measured
from diarist_proxy.metrics import Metrics
from diarist_proxy.settings import ProxySettings
from diarist_proxy.store import Correction, Store

MEASURED = Measured(recordings=1, words=7, deletions=1, substitutions=1, spoken=6.0, missed=2.0, untouched=1, changed=3)


def test_corrections_are_gauges_by_project_and_model_version(tmp_path: Path) -> None:
    store = Store.open(ProxySettings(data_dir=tmp_path))
    for annotation, version in ((1, "v1"), (2, "v1"), (3, None)):
        store.save_correction(Correction(7, annotation, annotation, version, None, MEASURED.to_json(), 0.0))
    metrics = Metrics()
    gauges.add(metrics, store.corrections)
    lines = dict(line.rsplit(" ", 1) for line in metrics.text().decode().splitlines() if not line.startswith("#"))
    store.close()
    labels = '{model_version="v1",project="7"}'
    assert lines[f"diarist_corrected_recordings{labels}"] == "2.0"
    assert float(lines[f"diarist_corrections_cpwer{labels}"]) == 2 / 7
    assert float(lines[f"diarist_corrections_der{labels}"]) == 2 / 6
    assert float(lines[f"diarist_corrections_changed_region_share{labels}"]) == 3 / 4
    assert f"diarist_corrections_seconds_per_audio_minute{labels}" not in lines  # nobody counted the time
    assert lines['diarist_corrected_recordings{model_version="unknown",project="7"}'] == "1.0"


def test_without_corrections_there_is_no_value() -> None:
    metrics = Metrics()
    gauges.add(metrics, tuple)
    assert "diarist_corrections_cpwer{" not in metrics.text().decode()
