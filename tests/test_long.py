"""An hour: what it costs, whether anything is lost on the way, and whether the speakers stay the same ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from benchmarks import mixes

from diarist.types import SAMPLE_RATE

MEASURE = """
import json, re, sys
from pathlib import Path
from diarist import audio, engines, pipeline
from diarist.request import Options
from diarist.settings import Settings
waveform = audio.decode(Path(sys.argv[1]), max_duration_seconds=7200)
transcript = pipeline.transcribe(waveform, engines.load(Settings(profile="embedded")), Options())
# Not getrusage: at exec, Linux hands the parent's peak on to the child.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(json.dumps({
    "peak_kilobytes": int(peak), "duration": waveform.duration, "speakers": transcript.speakers,
    "last_word": transcript.words[-1].span.end, "last_turn": transcript.turns[-1].span.end,
    "timings": dict(transcript.timings),
}))
"""


def write_hour(path: Path, librispeech: Path) -> None:
    """Three speakers in four different conversations of three minutes, played five times: one hour of FLAC."""
    parts = [
        mixes.build(librispeech, ("1688", "2609", "3005"), duration=177, seed=seed).waveform.samples
        for seed in range(4)
    ]
    hour = np.resize(np.concatenate(parts), 3600 * SAMPLE_RATE)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("flac", rate=SAMPLE_RATE, layout="mono")
        for block in np.array_split((np.clip(hour, -1, 1) * 32767).astype(np.int16), 360):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block[None]), format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


@pytest.mark.timeout(1200)
def test_an_hour_stays_under_three_gigabytes_and_keeps_its_speakers(recordings: Path, tmp_path: Path) -> None:
    write_hour(tmp_path / "hour.flac", recordings / "librispeech")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "hour.flac")], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["duration"] == pytest.approx(3600)
    assert found["peak_kilobytes"] < 3_000_000
    assert len(found["speakers"]) == 3
    assert found["last_turn"] > 3590
    assert found["last_word"] > 3585
