"""What a GPU is for: community-1's embeddings, wav2vec2's emissions; and our own networks on the CPU cores beside it.

    make bench-gpu                                   wherever torch is, no package index needed
    make bench-gpu ARGS="--device cpu --seconds 30"  the same, small, without a GPU
    make bench-gpu-wheels                            first, elsewhere: brings what is missing beside torch

Weights are seeded random tensors in the real architectures: neither time nor equality depends on what they heard
before. Each part that cannot run here is left out, and a line says why.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
from benchmarks.protocol import Row, report
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SITE = Path("build/bench-gpu/site")  # where `make bench-gpu-wheels` puts them
RATE = 16_000
CHUNK, STEP, FRAMES, SPEAKERS = 10.0, 1.0, 589, 3  # community-1's: seconds, seconds, mask frames, local speakers
MUST, AIM = 3, 5
EQUAL = 1e-5  # largest distance of a cosine similarity from 1
SEGMENTS = 32  # of 2 to 30 s, for wav2vec2


class LeftOut(Exception):
    """A part cannot run here; the message says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how much is measured."""

    device: str
    seconds: float
    repeats: int


@dataclass(frozen=True, slots=True)
class Timed:
    """The fastest of some runs: seconds, the most bytes it held on the GPU (None on a CPU), and its result."""

    seconds: float
    peak_bytes: int | None
    result: Any


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what can be measured, and say what cannot."""
    place, out = parsed(arguments)
    parts: dict[str, Callable[[Place], list[Row]]] = {
        "community-1's embeddings": embeddings,
        "wav2vec2's emissions": emissions,
        "our networks on the CPU cores": networks,
        "the whole pipeline": whole_pipeline,
    }
    rows: list[Row] = []
    left_out: dict[str, str] = {}
    for name, measure in parts.items():
        try:
            rows += measure(place)
        except LeftOut as why:
            left_out[name] = str(why)
        except ImportError as error:
            left_out[name] = f"{error}; see make bench-gpu-wheels"
    report("gpu", rows, {**machine(place), "left_out": left_out}, out=out)
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}")


