"""Waveform -> who spoke when, with `pyannote.audio` (extra `whisperx`): stock, or with its work shared.

Stock pyannote.audio 4.0.7 runs the embedding network once for each (chunk, local speaker), which is 93 % of its time,
though its networks see the speaker's mask only when they pool: `share_trunk` runs it once for each chunk and
pools for each speaker, which gives the same embeddings. `share_segmentation` takes the masks that the `segment`
stage has found with the same network, instead of running it a second time. The pipeline itself is not touched in
its other steps; without the two it is stock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diarist import libraries
from diarist.batching import in_batches
from diarist.errors import BadRequest, ModelMissing
from diarist.segmentation import CHUNK_DURATION, CPU_BATCH, POWERSET, Activity, ChunkSegmenter
from diarist.types import SAMPLE_RATE, Diarization, Progress, Samples, Span, Turn, Waveform

if TYPE_CHECKING:
    from diarist.request import Options

CPU_CHUNKS = 1  # chunks that share a batch: on a CPU one at a time stays in its cache
GPU_CHUNKS = 32
PACKAGED_THRESHOLD = 0.6  # best centroid-linkage cut for CAM++ on mixes of known speakers; 0.05 away it falls apart
SEGMENTATION_SHARE = 0.2  # of the work, for the progress only

Pipeline = Any  # pyannote.audio.pipelines.SpeakerDiarization; the library ships no types


class PyannoteDiarizer:
    """Runs a loaded pyannote pipeline. It only ever sees samples in memory, so no decoder of pyannote's is used."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def __call__(self, waveform: Waveform, activity: Activity, *, options: Options, progress: Progress) -> Diarization:
        """Diarize; silence gives no turn. Fewer voices than asked for can come out of a very short recording.

        Raises:
            BadRequest: a threshold is given; a pipeline's own are tuned together, and mean something else.
        """
        if options.threshold is not None:
            message = "diarization.threshold is the fine diarizer's, and this service diarizes with pyannote"
            raise BadRequest(f"{message}: give num_speakers, min_speakers or max_speakers instead")
        output = self._pipeline(
            _file(waveform) | {"activity": activity},
            hook=_Hook(progress),
            num_speakers=options.num_speakers,
            min_speakers=options.min_speakers,
            max_speakers=options.max_speakers,
        )
        return to_diarization(output, waveform.duration)


