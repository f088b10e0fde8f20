"""The graphs built without torch answer as the original networks do."""

from __future__ import annotations

import importlib.util
import pickle
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchaudio.compliance import kaldi

from diarist import audio, libraries
from diarist.errors import ModelMissing
from diarist.models import ModelStore
from diarist.networks import EmbeddingNetwork, SegmentationNetwork, read_checkpoint
from diarist.pooling import filter_bank

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def speech(sample: Path) -> Floats:
    return audio.decode(sample / "sample.wav", max_duration_seconds=60).samples


def test_a_checkpoint_is_read_as_torch_reads_it(store: ModelStore) -> None:
    path = store.folder("campplus") / "campplus_cn_en_common.pt"
    ours, theirs = read_checkpoint(path), torch.load(path, weights_only=True)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name].numpy()) for name in theirs)


def test_nothing_that_is_pickled_runs(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))  # type: ignore[return-value]

    path = tmp_path / "trap.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"state_dict": Trap()}, protocol=2))
    with pytest.raises(ModelMissing):
        read_checkpoint(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_a_broken_checkpoint_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.bin").write_bytes(content)
    with pytest.raises(ModelMissing, match="diarist models fetch"):
        SegmentationNetwork(tmp_path / "broken.bin")


def test_a_checkpoint_of_another_network_is_refused(store: ModelStore) -> None:
    with pytest.raises(ModelMissing, match="another architecture"):
        SegmentationNetwork(store.folder("campplus") / "campplus_cn_en_common.pt")


def test_segmentation_equals_pyannotes_own_model(store: ModelStore, speech: Floats) -> None:
    checkpoint = store.folder("segmentation-3.0") / "pytorch_model.bin"
    with libraries.quiet():
        reference = libraries.pyannote_audio().Model.from_pretrained(checkpoint).eval()
    chunks = np.stack([speech[start * 16_000 : (start + 10) * 16_000] for start in range(0, 20, 2)])
    with torch.inference_mode():
        expected = reference(torch.from_numpy(chunks)[:, None]).numpy()
    found = SegmentationNetwork(checkpoint)(chunks)
    assert np.abs(found - expected).max() < 1e-3  # log-probabilities
    ranked = np.sort(expected, axis=-1)
    decided = ranked[..., -1] - ranked[..., -2] > 2e-3  # a tie may fall either way
    assert decided.mean() > 0.999
    assert np.array_equal(found.argmax(-1)[decided], expected.argmax(-1)[decided])


@pytest.fixture(scope="module")
def reference_campplus(store: ModelStore) -> torch.nn.Module:
    source = store.folder("campplus-reference") / "camplusplus.py"
    spec = importlib.util.spec_from_file_location("reference_campplus", source)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network: torch.nn.Module = module.CAMPPlus(80, 192)
    weights = torch.load(store.folder("campplus") / "campplus_cn_en_common.pt", weights_only=True)
    network.load_state_dict(weights)
    return network.eval()


@pytest.mark.parametrize("num_frames", [1000, 998, 250, 101, 77, 20])
def test_campplus_equals_the_implementation_that_carries_it(
    store: ModelStore, speech: Floats, reference_campplus: torch.nn.Module, num_frames: int
) -> None:
    network = EmbeddingNetwork(store.folder("campplus") / "campplus_cn_en_common.pt")
    features = filter_bank(speech)[900 : 900 + num_frames]
    features -= features.mean(0)
    heard: list[torch.Tensor] = []
    trunk = reference_campplus.xvector.out_nonlinear  # type: ignore[union-attr]
    hook = trunk.register_forward_hook(lambda _m, _i, output: heard.append(output.clone()))  # type: ignore[union-attr]
    with torch.inference_mode():
        expected = reference_campplus(torch.from_numpy(features)[None])[0].numpy()
    hook.remove()

    frames = network.frames(features)
    assert np.abs(frames - heard[0][0].T.numpy()).max() < 1e-4
    embedding = network.embed(np.array([len(frames)], np.float32), frames.sum(0)[None], (frames**2).sum(0)[None])[0]
    # The carrier cuts negative values off, which 3D-Speaker, where the weights come from, does not.
    positive = np.maximum(embedding, 0)
    assert np.abs(positive / np.linalg.norm(positive) - expected / np.linalg.norm(expected)).max() < 1e-4


def test_the_filter_bank_equals_torchaudios(speech: Floats) -> None:
    expected = kaldi.fbank(torch.from_numpy(speech)[None], num_mel_bins=80, dither=0.0).numpy()
    found = filter_bank(speech)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-2
    assert np.abs(found - expected).mean() < 1e-4


def test_the_filter_bank_of_a_piece_is_a_piece_of_the_filter_bank(speech: Floats) -> None:
    whole, piece = filter_bank(speech), filter_bank(speech[160_000 : 320_000 + 240])
    assert np.allclose(whole[1000:2000], piece, atol=1e-4)