def parsed(arguments: Sequence[str] | None) -> tuple[Place, Path | None]:
    """The command line, and the device that there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], help="default: cuda where torch finds one")
    parser.add_argument("--seconds", type=float, help="of audio; default 600 on a GPU, 60 on a CPU")
    parser.add_argument("--repeats", type=int, help="of each measurement; default 3 on a GPU, 1 on a CPU")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default build/bench/gpu.json")
    given = parser.parse_args(arguments)
    if SITE.is_dir() and str(SITE.resolve()) not in sys.path:
        sys.path.append(str(SITE.resolve()))  # last: what the machine has itself goes first
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    try:
        import torch
    except ImportError:
        parser.exit(1, "bench-gpu needs torch, and there is none in this Python\n")
    device = given.device or ("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device == "cuda"
    seconds = given.seconds or (600.0 if on_gpu else 60.0)
    return Place(device, seconds, given.repeats or (3 if on_gpu else 1)), given.out


def machine(place: Place) -> dict[str, object]:
    """What it was measured on."""
    import torch

    return {
        "device": torch.cuda.get_device_name() if place.device == "cuda" else "CPU",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "seconds": place.seconds,
        "repeats": place.repeats,
    }


def timed(run: Callable[[], Any], place: Place) -> Timed:
    """The fastest of the repeats."""
    import torch

    on_gpu = place.device == "cuda"
    spent, result = [], None
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    for _ in range(place.repeats):
        started = time.perf_counter()
        result = run()
        if on_gpu:
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - started)
    return Timed(min(spent), torch.cuda.max_memory_allocated() if on_gpu else None, result)


# --- community-1's embeddings -----------------------------------------------------------------------------


def embeddings(place: Place) -> list[Row]:
    """Stock `SpeakerDiarization.get_embeddings` and ours, on the same chunks and masks."""
    from diarist.diarize_pyannote import shared_embeddings

    pipeline, file, masks = pyannote_case(place)

    def stock() -> Floats:
        return pipeline.get_embeddings(file, masks, exclude_overlap=True)  # type: ignore[no-any-return]

    def ours() -> Floats:
        return shared_embeddings(pipeline, file, masks, exclude_overlap=True)

    with full_precision():
        if place.device == "cuda":
            warm(pipeline, file, masks, shared_embeddings)
        theirs, own = timed(stock, place), timed(ours, place)
    rows = [embedding_row(theirs, own, place)]
    if place.device == "cuda":
        rows += [memory_row(theirs, own), *faster_arithmetic(ours, theirs, place)]
    return rows


def pyannote_case(place: Place) -> tuple[Any, dict[str, Any], Any]:
    """Stock's pipeline with community-1's networks, a recording, and its masks."""
    import torch

    from diarist import libraries

    libraries.pyannote_audio()
    with libraries.quiet():
        from pyannote.audio.core.plda import PLDA
        from pyannote.audio.models.embedding import WeSpeakerResNet34
        from pyannote.audio.pipelines import SpeakerDiarization
        from pyannote.core import SlidingWindow, SlidingWindowFeature

        torch.manual_seed(1)
        pipeline = SpeakerDiarization(
            segmentation=segmentation_network(),
            embedding=WeSpeakerResNet34(),
            embedding_exclude_overlap=True,
            plda=PLDA.__new__(PLDA),  # the constructor wants one; embeddings do not
            clustering="AgglomerativeClustering",
            segmentation_batch_size=32,
            embedding_batch_size=32,  # both as in community-1's config.yaml
        )
        pipeline.to(torch.device(place.device))
        _ = pipeline._embedding.min_num_samples  # noqa: SLF001 - found by trial and kept
    samples, masks = recording(place.seconds)
    file = {"uri": "recording", "waveform": torch.from_numpy(samples)[None], "sample_rate": RATE}
    return pipeline, file, SlidingWindowFeature(masks, SlidingWindow(start=0.0, duration=CHUNK, step=STEP))


def segmentation_network() -> Any:  # noqa: ANN401 - pyannote ships no types
    """segmentation-3.0's and community-1's PyanNet, with the weights of torch's present seed."""
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.segmentation import PyanNet

    network = PyanNet(lstm={"hidden_size": 128, "num_layers": 4, "bidirectional": True, "monolithic": True})
    network.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION, resolution=Resolution.FRAME, duration=CHUNK,
        classes=["speaker#1", "speaker#2", "speaker#3"], powerset_max_classes=2, permutation_invariant=True,
    )  # fmt: skip
    network.setup()
    return network.eval()


def recording(seconds: float) -> tuple[Floats, Floats]:
    """Noise, and masks `(num_chunks, FRAMES, SPEAKERS)` in which local speakers take turns and sometimes overlap."""
    random = np.random.default_rng(3)
    samples = (0.1 * random.standard_normal(round(seconds * RATE))).astype(np.float32)
    num_chunks = 1 + max(0, round((seconds - CHUNK) / STEP))
    masks = np.zeros((num_chunks, FRAMES, SPEAKERS), np.float32)
    for chunk in masks:
        for speaker in range(SPEAKERS):
            first = int(random.integers(FRAMES))
            chunk[first : first + int(random.integers(30, 300)), speaker] = 1
    return samples, masks


@contextmanager
def full_precision() -> Iterator[None]:
    """Float32 as such: pyannote switches TF32 off for its whole process when it first segments something."""
    import torch

    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [each.allow_tf32 for each in backends]
    for each in backends:
        each.allow_tf32 = False
    try:
        yield
    finally:
        for each, allowed in zip(backends, before, strict=True):
            each.allow_tf32 = allowed


def warm(pipeline: Any, file: dict[str, Any], masks: Any, shared: Callable[..., Floats]) -> None:  # noqa: ANN401
    """One batch of each, so that nothing is loaded or chosen while it is timed."""
    some = copy.copy(masks)
    some.data = masks.data[:32]
    pipeline.get_embeddings(file, some, exclude_overlap=True)
    shared(pipeline, file, some, exclude_overlap=True)