class PyannoteSegmenter:
    """The `segment` stage by a pipeline's own network and step, so that `share_segmentation` can use the same masks.

    Raises:
        ModelMissing: the network does not have the chunks and the classes of segmentation-3.0 and community-1.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        inference = pipeline._segmentation  # noqa: SLF001 - the pipeline has no public way to one step
        specifications = inference.model.specifications
        classes = specifications.num_powerset_classes if specifications.powerset else 0
        if (specifications.duration, classes) != (CHUNK_DURATION, len(POWERSET)):
            message = (
                f"this pipeline segments chunks of {specifications.duration} s into {classes} powerset classes, and "
                f"{CHUNK_DURATION} s and {len(POWERSET)} are needed: mount community-1"
            )
            raise ModelMissing(message)
        batch = CPU_BATCH if inference.device.type == "cpu" else GPU_CHUNKS
        self._segment = ChunkSegmenter(
            _torch_network(inference), chunk_step=inference.step, padding="silence", batch=batch
        )

    def __call__(self, waveform: Waveform, *, progress: Progress) -> Activity:
        """Segment a whole recording."""
        return self._segment(waveform, progress=progress)


def _torch_network(inference: Any) -> Any:  # noqa: ANN401
    """The network as `SegmentationNetwork` has it: `(batch, num_samples)` -> `(batch, num_frames, num_classes)`."""
    import torch  # noqa: PLC0415

    def run(chunks: Sequence[Samples]) -> Samples:
        with torch.inference_mode():
            logits = inference.model(torch.from_numpy(np.stack(chunks))[:, None].to(inference.device))
        return logits.float().cpu().numpy()  # type: ignore[no-any-return]

    def scores(chunks: Samples) -> Samples:
        return np.concatenate([found for _, found in in_batches(list(chunks), run, batch_size=len(chunks))])

    return scores


# --- loading ----------------------------------------------------------------------------------------------


def load_pipeline(source: str | Path, *, device: str = "cpu", token: str | None = None) -> Pipeline:
    """Load a stock pipeline from a mounted folder, or from the hub by name.

    A folder has community-1's layout: `config.yaml`, and the `segmentation`, `embedding` and `plda` that it names.

    Raises:
        ModelMissing: the folder is incomplete, or the hub did not give the pipeline; the message says what to do.
    """
    audio = libraries.pyannote_audio()
    folder = Path(source)
    if isinstance(source, Path) or folder.is_dir():
        if not (folder / "config.yaml").is_file():
            message = f"{folder} holds no config.yaml: mount the whole folder of a pyannote pipeline there"
            raise ModelMissing(message)
        pipeline = _from_folder(audio, folder)
    else:
        pipeline = _from_hub(audio, str(source), token)
    return _ready(pipeline, device)


def packaged_pipeline(segmentation_checkpoint: Path, embedding_checkpoint: Path, *, device: str = "cpu") -> Pipeline:
    """Stock pyannote over the packaged weights, segmentation-3.0 and CAM++: for comparing on equal terms.

    Community-1's clustering needs a PLDA that is trained on its own embeddings; here the clustering is
    agglomerative, as in pyannote 3.1, which needs none.
    """
    libraries.pyannote_audio()
    with libraries.quiet():
        from pyannote.audio import Model  # noqa: PLC0415
        from pyannote.audio.core.plda import PLDA  # noqa: PLC0415
        from pyannote.audio.pipelines import SpeakerDiarization  # noqa: PLC0415

        from diarist.campplus_torch import load_campplus  # noqa: PLC0415

        pipeline = SpeakerDiarization(
            segmentation=Model.from_pretrained(segmentation_checkpoint),
            embedding=load_campplus(embedding_checkpoint),
            embedding_exclude_overlap=True,
            plda=PLDA.__new__(PLDA),  # the constructor wants one and agglomerative clustering never looks at it
            clustering="AgglomerativeClustering",
            segmentation_batch_size=8,
        )
    clustering = {"method": "centroid", "threshold": PACKAGED_THRESHOLD, "min_cluster_size": 12}  # else as in 3.1
    pipeline.instantiate({"segmentation": {"min_duration_off": 0.0}, "clustering": clustering})
    return _ready(pipeline, device)


def _ready(pipeline: Pipeline, device: str) -> Pipeline:
    import torch  # noqa: PLC0415

    pipeline.to(torch.device(device))
    with libraries.quiet():  # found by trial, with a warning on the way, and kept
        _ = pipeline._embedding.min_num_samples  # noqa: SLF001
    return pipeline


def _from_folder(audio: Any, folder: Path) -> Pipeline:  # noqa: ANN401
    try:
        with libraries.quiet():
            return audio.Pipeline.from_pretrained(folder)
    except FileNotFoundError as error:
        message = f"the pyannote pipeline in {folder} lacks {error.filename}: mount the whole folder of the model"
        raise ModelMissing(message) from error


def _from_hub(audio: Any, name: str, token: str | None) -> Pipeline:  # noqa: ANN401
    from huggingface_hub.errors import (  # noqa: PLC0415
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    try:
        with libraries.quiet():
            pipeline = audio.Pipeline.from_pretrained(name, token=token)
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError) as error:
        # A refusal that is neither about the name nor about the token comes as the cause of "not found here".
        refusal = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else error
        status = getattr(getattr(refusal, "response", None), "status_code", None)
        # Without its cause: that holds addresses, which may be signed.
        raise ModelMissing(_advice(name, token, status, gated=isinstance(refusal, GatedRepoError))) from None
    if pipeline is None:  # pyannote.audio 3 answered a refusal so; 4.0.7 still may, by its signature
        raise ModelMissing(_advice(name, token, HTTPStatus.FORBIDDEN, gated=True))
    return pipeline


def _advice(name: str, token: str | None, status: int | None, *, gated: bool) -> str:
    """What to do, in one line, when the hub did not give a pipeline; `status` is None where it did not answer."""
    page, or_mount = f"https://hf.co/{name}", "or mount its weights"
    create = "create a read token at https://hf.co/settings/tokens and set it as the secret hf_access_token"
    if status is None:
        return f"{name} is not mounted and the hub cannot be reached, or is switched off: mount its weights"
    if status in _REFUSED and token is None:
        return f"{name} needs a Hugging Face token: accept its terms at {page}, {create}, {or_mount}"
    if status == HTTPStatus.FORBIDDEN and gated:
        return f"the terms of {name} are not accepted: accept them at {page} with the token's account, {or_mount}"
    if status == HTTPStatus.FORBIDDEN:
        return f"the token hf_access_token may not read gated models: allow that in its settings, {or_mount}"
    if status == HTTPStatus.UNAUTHORIZED:
        return f"the hub refused the token hf_access_token for {name}: {create}, accept the terms at {page}, {or_mount}"
    return f"the hub answered {status} for {name}: check the name and try again later, {or_mount}"


_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


# --- sharing ----------------------------------------------------------------------------------------------


def share_trunk(pipeline: Pipeline) -> Pipeline:
    """Replace the pipeline's embedding step by one that runs the network once for each chunk.

    Exact for networks that see a speaker's mask only when they pool: WeSpeaker's ResNets (community-1) and CAM++.

    Raises:
        ModelMissing: the embedding network cannot give its frames before it pools them.
    """
    model = getattr(pipeline._embedding, "model_", None)  # noqa: SLF001
    if not (hasattr(model, "forward_frames") and hasattr(model, "forward_embedding")):
        message = f"{type(model).__name__} cannot share its trunk: set the diarizer to pyannote, or mount community-1"
        raise ModelMissing(message)
    pipeline.get_embeddings = MethodType(shared_embeddings, pipeline)
    return pipeline


def share_segmentation(pipeline: Pipeline) -> Pipeline:
    """Let the pipeline take its masks from the `segment` stage, which must have used the same network."""
    pipeline.get_segmentations = MethodType(_given_segmentations, pipeline)
    return pipeline


def shared_embeddings(
    pipeline: Pipeline,
    file: Any,  # noqa: ANN401 - pyannote's mapping with the waveform
    binary_segmentations: Any,  # noqa: ANN401 - a SlidingWindowFeature
    exclude_overlap: bool = False,
    hook: Callable[..., None] | None = None,
) -> NDArray[np.float32]:
    """As `SpeakerDiarization.get_embeddings`: `(num_chunks, num_local_speakers, dimension)`."""
    import torch  # noqa: PLC0415

    embedding = pipeline._embedding  # noqa: SLF001
    masks = used_masks(binary_segmentations, embedding, exclude_overlap=exclude_overlap)

    def run(chunks: Sequence[int]) -> NDArray[np.float32]:
        weights = torch.from_numpy(masks[chunks[0] : chunks[-1] + 1]).to(embedding.device)
        with torch.inference_mode():
            waveforms = _waveforms(pipeline, file, binary_segmentations.sliding_window, chunks)
            frames = embedding.model_.forward_frames(waveforms)
            return embedding.model_.forward_embedding(frames, weights=weights).cpu().numpy()  # type: ignore[no-any-return]

    batch_size = CPU_CHUNKS if embedding.device.type == "cpu" else GPU_CHUNKS
    found: list[NDArray[np.float32]] = []
    done = 0
    for batch, vectors in in_batches(range(len(masks)), run, batch_size=batch_size):
        found.append(vectors)
        done += len(batch)
        if hook is not None:
            hook("embeddings", None, total=len(masks), completed=done)
    return np.concatenate(found)


def _waveforms(pipeline: Pipeline, file: Any, window: Any, chunks: Sequence[int]) -> Any:  # noqa: ANN401
    """Consecutive chunks on the pipeline's device, `(num_chunks, 1, num_samples)`.

    What they share is cropped and copied to the device once: chunks of 10 s a second apart are ten times as long.
    """
    import torch  # noqa: PLC0415
    from pyannote.core import Segment  # noqa: PLC0415

    embedding = pipeline._embedding  # noqa: SLF001
    rate, size = embedding.sample_rate, round(window.duration * embedding.sample_rate)
    first = window[chunks[0]]
    needed = Segment(first.start, window[chunks[-1]].end + 1 / rate)  # a sample more than rounding can ask for
    samples = pipeline._audio.crop(file, needed, mode="pad")[0].to(embedding.device)  # noqa: SLF001
    offsets = [round((window[chunk].start - first.start) * rate) for chunk in chunks]
    return torch.stack([samples[:, offset : offset + size] for offset in offsets])


def used_masks(binary_segmentations: Any, embedding: Any, *, exclude_overlap: bool) -> NDArray[np.float32]:  # noqa: ANN401
    """The weights that each embedding is pooled with, `(num_chunks, num_local_speakers, num_frames)` float32.

    pyannote's rule: leave out frames where several people speak, unless too little is left to embed.
    """
    masks = np.nan_to_num(binary_segmentations.data, nan=0.0).astype(np.float32)
    if exclude_overlap:
        clean = masks * (masks.sum(axis=2, keepdims=True) < 2)  # noqa: PLR2004 - two people are an overlap
        num_samples = binary_segmentations.sliding_window.duration * embedding.sample_rate
        fewest = math.ceil(masks.shape[1] * embedding.min_num_samples / num_samples)
        masks = np.where(clean.sum(axis=1, keepdims=True) > fewest, clean, masks)
    return np.ascontiguousarray(masks.transpose(0, 2, 1))


def _given_segmentations(pipeline: Pipeline, file: Any, hook: Callable[..., None] | None = None) -> Any:  # noqa: ANN401, ARG001
    from pyannote.core import SlidingWindow, SlidingWindowFeature  # noqa: PLC0415

    activity: Activity = file["activity"]
    window = SlidingWindow(start=0.0, duration=CHUNK_DURATION, step=activity.chunk_step)
    return SlidingWindowFeature(activity.masks.astype(np.float32), window)


# --- in and out -------------------------------------------------------------------------------------------


def _file(waveform: Waveform) -> dict[str, Any]:
    import torch  # noqa: PLC0415

    return {
        "uri": "recording",
        "waveform": torch.from_numpy(np.ascontiguousarray(waveform.samples))[None],
        "sample_rate": SAMPLE_RATE,
    }


def to_diarization(output: Any, duration: float) -> Diarization:  # noqa: ANN401 - pyannote's DiarizeOutput
    """Turns in order of time, clipped to the recording; speakers renamed in the order in which they first speak."""
    regular = _turns(output.speaker_diarization, duration)
    labels = list(dict.fromkeys(turn.speaker for turn in regular))
    names = {label: f"SPEAKER_{number:02d}" for number, label in enumerate(labels)}
    exclusive = _turns(output.exclusive_speaker_diarization, duration)
    rows = {label: row for row, label in enumerate(output.speaker_diarization.labels())}
    vectors = output.speaker_embeddings
    return Diarization(
        turns=_renamed(regular, names),
        exclusive=_renamed(exclusive, names),
        speakers=tuple(names.values()),
        # A voice that never speaks long enough alone has no vector: pyannote gives NaN or zeros, here zeros.
        embeddings=None
        if vectors is None
        else np.nan_to_num(vectors[[rows[label] for label in labels]]).astype(np.float32),
    )


def _turns(annotation: Any, duration: float) -> list[Turn]:  # noqa: ANN401 - pyannote's Annotation
    tracks = (
        (max(0.0, float(segment.start)), min(duration, float(segment.end)), str(label))
        for segment, _, label in annotation.itertracks(yield_label=True)
    )
    return [Turn(Span(start, end), label) for start, end, label in sorted(tracks) if end > start]


def _renamed(turns: Sequence[Turn], names: dict[str, str]) -> tuple[Turn, ...]:
    return tuple(Turn(turn.span, names[turn.speaker]) for turn in turns if turn.speaker in names)


class _Hook:
    """pyannote's hook -> one progress from 0 to 1, which never goes back; `Cancelled` passes through."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done = 0.0

    def __call__(
        self,
        step: str,
        artifact: object,  # noqa: ARG002 - pyannote's signature
        *,
        file: object = None,  # noqa: ARG002
        total: int | None = None,
        completed: int | None = None,
    ) -> None:
        start, share = {"segmentation": (0.0, SEGMENTATION_SHARE), "embeddings": (SEGMENTATION_SHARE, 0.75)}.get(
            step, (self._done, 0.0)
        )
        fraction = min(1.0, completed / total) if total and completed is not None else 1.0
        self._done = max(self._done, start + share * fraction)
        self._progress(self._done, 1.0)
