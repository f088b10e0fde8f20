"""Settings, read once by the host from `DIARIST_*` variables into one frozen object, and passed down.

The table in the README is generated from the descriptions below.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_cache_path
from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Network = IPv4Network | IPv6Network


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class Settings(BaseSettings):
    """Everything an operator can set. Each field is the variable `DIARIST_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="DIARIST_", env_ignore_empty=True, frozen=True, extra="ignore")

    profile: Literal["embedded", "production"] = Field(
        "embedded", description="which models: packaged weights without torch, or whisperx and pyannote"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the models run")
    threads: int = Field(
        0, ge=0, le=512, description="CPU threads for the models; 0 takes every core this process may use"
    )
    asr: Literal["faster_whisper", "whisperx"] | None = Field(None, description="transcriber")
    diarizer: Literal["fine", "pyannote_shared", "pyannote"] | None = Field(
        None,
        description="diarizer by fine windows, pyannote with its trunk shared per chunk, or pyannote unchanged",
    )
    aligner: Literal["attention", "ctc"] | None = Field(
        None,
        description="word times by the transcriber's attention, or by wav2vec2 CTC",
    )
    vad: Literal["segmentation", "whisperx"] = Field(
        "segmentation",
        description="where the windows of speech come from: the segmentation that the diarizer uses too, or, for "
        "comparison, whisperx's own detector (asr whisperx only)",
    )
    asr_model: str | None = Field(
        None, description="name (tiny.en, large-v3, large-v3-turbo, …) or folder of the CTranslate2 speech model"
    )
    diarization_model: str | None = Field(None, description="name or folder of the pyannote pipeline")
    align_dir: Path | None = Field(None, description="folder of wav2vec2 folders, one a language code (en, de, …)")
    compute_type: str = Field(
        "default", description="CTranslate2 precision: int8, float16, …; default is int8 on a CPU, float16 on a GPU"
    )
    batch_size: int = Field(
        8,
        ge=1,
        le=512,
        description="speech windows transcribed at once; with asr faster_whisper, each CPU core takes 6 at most",
    )
    beam_size: int = Field(5, ge=1, le=64, description="beams of the transcriber's search")
    models_dir: Path = Field(
        default_factory=lambda: user_cache_path("diarist") / "models", description="where fetched weights are kept"
    )
    data_dir: Path | None = Field(None, description="folder that holds models.toml; default the one beside the package")
    hf_access_token: SecretStr | None = Field(
        None, description="Hugging Face token, used only where no weights are mounted"
    )
    fetch_allowed_networks: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_split)] = Field(
        (), description="private networks that audio_file may point into, as CIDRs: 127.0.0.0/8,10.0.0.0/8"
    )
    fetch_timeout_seconds: float = Field(120, gt=0, description="longest download of one recording, in all")
    max_bytes: int = Field(2_000_000_000, gt=0, description="largest recording accepted, in bytes")
    max_duration_seconds: float = Field(14_400, gt=0, description="longest recording accepted, in seconds")
    max_waiting: int = Field(
        16, ge=1, description="requests that may wait or run before a new one is told to come back"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe lines logged")