def distance(ours: Floats, theirs: Floats) -> tuple[float, float]:
    """The largest difference of a value, and the largest distance of a cosine similarity from 1."""
    rows = [each.reshape(-1, each.shape[-1]).astype(np.float64) for each in (ours, theirs)]
    norms = np.linalg.norm(rows[0], axis=1) * np.linalg.norm(rows[1], axis=1)
    cosines = (rows[0] * rows[1]).sum(axis=1) / np.maximum(norms, 1e-12)
    return float(np.abs(ours - theirs).max()), float(np.abs(1 - cosines).max())


def embedding_row(theirs: Timed, own: Timed, place: Place) -> Row:
    """Speed, and whether the results are equal."""
    ratio = theirs.seconds / own.seconds
    difference, cosine = distance(own.result, theirs.result)
    return Row(
        what="community-1's embeddings, trunk shared per chunk",
        stock=place.seconds / theirs.seconds,
        ours=place.seconds / own.seconds,
        unit="s of audio a second",
        must=f"{MUST} times faster, equal results",
        aim=f"{AIM} times",
        met=ratio >= MUST and cosine <= EQUAL,
        counts={"ratio": ratio, "largest_difference": difference, "largest_cosine_distance": cosine,
                "stock_seconds": theirs.seconds, "our_seconds": own.seconds, "chunks": len(own.result)},
        note=f"{ratio:.2f} times; largest difference {difference:.1e}, of a cosine similarity {cosine:.1e}",
    )  # fmt: skip


def memory_row(theirs: Timed, own: Timed) -> Row:
    """The most that each held on the GPU, weights included."""
    held = [each.peak_bytes for each in (theirs, own)]
    return Row(
        what="the same: peak memory on the GPU",
        stock=None if held[0] is None else held[0] / 1e9,
        ours=None if held[1] is None else held[1] / 1e9,
        unit="GB",
        note="ours has chunks of a whole recording in a batch where stock has (chunk, speaker) pairs",
    )


def faster_arithmetic(ours: Callable[[], Floats], theirs: Timed, place: Place) -> list[Row]:
    """What is not equal to the last digit, or a matter of batches: told, not promised."""
    import torch

    from diarist import diarize_pyannote

    rows = []
    torch.backends.cudnn.allow_tf32 = True
    try:
        ours()
        own = timed(ours, place)
    finally:
        torch.backends.cudnn.allow_tf32 = False
    rows.append(_told("the same with TF32, which pyannote switches off", theirs, own, place))
    usual = diarize_pyannote.GPU_CHUNKS
    try:
        for chunks in (8, 16, 64, 128):
            diarize_pyannote.GPU_CHUNKS = chunks
            with full_precision():
                ours()
                own = timed(ours, place)
            rows.append(_told(f"the same in batches of {chunks} chunks, not {usual}", theirs, own, place))
    finally:
        diarize_pyannote.GPU_CHUNKS = usual
    return rows


def _told(what: str, theirs: Timed, own: Timed, place: Place) -> Row:
    difference, cosine = distance(own.result, theirs.result)
    return Row(
        what, place.seconds / theirs.seconds, place.seconds / own.seconds, "s of audio a second",
        counts={"largest_difference": difference, "largest_cosine_distance": cosine, "peak_bytes": own.peak_bytes},
        note=f"{theirs.seconds / own.seconds:.2f} times; of a cosine similarity {cosine:.1e}",
    )  # fmt: skip


# --- wav2vec2's emissions ---------------------------------------------------------------------------------


