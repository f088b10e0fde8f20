"""The deployed image's own packages, run by the real server in the production profile, on small checkpoints.

`make test-image` installs requirements-image.txt (7.3 GB), which the main suite does not need.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from diarist.models import ModelStore
from tiny_checkpoints import production_folders
from truss_environment import SECRET, Server, image_python, serving, stage


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, store: ModelStore) -> Iterator[Server]:
    folders = production_folders(tmp_path_factory.mktemp("models"), store)
    settings = {
        "DIARIST_PROFILE": "production",
        "DIARIST_DEVICE": "cpu",
        "DIARIST_ASR_MODEL": str(folders / "asr"),
        "DIARIST_DIARIZATION_MODEL": str(folders / "diarization"),
        "DIARIST_ALIGN_DIR": str(folders / "align"),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    root = stage(tmp_path_factory.mktemp("truss") / "root")
    with serving(root, tmp_path_factory.mktemp("server"), python=image_python(), settings=settings) as found:
        yield found


@pytest.fixture(scope="module")
def call(sample: Path) -> str:
    return base64.b64encode((sample / "sample.wav").read_bytes()).decode()


def test_the_image_answers_with_speakers_and_aligned_words(server: Server, call: str) -> None:
    answer = server.ask(audio_b64=call, language="en", num_speakers=2)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert "whisperx-asr+ctc+pyannote_shared-diarization" in body["model_version"]
    assert body["speakers"] == ["SPEAKER_00", "SPEAKER_01"]
    timings = {word["timing"] for segment in body["model_output"] for word in segment["words"]}
    assert timings <= {"ctc", "interpolated"}
    assert body["notes"] == []


def test_a_language_without_an_aligner_is_answered_and_says_so(server: Server, call: str) -> None:
    body = server.ask(audio_b64=call, language="fr", output="srt").json()
    assert body["format"] == "srt"
    assert body["notes"] == ["no alignment model for 'fr': words timed by attention"]


def test_a_language_that_whisper_does_not_know_is_refused_by_name(server: Server, call: str) -> None:
    answer = server.ask(audio_b64=call, language="qq")
    assert answer.status_code == 400
    assert "'qq'" in answer.json()["error"]


def test_the_log_tells_no_secret(server: Server) -> None:
    assert SECRET not in server.log
