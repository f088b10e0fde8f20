"""The production engines, whole, on small models with random weights in the formats of the real ones.

What needs a model that hears runs on the packaged weights instead: tiny.en, segmentation-3.0 and CAM++.
"""

# ruff: noqa: ANN401, PLC0415 - these libraries ship no types, and take seconds to import

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diarist import audio, diarize_pyannote, engines, pipeline
from diarist.diarize_pyannote import (
    PyannoteDiarizer,
    PyannoteSegmenter,
    load_pipeline,
    packaged_pipeline,
    share_segmentation,
    share_trunk,
)
from diarist.errors import BadRequest, Cancelled, LanguageUnsupported, ModelMissing
from diarist.formats import seed
from diarist.models import ModelStore
from diarist.request import Gates, Options
from diarist.segmentation import Activity
from diarist.settings import Settings
from diarist.transcribe import FasterWhisperTranscriber
from diarist.transcribe_whisperx import WhisperxTranscriber
from diarist.types import Diarization, Span, Waveform, unobserved
from fake_hub import FakeHub
from tiny_checkpoints import production_folders, pyannote_folder

SOMEBODY = "hf_somebody"
COMMUNITY = "pyannote/speaker-diarization-community-1"
WINDOWS = tuple(Span(start, start + 2.5) for start in range(0, 12, 3))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """More threads than free cores make torch's small operations wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def call(sample: Path) -> Waveform:
    """Fourteen seconds of two people talking."""
    samples = audio.decode(sample / "sample.wav", max_duration_seconds=60).crop(Span(7, 21))
    return Waveform(np.ascontiguousarray(samples))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, store: ModelStore) -> Path:
    """`asr` (a multilingual Whisper), `align/en` (wav2vec2), `diarization` (community-1's layout)."""
    return production_folders(tmp_path_factory.mktemp("models"), store)


# --- transcription ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whisper(folders: Path) -> WhisperxTranscriber:
    return WhisperxTranscriber(folders / "asr", threads=1, batch_size=4, beam_size=2)


def transcribed(whisper: WhisperxTranscriber, waveform: Waveform, **options: Any) -> tuple[str, ...]:
    draft = whisper(waveform, WINDOWS, options=Options(**options), progress=unobserved)
    return tuple(segment.text for segment in draft.segments)


def test_each_window_becomes_one_segment(whisper: WhisperxTranscriber, call: Waveform) -> None:
    reports: list[float] = []
    draft = whisper(
        call, WINDOWS, options=Options(language="de"), progress=lambda done, total: reports.append(done / total)
    )
    assert draft.language == "de"
    assert {segment.span for segment in draft.segments} <= set(WINDOWS)
    assert len(draft.segments) >= 3
    assert all(segment.text and not segment.words for segment in draft.segments)
    assert reports == [1.0]


def test_the_language_is_heard_where_it_is_not_given(whisper: WhisperxTranscriber, call: Waveform) -> None:
    draft = whisper(call, WINDOWS, options=Options(), progress=unobserved)
    assert draft.language in {"en", "zh", "de", "es", "ru", "ko", "fr", "ja", "pt"}  # all that this model knows
    assert draft.language_probability is not None
    assert 1 / 9 < draft.language_probability <= 1


@pytest.fixture(scope="module")
def multilingual(folders: Path) -> FasterWhisperTranscriber:
    return FasterWhisperTranscriber(
        folders / "asr", name="tiny", device="cpu", compute_type="float32", threads=1, batch_size=4, beam_size=1
    )


@pytest.mark.parametrize("engine", ["whisper", "multilingual"])
def test_the_language_heard_is_one_of_those_expected(
    engine: str, call: Waveform, request: pytest.FixtureRequest
) -> None:
    transcriber = request.getfixturevalue(engine)

    def heard(*expected: str) -> tuple[str, float]:
        draft = transcriber(call, WINDOWS[:1], options=Options(languages=expected), progress=unobserved)
        return draft.language, draft.language_probability

    best, most = heard()
    others = tuple(code for code in ("en", "zh", "de", "es", "ru", "ko", "fr", "ja", "pt") if code != best)
    second, less = heard(*others)
    assert second in others
    assert 0 < less <= most
    assert heard("fr")[0] == "fr"
    with pytest.raises(LanguageUnsupported, match=r"of languages, 'xx' cannot be detected"):
        heard("en", "xx")


def test_silence_is_not_transcribed(whisper: WhisperxTranscriber, call: Waveform) -> None:
    assert whisper(call, (), options=Options(), progress=unobserved).segments == ()


def prompts(whisper: WhisperxTranscriber, call: Waveform, monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
    """The decoder's prompt, as text, special tokens included."""
    seen: list[list[int]] = []
    generate = whisper.model.model.generate

    def listening(encoded: Any, prompt: list[list[int]], **decoding: Any) -> Any:
        seen.extend(prompt)
        return generate(encoded, prompt, **decoding)

    with monkeypatch.context() as patch:
        patch.setattr(whisper.model.model, "generate", listening)
        transcribed(whisper, call, **options)
    return str(whisper.model.hf_tokenizer.decode(seen[0], skip_special_tokens=False))


def test_language_task_prompt_and_hotwords_reach_the_decoder(
    whisper: WhisperxTranscriber, call: Waveform, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"language": "fr", "task": "translate", "initial_prompt": "A lively debate.", "hotwords": "Baseten Truss"}
    prompt = prompts(whisper, call, monkeypatch, **options)
    assert prompt.startswith("<|startofprev|>")
    assert "A lively debate." in prompt
    assert "Baseten Truss" in prompt
    assert "<|startoftranscript|><|fr|><|translate|>" in prompt
    assert (
        prompts(whisper, call, monkeypatch, language="en")
        == "<|startoftranscript|><|en|><|transcribe|><|notimestamps|>"
    )


def test_a_request_that_failed_leaves_nothing_behind(
    whisper: WhisperxTranscriber, call: Waveform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(completed: float, total: float) -> None:
        raise Cancelled("the caller has gone")

    before = transcribed(whisper, call, language="en")
    with pytest.raises(Cancelled):
        whisper(call, WINDOWS, options=Options(language="de", initial_prompt="Guten Tag."), progress=leave)
    with monkeypatch.context() as patch:
        patch.setattr(whisper.model.model, "generate", failing := FakeMemory(whisper.model.model.generate, 0))
        with pytest.raises(RuntimeError, match="out of memory"):
            transcribed(whisper, call, language="de", hotwords="Guten Tag")
    assert failing.sizes == [4, 2, 1]
    assert whisper._pipeline.tokenizer is None
    assert whisper._pipeline.options.initial_prompt is whisper._pipeline.options.hotwords is None
    assert transcribed(whisper, call, language="en") == before


class FakeMemory:
    """A GPU's memory, which the machine of the tests does not have: batches over a limit do not fit."""

    def __init__(self, run: Any, limit: int, error: type[RuntimeError] = RuntimeError) -> None:
        self.run, self.limit, self.error = run, limit, error
        self.sizes: list[int] = []

    def __call__(self, inputs: Any, *arguments: Any, **options: Any) -> Any:
        size = int(inputs.shape[0])
        self.sizes.append(size)
        if size > self.limit:
            raise self.error("CUDA failed with error out of memory")
        return self.run(inputs, *arguments, **options)


def test_a_batch_too_large_for_the_gpu_is_halved_and_the_text_is_the_same(
    whisper: WhisperxTranscriber, call: Waveform, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = transcribed(whisper, call, language="en")
    memory = FakeMemory(whisper.model.model.generate, 2)
    monkeypatch.setattr(whisper.model.model, "generate", memory)
    assert transcribed(whisper, call, language="en") == expected
    assert memory.sizes[:2] == [4, 2]
    assert max(memory.sizes[1:]) == 2


def test_a_language_without_a_token_is_refused(whisper: WhisperxTranscriber, call: Waveform) -> None:
    with pytest.raises(LanguageUnsupported, match="'xx'"):
        transcribed(whisper, call, language="xx")


@pytest.fixture(scope="module")
def english(store: ModelStore) -> WhisperxTranscriber:
    return WhisperxTranscriber(
        store.folder("tiny.en"), compute_type="float32", threads=1, batch_size=4, beam_size=1, own_vad=True
    )


@pytest.mark.parametrize("options", [{"language": "de"}, {"task": "translate"}])
def test_an_english_model_refuses_what_it_cannot_do(
    english: WhisperxTranscriber, call: Waveform, options: dict[str, Any]
) -> None:
    with pytest.raises(LanguageUnsupported, match=r"(?i)english"):
        transcribed(english, call, **options)


@pytest.mark.parametrize("hotwords", ["Washington " * 300, "Diane"])
def test_a_long_prompt_beside_hotwords_leaves_room_for_the_text(
    english: WhisperxTranscriber, call: Waveform, hotwords: str
) -> None:
    assert transcribed(english, call, initial_prompt="Two people talk. " * 200, hotwords=hotwords)


def test_whisperx_hears_what_faster_whisper_hears(
    english: WhisperxTranscriber, store: ModelStore, call: Waveform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(english, "_own_vad", None)
    windows = (Span(0.3, 7.7), Span(7.7, 14))
    other = FasterWhisperTranscriber(
        store.folder("tiny.en"),
        name="tiny.en",
        device="cpu",
        compute_type="float32",
        threads=1,
        batch_size=4,
        beam_size=1,
    )
    ours, theirs = (engine(call, windows, options=Options(), progress=unobserved) for engine in (english, other))
    assert ours.language == theirs.language == "en"
    assert [segment.span for segment in ours.segments] == [segment.span for segment in theirs.segments]
    words = [{word for segment in draft.segments for word in segment.text.lower().split()} for draft in (ours, theirs)]
    assert len(words[0] & words[1]) > 0.8 * len(words[0] | words[1])


def test_whisperxs_own_vad_can_find_the_windows(english: WhisperxTranscriber, call: Waveform) -> None:
    draft = english(call, (), options=Options(), progress=unobserved)
    assert "New Jersey" in " ".join(segment.text for segment in draft.segments)
    assert all(0 <= segment.span.start < segment.span.end <= call.duration for segment in draft.segments)


def test_noise_gives_no_text(english: WhisperxTranscriber, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(english, "_own_vad", None)
    noise = np.random.default_rng(0).standard_normal(16_000 * 12).astype(np.float32) * 0.05
    assert transcribed(english, Waveform(noise)) == ()


def test_text_that_repeats_itself_is_heard_again_without_repeats(
    whisper: WhisperxTranscriber, call: Waveform, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    generate = whisper.model.model.generate

    def listening(encoded: Any, prompt: Any, **decoding: Any) -> Any:
        seen.append(decoding["no_repeat_ngram_size"])
        return generate(encoded, prompt, **decoding)

    monkeypatch.setattr(whisper.model.model, "generate", listening)
    gates = Gates(compression_ratio_threshold=0.1)  # any text repeats itself now
    transcribed(whisper, call, language="en", gates=gates)
    assert seen == [0, 4, 4, 4, 4]
    assert whisper._pipeline.options.no_repeat_ngram_size == 0


def test_loading_prints_nothing_and_leaves_logging_and_telemetry_alone(
    folders: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from pyannote.audio.telemetry.metrics import is_metrics_enabled

    WhisperxTranscriber(folders / "asr", threads=1)
    load_pipeline(folders / "diarization")
    assert capfd.readouterr().out == ""
    assert logging.getLogger("whisperx").handlers == []
    assert logging.getLogger("whisperx").propagate
    assert not is_metrics_enabled()


def test_a_folder_that_is_no_whisper_says_what_is_missing(folders: Path) -> None:
    with pytest.raises(ModelMissing, match=r"model\.bin.*diarist models fetch"):
        WhisperxTranscriber(folders / "align" / "en")


# --- diarization ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(folders: Path) -> Any:
    return share_segmentation(share_trunk(load_pipeline(folders / "diarization")))


@pytest.fixture(scope="module")
def activity(shared: Any, call: Waveform) -> Activity:
    return PyannoteSegmenter(shared)(call, progress=unobserved)


def diarized(engine: Any, call: Waveform, activity: Activity, **options: Any) -> Diarization:
    return PyannoteDiarizer(engine)(call, activity, options=Options(**options), progress=unobserved)


def test_sharing_the_trunk_and_the_segmentation_changes_nothing(
    folders: Path, shared: Any, call: Waveform, activity: Activity
) -> None:
    stock = load_pipeline(folders / "diarization")
    ours, theirs = (diarized(engine, call, activity, num_speakers=2) for engine in (shared, stock))
    assert len(theirs.turns) > 4
    assert ours.turns == theirs.turns
    assert ours.exclusive == theirs.exclusive
    assert ours.speakers == theirs.speakers == ("SPEAKER_00", "SPEAKER_01")
    assert ours.embeddings is not None
    assert theirs.embeddings is not None
    assert np.allclose(ours.embeddings, theirs.embeddings, atol=1e-6)
    assert np.abs(theirs.embeddings).max() > 0.05


def test_a_threshold_is_refused_since_a_pipelines_own_means_something_else(
    shared: Any, call: Waveform, activity: Activity
) -> None:
    with pytest.raises(BadRequest, match=r"diarization\.threshold .* num_speakers"):
        diarized(shared, call, activity, threshold=0.5)


def test_the_segmentation_is_the_pipelines_own(shared: Any, call: Waveform, activity: Activity) -> None:
    theirs = shared._segmentation(diarize_pyannote._file(call))
    assert np.array_equal(activity.masks, theirs.data.astype(bool))
    assert activity.chunk_step == theirs.sliding_window.step == 1.0


@pytest.mark.parametrize("exclude_overlap", [False, True])
def test_every_embedding_is_pooled_with_the_mask_that_stock_uses(
    folders: Path, shared: Any, call: Waveform, activity: Activity, exclude_overlap: bool
) -> None:
    stock = load_pipeline(folders / "diarization")
    file = diarize_pyannote._file(call) | {"activity": activity}
    masks = shared.get_segmentations(file)
    masks.data = masks.data[:2]
    masks.data[1, 100:400, :2] = 1  # two who speak at once, for whom little or nothing else is left
    ours = shared.get_embeddings(file, masks, exclude_overlap=exclude_overlap)
    theirs = stock.get_embeddings(file, masks, exclude_overlap=exclude_overlap)
    assert ours.shape == theirs.shape == (*masks.data.shape[::2], 256)
    assert np.allclose(ours, theirs, atol=1e-6)


def test_embeddings_survive_a_gpu_that_is_too_small(
    shared: Any, call: Waveform, activity: Activity, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = diarize_pyannote._file(call) | {"activity": activity}
    masks = shared.get_segmentations(file)
    expected = shared.get_embeddings(file, masks)
    model = shared._embedding.model_
    memory = FakeMemory(model.forward_frames, 2, torch.OutOfMemoryError)
    monkeypatch.setattr(model, "forward_frames", memory)
    monkeypatch.setattr(diarize_pyannote, "CPU_CHUNKS", 32)
    assert np.allclose(shared.get_embeddings(file, masks), expected, atol=1e-6)
    assert memory.sizes == [5, 2, 2, 1]


def test_masks_survive_a_gpu_that_is_too_small(
    shared: Any, call: Waveform, activity: Activity, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = shared._segmentation.model
    memory = FakeMemory(network.forward, 2, torch.OutOfMemoryError)
    monkeypatch.setattr(network, "forward", memory)
    assert np.array_equal(PyannoteSegmenter(shared)(call, progress=unobserved).masks, activity.masks)
    assert memory.sizes == [4, 2, 2, 1]  # batches of four on a CPU


@pytest.fixture(scope="module")
def packaged(store: ModelStore) -> Any:
    checkpoints = (
        store.folder("segmentation-3.0") / "pytorch_model.bin",
        store.folder("campplus") / "campplus_cn_en_common.pt",
    )
    return share_segmentation(share_trunk(packaged_pipeline(*checkpoints)))


def test_the_packaged_weights_tell_two_people_apart(packaged: Any, call: Waveform, activity: Activity) -> None:
    found = diarized(packaged, call, activity, num_speakers=2, return_embeddings=True)
    assert found.speakers == ("SPEAKER_00", "SPEAKER_01")
    assert found.turns[0].speaker == "SPEAKER_00"  # numbered in the order in which they first speak
    talk = {name: sum(turn.span.duration for turn in found.turns if turn.speaker == name) for name in found.speakers}
    assert min(talk.values()) > 3
    assert found.embeddings is not None
    assert found.embeddings.shape == (2, 192)
    first, second = found.embeddings / np.linalg.norm(found.embeddings, axis=1, keepdims=True)
    assert first @ second < 0.6
    spans = [turn.span for turn in found.exclusive]
    assert all(before.end <= after.start + 1e-9 for before, after in pairwise(spans))


@pytest.mark.parametrize("options", [{"num_speakers": 1}, {"max_speakers": 1}])
def test_the_number_of_speakers_is_obeyed(
    packaged: Any, call: Waveform, activity: Activity, options: dict[str, int]
) -> None:
    assert diarized(packaged, call, activity, **options).speakers == ("SPEAKER_00",)


def test_stock_runs_its_own_segmentation_and_needs_no_activity(folders: Path, call: Waveform) -> None:
    short = Waveform(call.samples[: 16_000 * 4])
    nobody = Activity(np.zeros((1, 589, 3), bool), 1.0, np.zeros(1, np.float32), np.zeros(1, np.float32), 4.0)
    found = diarized(load_pipeline(folders / "diarization"), short, nobody, num_speakers=1)
    assert found.speakers == ("SPEAKER_00",)


def test_silence_has_no_speakers(shared: Any) -> None:
    silence = Waveform(np.zeros(16_000 * 12, np.float32))
    activity = PyannoteSegmenter(shared)(silence, progress=unobserved)
    found = diarized(shared, silence, activity)
    assert (found.turns, found.exclusive, found.speakers) == ((), (), ())
    assert found.embeddings is not None
    assert found.embeddings.shape == (0, 256)


def test_progress_grows_to_the_end_and_may_stop_the_work(shared: Any, call: Waveform, activity: Activity) -> None:
    reports: list[float] = []
    engine = PyannoteDiarizer(shared)
    engine(call, activity, options=Options(), progress=lambda done, total: reports.append(done / total))
    assert reports == sorted(reports)
    assert len(set(reports)) > 4
    assert 0.9 < reports[-1] <= 1

    def leave(completed: float, total: float) -> None:
        raise Cancelled("the caller has gone")

    with pytest.raises(Cancelled):
        engine(call, activity, options=Options(), progress=leave)


def test_the_layout_of_community_1_loads_with_random_segmentation_too(tmp_path: Path, call: Waveform) -> None:
    engine = load_pipeline(pyannote_folder(tmp_path / "pipeline"))
    activity = PyannoteSegmenter(engine)(call, progress=unobserved)
    assert activity.masks.shape == (5, 589, 3)


def test_campplus_in_torch_is_the_original(store: ModelStore) -> None:
    from diarist.campplus_torch import load_campplus

    source = store.folder("campplus-reference") / "camplusplus.py"
    spec = importlib.util.spec_from_file_location("original_campplus", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    checkpoint = store.folder("campplus") / "campplus_cn_en_common.pt"
    original = module.CAMPPlus(feat_dim=80, embedding_size=192)
    original.load_state_dict(torch.load(checkpoint, weights_only=True))
    network = load_campplus(checkpoint).network
    features = torch.randn(2, 350, 80, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        frames = network.frames(features)
        ours = network.embedding(torch.cat([frames.mean(-1), frames.std(-1)], dim=-1))
        theirs = original.eval()(features)
    # This copy of the original cuts negative values off, which 3D-Speaker, where the weights come from, does not.
    assert torch.allclose(ours.relu(), theirs, atol=1e-4)


# --- what can go wrong with the weights -------------------------------------------------------------------


def test_a_folder_without_a_pipeline_says_what_to_mount(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"config\.yaml"):
        load_pipeline(tmp_path)


def test_a_pipeline_that_lacks_a_network_names_it(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text((folders / "diarization" / "config.yaml").read_text())
    with pytest.raises(ModelMissing, match=r"lacks .*segmentation"):
        load_pipeline(tmp_path)


class RefusingHub(FakeHub):
    """The hub, with one answer to everything: those seen in reports of gated models.

    huggingface_hub 0.36 tells them apart by status, X-Error-Code and X-Error-Message
    (`utils._http.hf_raise_for_status`); what each means: https://huggingface.co/docs/hub/models-gated.
    """

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        super().__init__({})
        self._refusal = status, headers, b""

    def answer(self, target: str, token: str | None) -> tuple[int, dict[str, str], bytes]:
        return self._refusal


GATED = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to model is restricted."}
INVALID = {"X-Error-Message": "Invalid credentials in Authorization header"}
FINE_GRAINED = {"X-Error-Message": "Please enable access to public gated repositories in your token settings"}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((None, 401, GATED), "needs a Hugging Face token.*accept its terms.*secret hf_access_token"),
        (("hf_wrong", 401, INVALID), "refused the token hf_access_token"),
        (("hf_wrong", 401, {}), "refused the token hf_access_token"),
        ((SOMEBODY, 403, GATED), "terms of .* are not accepted: accept them at"),
        (("hf_narrow", 403, FINE_GRAINED), "may not read gated models: allow that in its settings"),
        ((SOMEBODY, 404, {"X-Error-Code": "RepoNotFound"}), "answered 404.*check the name"),
    ],
)
def test_a_refusing_hub_stops_the_load_and_the_message_says_what_to_do(
    answer: tuple[str | None, int, dict[str, str]],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    token, status, headers = answer
    with RefusingHub(status, headers) as hub:
        _use_hub(monkeypatch, tmp_path, hub.url)
        with pytest.raises(ModelMissing, match=says) as refused:
            load_pipeline(COMMUNITY, token=token)
    message = str(refused.value)
    assert hub.asked
    assert "mount its weights" in message
    assert "\n" not in message
    assert token is None or token not in message + capfd.readouterr().out


@pytest.mark.parametrize("offline", [True, False])
def test_without_mount_and_without_network_the_load_stops(
    offline: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _use_hub(monkeypatch, tmp_path, "http://127.0.0.1:9", offline=offline)  # the discard port: nobody listens
    with pytest.raises(ModelMissing, match="not mounted and the hub cannot be reached"):
        load_pipeline(COMMUNITY, token=SOMEBODY)


def _use_hub(monkeypatch: pytest.MonkeyPatch, cache: Path, url: str, *, offline: bool = False) -> None:
    """What `HF_ENDPOINT`, `HF_HUB_CACHE` and `HF_HUB_OFFLINE` set when huggingface_hub is imported."""
    from huggingface_hub import constants, file_download
    from huggingface_hub.utils._http import reset_sessions

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # it tries five times, with growing pauses
    reset_sessions()  # a session remembers whether it was made offline


# --- the whole path ---------------------------------------------------------------------------------------


def test_the_whole_production_path_answers_with_every_key_in_order(folders: Path, call: Waveform) -> None:
    settings = Settings(
        profile="production",
        device="cpu",
        threads=1,
        asr_model=str(folders / "asr"),
        diarization_model=str(folders / "diarization"),
        align_dir=folders / "align",
    )
    stages = engines.load(settings)
    assert "whisperx-asr+ctc+pyannote_shared-diarization" in stages.model_version
    seen: list[str] = []
    options = Options(language="en", num_speakers=2, return_embeddings=True)
    transcript = pipeline.transcribe(
        call, stages, options, observer=lambda stage, _completed, _total: seen.append(stage)
    )
    answer = seed.to_dict(transcript)
    assert list(answer) == [
        "model_output", "language", "duration", "speakers", "turns", "model_version", "timings", "uncovered", "notes",
        "embeddings",
    ]  # fmt: skip
    assert answer["language"] == "en"
    assert answer["speakers"] == ["SPEAKER_00", "SPEAKER_01"]
    assert set(transcript.timings) == set(pipeline.STAGES) == set(seen)
    assert {word.timing for word in transcript.words} <= {"ctc", "interpolated"}
    assert any(word.speaker for word in transcript.words)
    for segment in answer["model_output"]:
        assert list(segment) == ["start", "end", "text", "speaker", "words"]
        keys = ["start", "end", "word", "speaker", "score", "overlap", "timing"]
        assert all(list(word) == keys for word in segment["words"])
    assert transcript.embeddings is not None
    assert {len(vector) for vector in transcript.embeddings.values()} == {256}
    french = pipeline.transcribe(call, stages, replace(options, language="fr", diarize=False))
    assert french.notes == ("no alignment model for 'fr': words timed by attention",)
    assert "attention" in {word.timing for word in french.words}
    assert {word.speaker for word in french.words} == {None}
