"""Settings choose the engines; what cannot be loaded says what to do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import ThreadpoolController

from diarist import engines
from diarist.errors import ModelMissing
from diarist.models import ModelStore
from diarist.pipeline import Stages
from diarist.settings import Settings


def test_what_is_loaded_stands_in_the_version(embedded: Stages) -> None:
    assert embedded.model_version.endswith(":faster_whisper-tiny.en+attention+fine-segmentation-3.0+campplus")
    assert (embedded.window_duration, embedded.retries, embedded.diarize_beside) == (12.0, True, False)


@pytest.mark.parametrize(("operators", "expected"), [(None, 1), ("2", 2)])
def test_numpy_keeps_to_one_thread_beside_those_of_the_stages(
    monkeypatch: pytest.MonkeyPatch, operators: str | None, expected: int
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if operators:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", operators)
    with ThreadpoolController().select(internal_api="openblas").limit(limits=2):
        engines.load(Settings())
        loaded = ThreadpoolController().select(internal_api="openblas").info()
        assert {library["num_threads"] for library in loaded if "numpy" in library["filepath"]} == {expected}


def test_whisperx_and_pyannote_can_be_chosen_one_by_one() -> None:
    stages = engines.load(Settings(asr="whisperx", diarizer="pyannote_shared"))
    assert stages.model_version.endswith(":whisperx-tiny.en+attention+pyannote_shared-segmentation-3.0+campplus")
    assert (stages.window_duration, stages.retries) == (30.0, True)  # whisperx pads every window to 30 s


@pytest.mark.parametrize(
    ("chosen", "advice"),
    [
        ({"device": "cuda"}, "check the driver"),
        ({"vad": "whisperx"}, "belongs to asr whisperx"),
        ({"compute_type": "float16", "device": "cpu"}, "DIARIST_COMPUTE_TYPE"),
        ({"compute_type": "int3", "device": "cpu"}, "DIARIST_COMPUTE_TYPE"),
        ({"asr_model": "enormous"}, "tiny.en"),
        ({"asr_model": "/no/such/folder"}, "mount"),
        ({"asr_model": "large-v3"}, "diarist models pin large-v3"),
        ({"profile": "production", "asr_model": "tiny.en", "diarization_model": "/no/such/folder"}, "mount"),
    ],
)
def test_what_cannot_be_loaded_says_what_to_do(chosen: dict[str, Any], advice: str) -> None:
    with pytest.raises(ModelMissing, match=advice) as caught:
        engines.load(Settings(**chosen))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["model.bin", "config.json", "tokenizer.json"])
def test_a_mounted_folder_that_lacks_a_file_is_named(store: ModelStore, tmp_path: Path, missing: str) -> None:
    folder = shutil.copytree(store.folder("tiny.en"), tmp_path / "whisper", ignore=lambda *_: [missing])
    with pytest.raises(ModelMissing, match=missing):
        engines.load(Settings(asr_model=str(folder)))


def test_a_damaged_model_is_refused(store: ModelStore, tmp_path: Path) -> None:
    folder = shutil.copytree(store.folder("tiny.en"), tmp_path / "whisper")
    (folder / "model.bin").write_bytes(b"not a model")
    with pytest.raises(ModelMissing, match="diarist models verify"):
        engines.load(Settings(asr_model=str(folder)))