def emissions(place: Place) -> list[Row]:
    """Segments through wav2vec2 base in our batches, and one by one as whisperx has them."""
    from diarist.align_ctc import AlignmentModel, Alphabet
    from diarist.batching import in_batches

    network, library = wav2vec2(place)
    model = AlignmentModel(network, Alphabet({}, blank=0), place.device, normalizes=True, takes_lengths=True)
    random = np.random.default_rng(5)
    lengths = sorted(random.uniform(2, min(30, place.seconds / 2), max(2, min(SEGMENTS, round(place.seconds / 16)))))
    items = [(0.1 * random.standard_normal(round(length * RATE))).astype(np.float32) for length in lengths]

    def run(batch_size: int) -> list[Any]:
        return [each for _, found in in_batches(items, model.emit, batch_size=batch_size) for each in found]

    run(8 if place.device == "cuda" else 1)
    alone, batched = timed(lambda: run(1), place), timed(lambda: run(8), place)
    difference = max(float((a - b).abs().max()) for a, b in zip(alone.result, batched.result, strict=True))
    seconds = float(sum(lengths))
    return [
        Row(
            what="wav2vec2 base's emissions, in eights and one by one",
            stock=seconds / alone.seconds,
            ours=seconds / batched.seconds,
            unit="s of audio a second",
            counts={"segments": len(items), "largest_difference": difference, "library": library,
                    "alone_peak_bytes": alone.peak_bytes, "batched_peak_bytes": batched.peak_bytes},
            note=f"{alone.seconds / batched.seconds:.2f} times; largest difference {difference:.1e} in log-probability"
            + ("" if place.device == "cuda" else "; on a CPU the aligner goes one by one"),
        )
    ]  # fmt: skip


def wav2vec2(place: Place) -> tuple[Any, str]:
    """Wav2vec2 of base size, told of padding by layer norm as the multilingual ones are; and whose it is."""
    import torch

    torch.manual_seed(7)
    try:
        from transformers import Wav2Vec2Config, Wav2Vec2ForCTC
    except ImportError:
        return torchaudio_wav2vec2().to(place.device), "torchaudio"
    config = Wav2Vec2Config(vocab_size=32, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)
    return Wav2Vec2ForCTC(config).eval().to(place.device), "transformers"


