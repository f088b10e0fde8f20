"""The production libraries, imported with their side effects held back.

Importing whisperx or pyannote.audio costs 10 to 20 s, switches telemetry on (pyannote.audio posts the
duration and the number of speakers of each file unless told otherwise), attaches a handler for standard output
to a logger, and warns about decoders that are not used here. Engines import them through this module, so that
standard output, logging and the network stay the host's.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import ModuleType


def pyannote_audio() -> ModuleType:
    """`pyannote.audio`, with telemetry off."""
    # The metrics module copies its own default, on, into the variable unless the variable is there before.
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    with quiet():
        import pyannote.audio  # noqa: PLC0415 - 14 s: only for those who use it
    return pyannote.audio  # type: ignore[no-any-return]


def whisperx() -> ModuleType:
    """`whisperx` with its speech and alignment modules loaded, its log records left to the host."""
    pyannote_audio()  # whisperx imports it: telemetry must be off before
    with quiet():
        import whisperx.alignment  # noqa: PLC0415
        import whisperx.asr  # noqa: PLC0415
    logger = logging.getLogger("whisperx")
    logger.handlers.clear()
    logger.propagate = True
    return whisperx  # type: ignore[no-any-return]


@contextmanager
def quiet() -> Iterator[None]:
    """Send prints to standard error and drop warnings, while a library loads something.

    Both are global to the process, so this is for loading, never for requests: standard output may carry the
    answers of a child process, and the warnings are about code paths that stay unused (torchcodec's decoders,
    checkpoints written by an older Lightning).
    """
    with redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
