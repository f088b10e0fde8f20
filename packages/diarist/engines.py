"""Settings -> the loaded stages: which engine does what, and with which weights.

The profile names the defaults; `asr`, `diarizer` and `aligner` choose engines one by one. Nothing falls back in
silence: what is loaded stands in `Stages.model_version`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from threadpoolctl import ThreadpoolController

from diarist import __version__
from diarist.errors import ModelMissing
from diarist.models import ModelStore
from diarist.pipeline import Aligner, Diarizer, Segmenter, Stages, Transcriber
from diarist.settings import Settings
from diarist.windows import SHORT_WINDOW_DURATION, WINDOW_DURATION

DEFAULTS = {
    "embedded": {"asr": "faster_whisper", "diarizer": "fine", "aligner": "attention", "asr_model": "tiny.en"},
    "production": {"asr": "whisperx", "diarizer": "pyannote_shared", "aligner": "ctc", "asr_model": "large-v3"},
}
COMMUNITY_1 = "speaker-diarization-community-1"


def load(settings: Settings) -> Stages:
    """Load every engine that the settings name.

    Raises:
        ModelMissing: weights are absent or altered, the token does not open them, or a library is not installed.
    """
    # CTranslate2's OpenMP threads spin while they wait: beside one other busy process they are 20 to 60 times slower,
    # with a short spin twice, and as quick alone. libgomp reads this when it is loaded; an operator's value stays.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # oneDNN, inside CTranslate2, keeps some 2 MB for each of the last 1,024 lengths of audio that it has met.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
    # NumPy's own threads would wait for each other beside the threads that the stages share the cores out to. This is
    # for the whole process; an operator's value stays here too.
    if "OPENBLAS_NUM_THREADS" not in os.environ:
        ThreadpoolController().select(internal_api="openblas").limit(limits=1)
    return _Loader(settings).stages()


class _Loader:
    """One loading: settings with the profile's defaults filled in, and the store of weights."""

    def __init__(self, settings: Settings) -> None:
        defaults = DEFAULTS[settings.profile]
        self._settings = settings
        self._store = ModelStore(settings)
        self._asr = settings.asr or defaults["asr"]
        self._diarizer = settings.diarizer or defaults["diarizer"]
        self._aligner = settings.aligner or defaults["aligner"]
        self._asr_model = settings.asr_model or defaults["asr_model"]
        self._device = device(settings)
        self._threads = settings.threads or cpu_count()

    def stages(self) -> Stages:
        self._require_libraries()
        segmenter, diarizer = self._load_fine() if self._diarizer == "fine" else self._load_pyannote()
        try:
            transcriber, model = self._load_transcriber()
        except (RuntimeError, ValueError) as error:  # what CTranslate2 raises
            raise ModelMissing(
                f"the speech model {Path(self._asr_model).name} cannot be loaded on {self._device} as "
                f"{self._compute_type()}: {error}; run `diarist models verify`, or set DIARIST_COMPUTE_TYPE"
            ) from error
        return Stages(
            segment=segmenter,
            transcribe=transcriber,
            align=self._load_aligner(model),
            diarize=diarizer,
            model_version=self._version(),
            window_duration=WINDOW_DURATION if self._asr == "whisperx" else SHORT_WINDOW_DURATION,
            retries=self._settings.vad == "segmentation",
            diarize_beside=takes_other_hardware(self._diarizer, self._device),
        )

    def _require_libraries(self) -> None:
        if self._settings.vad == "whisperx" and self._asr != "whisperx":
            raise ModelMissing(f"vad whisperx belongs to asr whisperx, and asr is {self._asr}: change one of the two")
        extra = [name for name, wants in _NEEDS_EXTRA.items() if getattr(self, f"_{name}") in wants]
        if not extra:
            return
        from importlib.util import find_spec  # noqa: PLC0415

        if find_spec("whisperx") is None:
            chosen = ", ".join(f"{name} {getattr(self, f'_{name}')}" for name in extra)
            raise ModelMissing(
                f"{chosen} needs torch and whisperx: install the extra, pip install -e '.[whisperx]' here"
            )

    def _load_transcriber(self) -> tuple[Transcriber, Any]:
        """The transcriber, and the `faster_whisper.WhisperModel` inside it."""
        folder = self._store.folder(self._asr_model)
        options = {
            "device": self._device,
            "compute_type": self._compute_type(),
            "threads": self._threads,
            "batch_size": self._settings.batch_size,
            "beam_size": self._settings.beam_size,
        }
        if self._asr == "whisperx":
            from diarist.transcribe_whisperx import WhisperxTranscriber  # noqa: PLC0415 - torch

            own_vad = self._settings.vad == "whisperx"
            whisperx = WhisperxTranscriber(folder, own_vad=own_vad, **options)  # type: ignore[arg-type]
            return whisperx, whisperx.model
        from diarist.transcribe import FasterWhisperTranscriber  # noqa: PLC0415

        transcriber = FasterWhisperTranscriber(folder, name=self._asr_model, **options)  # type: ignore[arg-type]
        return transcriber, transcriber.model

    def _compute_type(self) -> str:
        if self._settings.compute_type != "default":
            return self._settings.compute_type
        return "float16" if self._device == "cuda" else "int8"

    def _load_aligner(self, model: Any) -> Aligner:  # noqa: ANN401 - faster-whisper ships no types
        from diarist.align import AttentionAligner  # noqa: PLC0415

        attention = AttentionAligner(model)
        if self._aligner == "attention":
            return attention
        from diarist.align_ctc import CtcAligner  # noqa: PLC0415 - torch

        folder = self._settings.align_dir or self._settings.models_dir / "align"
        return CtcAligner(folder, attention, device=self._device, batch_size=self._settings.batch_size)

    def _load_fine(self) -> tuple[Segmenter, Diarizer]:
        from diarist.diarize import FineDiarizer  # noqa: PLC0415
        from diarist.networks import EmbeddingNetwork  # noqa: PLC0415 - compiled libraries

        return self._packaged_segmenter(), FineDiarizer(EmbeddingNetwork(self._campplus(), threads=self._threads))

    def _load_pyannote(self) -> tuple[Segmenter, Diarizer]:
        from diarist import diarize_pyannote as pyannote  # noqa: PLC0415 - torch

        if self._packaged:
            pipeline = pyannote.packaged_pipeline(self._segmentation(), self._campplus(), device=self._device)
        else:
            pipeline = pyannote.load_pipeline(self._pyannote_source(), device=self._device, token=self._token())
        segmenter = pyannote.PyannoteSegmenter(pipeline)
        if self._diarizer == "pyannote_shared":
            pipeline = pyannote.share_segmentation(pyannote.share_trunk(pipeline))
        return segmenter, pyannote.PyannoteDiarizer(pipeline)

    def _packaged_segmenter(self) -> Segmenter:
        from diarist.networks import SegmentationNetwork  # noqa: PLC0415 - compiled libraries
        from diarist.segmentation import ChunkSegmenter  # noqa: PLC0415

        return ChunkSegmenter(SegmentationNetwork(self._segmentation()), threads=self._threads)

    def _segmentation(self) -> Path:
        return self._store.folder("segmentation-3.0") / "pytorch_model.bin"

    def _campplus(self) -> Path:
        return self._store.folder("campplus") / "campplus_cn_en_common.pt"

    def _pyannote_source(self) -> Path | str:
        """The folder of the pipeline, or, while it is not pinned, its name on the hub."""
        name = self._settings.diarization_model or COMMUNITY_1
        model = None if "/" in name else self._store.manifest.find(name)
        if model is not None and model.hub and not model.pinned:
            return model.hub.repo
        return self._store.folder(name)

    def _token(self) -> str | None:
        token = self._settings.hf_access_token
        return token.get_secret_value() if token else None

    @property
    def _packaged(self) -> bool:
        """Whether the diarizer runs on the packaged weights."""
        chosen = self._settings.diarization_model is not None
        return self._diarizer == "fine" or (self._settings.profile == "embedded" and not chosen)

    def _version(self) -> str:
        """What is loaded, without paths: a mounted folder goes by its name."""
        pyannote = Path(self._settings.diarization_model or COMMUNITY_1).name
        speakers = "segmentation-3.0+campplus" if self._packaged else pyannote
        asr = f"{self._asr}-{Path(self._asr_model).name}"
        return f"diarist-{__version__}:{asr}+{self._aligner}+{self._diarizer}-{speakers}"


_NEEDS_EXTRA = {
    "asr": ("whisperx",),
    "aligner": ("ctc",),
    "diarizer": ("pyannote", "pyannote_shared"),
}


def takes_other_hardware(diarizer: str, device: str) -> bool:
    """Whether diarizing leaves alone what the transcriber runs on: the fine diarizer runs on the CPU's cores.

    >>> takes_other_hardware("fine", "cuda"), takes_other_hardware("fine", "cpu")
    (True, False)
    >>> takes_other_hardware("pyannote", "cuda")
    False
    """
    return diarizer == "fine" and device == "cuda"


def device(settings: Settings) -> str:
    """`cpu` or `cuda`, as chosen, or as found by CTranslate2.

    Raises:
        ModelMissing: CUDA was asked for, and there is no device.
    """
    if settings.device == "cpu":
        return "cpu"
    import ctranslate2  # noqa: PLC0415 - compiled library

    found = ctranslate2.get_cuda_device_count() > 0
    if settings.device == "cuda" and not found:
        raise ModelMissing("device cuda was asked for and CTranslate2 finds none: check the driver, or use device cpu")
    return "cuda" if found else "cpu"


def cpu_count() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