def torchaudio_wav2vec2() -> Any:  # noqa: ANN401
    """torchaudio's, answering as transformers' does."""
    try:
        from torchaudio.models import wav2vec2_model
    except ImportError:
        raise LeftOut("neither transformers nor torchaudio is here") from None
    import torch

    convolutions = [(512, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2]
    base = wav2vec2_model(
        extractor_mode="layer_norm", extractor_conv_layer_config=convolutions, extractor_conv_bias=True,
        encoder_embed_dim=768, encoder_projection_dropout=0.0, encoder_pos_conv_kernel=128, encoder_pos_conv_groups=16,
        encoder_num_layers=12, encoder_num_heads=12, encoder_attention_dropout=0.0, encoder_ff_interm_features=3072,
        encoder_ff_interm_dropout=0.0, encoder_dropout=0.0, encoder_layer_norm_first=True, encoder_layer_drop=0.0,
        aux_num_out=32,
    )  # fmt: skip

    class AsTransformers(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = base

        def forward(self, samples: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(logits=self.base(samples, attention_mask.sum(dim=1))[0])

        def _get_feat_extract_output_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
            for _, kernel, stride in convolutions:
                lengths = (lengths - kernel) // stride + 1
            return lengths

    return AsTransformers().eval()


# --- our networks -----------------------------------------------------------------------------------------


def networks(place: Place) -> list[Row]:
    """segmentation-3.0 and CAM++ on ONNX Runtime, against torch on the same cores."""
    import torch

    from diarist.batching import in_threads
    from diarist.campplus_torch import CamPlusPlus
    from diarist.networks import EmbeddingNetwork, SegmentationNetwork
    from diarist.types import unobserved

    torch.manual_seed(9)
    on_cpu = Place("cpu", place.seconds, place.repeats)
    threads = torch.get_num_threads()
    random = np.random.default_rng(11)
    chunks = (0.1 * random.standard_normal((8, round(CHUNK * RATE)))).astype(np.float32)
    features = random.standard_normal((threads, 998, 80)).astype(np.float32)  # a block for each core
    pyannet, campplus = segmentation_network(), CamPlusPlus().eval()
    with TemporaryDirectory() as folder:
        torch.save(pyannet.state_dict(), Path(folder) / "segmentation.bin")
        torch.save(campplus.state_dict(), Path(folder) / "campplus.pt")
        segment = SegmentationNetwork(Path(folder) / "segmentation.bin")
        embed = EmbeddingNetwork(Path(folder) / "campplus.pt", threads=threads)

    def pyannet_on_onnx() -> Floats:
        return np.concatenate(in_threads([chunks[:4], chunks[4:]], segment, threads=threads, progress=unobserved))

    def pyannet_in_torch() -> Floats:
        with torch.inference_mode():
            return pyannet(torch.from_numpy(chunks)[:, None]).numpy()  # type: ignore[no-any-return]

    def campplus_in_torch() -> Floats:
        with torch.inference_mode():
            return np.stack([campplus.frames(torch.from_numpy(block)[None])[0].T.numpy() for block in features])

    def campplus_on_onnx() -> Floats:
        return np.stack(in_threads(list(features), embed.frames, threads=threads, progress=unobserved))

    return [
        _network_row(
            "segmentation-3.0, a pass over the audio",
            timed_pair(pyannet_in_torch, pyannet_on_onnx, on_cpu),
            8 * CHUNK,
        ),
        _network_row("CAM++'s trunk", timed_pair(campplus_in_torch, campplus_on_onnx, on_cpu), threads * CHUNK),
    ]


def timed_pair(theirs: Callable[[], Floats], ours: Callable[[], Floats], place: Place) -> tuple[Timed, Timed]:
    """Both, warmed up."""
    theirs(), ours()
    return timed(theirs, place), timed(ours, place)


def _network_row(what: str, pair: tuple[Timed, Timed], seconds: float) -> Row:
    theirs, own = pair
    difference = float(np.abs(theirs.result - own.result).max())
    return Row(
        f"{what}, on the CPU: torch, ONNX Runtime", seconds / theirs.seconds, seconds / own.seconds,
        "s of audio a second", counts={"largest_difference": difference},
        note=f"seeded random weights; largest difference {difference:.1e}",
    )  # fmt: skip


# --- the whole pipeline -----------------------------------------------------------------------------------


def whole_pipeline(place: Place) -> list[Row]:
    """What `DIARIST_*` chooses, against whisperx's own detector and stock pyannote with the same weights."""
    if place.device != "cuda":
        raise LeftOut("no GPU; make bench runs it on a CPU")
    return whole(place)


def whole(place: Place) -> list[Row]:
    """As `whole_pipeline`, on any device."""
    try:
        import ctranslate2
        import whisperx  # noqa: F401

        from diarist import engines, pipeline
        from diarist.errors import DiaristError
        from diarist.request import Options
        from diarist.settings import Settings
    except ImportError as error:
        raise LeftOut(f"the whole stack is not installed: {error}") from None
    if place.device == "cuda" and not ctranslate2.get_cuda_device_count():
        raise LeftOut("CTranslate2 finds no CUDA device")
    from diarist.types import Waveform

    fast = Settings(device=place.device, asr="whisperx", diarizer="pyannote_shared", aligner="attention")
    plain = fast.model_copy(update={"diarizer": "pyannote", "vad": "whisperx"})
    waveform = Waveform(speech(place.seconds))

    def run(settings: Settings) -> Timed:
        stages = engines.load(settings)
        return timed(lambda: pipeline.transcribe(waveform, stages, Options()), place)

    try:
        found = [run(settings) for settings in (plain, fast)]
    except DiaristError as error:
        raise LeftOut(f"{error}") from None
    seconds = waveform.duration
    return [
        Row(
            "the whole pipeline: whisperx's detector and stock pyannote, ours",
            seconds / found[0].seconds, seconds / found[1].seconds, "s of audio a second",
            counts={"stock": found[0].result.timings, "ours": found[1].result.timings, "profile": fast.profile},
            note=found[1].result.model_version,
        )
    ]  # fmt: skip


def speech(seconds: float) -> Floats:
    """A conversation of people, repeated where there is too little of it."""
    from diarist import audio
    from diarist.models import ModelStore
    from diarist.settings import Settings

    sample = audio.decode(ModelStore(Settings()).folder("sample") / "sample.wav", max_duration_seconds=60)
    return np.resize(sample.samples, round(seconds * RATE))


if __name__ == "__main__":
    main()
