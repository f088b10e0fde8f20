"""Speaker activity made by hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarist.segmentation import FRAME_STEP, Activity

Floats = NDArray[np.float32]


def activity(speech: Floats, *, duration: float | None = None) -> Activity:
    probability = speech.astype(np.float32)
    return Activity(
        masks=np.zeros((1, 589, 3), bool),
        chunk_step=2.5,
        speech=probability,
        overlap=np.zeros_like(probability),
        duration=len(speech) * FRAME_STEP if duration is None else duration,
    )


def pattern(*stretches: tuple[float, float]) -> Floats:
    """Seconds at a probability of speech, one after the other."""
    return np.concatenate([np.full(round(seconds / FRAME_STEP), value) for seconds, value in stretches])
